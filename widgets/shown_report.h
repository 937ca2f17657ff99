// SPDX-License-Identifier: GPL-3.0-or-later
// What is shown, as a report.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>

#include "engine/report/report.h"
#include "widgets/results.h"

// The head that is selected, where a softmax is, and the latencies, where there are some. node: -1 for none.
ivit::ReportOptions report_options(const ivit::Graph& graph, int node, int head,
                                   const LatencySamples& latency);
// `picture`: the result's file; empty: it has none (a webcam's frame, something pasted). Slow (it measures
// the causes): for the worker thread. Throws Cancelled, Error.
nlohmann::ordered_json report_of(const ivit::Result& result, const std::filesystem::path& picture,
                                 ivit::ReportOptions options, std::stop_token stop);
