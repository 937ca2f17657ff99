// SPDX-License-Identifier: Apache-2.0
// What was run and what came of it, as JSON: the one source of every document the programs write. Human
// tables and reports print the same numbers.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/bench.h"
#include "engine/compare.h"

namespace ivit {

using Json = nlohmann::ordered_json;

// The configuration that was really in effect; echoed by every output.
struct Effective {
    ModelInfo model;
    std::shared_ptr<const Graph> graph;
    QuantConfig config;
    Calibration calibration;
    BackendInfo backend;
    std::string gpu_absent;  // why auto passed the GPU over, or gave it up; empty when it did not
    bool has_float = true;   // a float network ran beside the integers
};
Effective effective(const QuantizedModel& q, const BackendInfo& backend, const std::string& gpu_absent);

// {"method", "pictures", "source", "from_input", "summary"}
Json calibration_json(const Calibration& c);
// {"format": "ivit-<kind>", "version": 1, "program", "model": {...}, "quant": "W8A8", "preset", "config":
// {...},
//  "integer_only", "backend": "cpu", "machine": {...}, "calibration": {...}}
Json document(const std::string& kind, const Effective& e);
// What became of the GPU while it ran, in a document that was begun before: "backend" and "machine" anew.
void describe_backend(Json& document, const Effective& e);
// Two to four lines for people: model, configuration, calibration, backend.
std::string summary(const Effective& e);

// {"median", "p95", "min"} in milliseconds, {"runs"}
Json latency_json(const Latency& l);
// [{"label", "index", "probability"}], best first.
Json predictions_json(const Trace& t, int picture, int top, const ModelInfo& model);
// One object per node and scope: name, op, scope, sqnr_db, cosine, mse, nmse, max_abs_error, saturation,
// range_used, scale, bits, mode; softmax nodes also kl_per_head and row_sum_error.
Json layers_json(const Comparison& c);
// {"file", "predictions": {"float": [], "integer": []}, "logits": {...}, "layers": []}
Json comparison_json(const Comparison& c, const std::string& file, int top);

// No node is computed exactly or in float.
bool integer_only(const QuantConfig& c);

// What computes a softmax node in this mode: "Shiftmax", "Exact softmax" or "Float softmax".
const char* softmax_name(Mode m);

// The label of a class: the model's own, else "class 17".
std::string label(const ModelInfo& model, int index);

}  // namespace ivit
