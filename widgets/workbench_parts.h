// SPDX-License-Identifier: GPL-3.0-or-later
// What the files of the workbench share.
#pragma once
#include "engine/error.h"
#include "engine/session.h"
#include "widgets/models/picture_list_model.h"

// The first of one picture's answers, by its label.
Prediction prediction(const ivit::Trace& t, const ivit::ModelInfo& info);
const ivit::ModelInfo& info_of(const ivit::Result& r);
// What went wrong, and what one can do about it.
QString sentence(const ivit::Error& e);
