// SPDX-License-Identifier: GPL-3.0-or-later
// An earlier configuration on another picture: the ghost that the views hold a result against.
#pragma once
#include <memory>
#include <stop_token>

#include "engine/session.h"

// The picture's own ranges, by the method that `like` was made with: from itself and its augmentations, 8
// runs of `floats`, the model's float network. Throws Cancelled.
ivit::Calibration own_calibration(const ivit::Model& model, ivit::Network& floats, const ivit::Pixels& pixels,
                                  const ivit::Calibration& like, int threads, std::stop_token stop);

// `before`'s configuration, calibration and backend on the picture of `now`, whose float trace is used again.
// Both must be of the same float model, and complete. Ranges that came from the picture at hand are taken
// from the new one. Slow (an integer run and its isolated errors): for a job of the session's. Throws
// Cancelled, or Error when it cannot be run.
std::shared_ptr<const ivit::Result> run_again(ivit::Session& session, const ivit::Result& before,
                                              const ivit::Result& now, std::stop_token stop);
