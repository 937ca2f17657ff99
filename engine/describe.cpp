// SPDX-License-Identifier: Apache-2.0
#include "engine/describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/version.h"

namespace ivit {

Effective effective(const QuantizedModel& q, const BackendInfo& backend, const std::string& gpu_absent) {
    return {q.info,
            q.graph,
            q.config,
            q.calibration,
            backend,
            gpu_absent.empty() ? backend.gpu_lost : gpu_absent,
            q.source != nullptr};
}

const char* softmax_name(Mode m) {
    return m == Mode::integer ? "Shiftmax" : m == Mode::exact ? "Exact softmax" : "Float softmax";
}

std::string label(const ModelInfo& model, int index) {
    return static_cast<size_t>(index) < model.labels.size() ? model.labels[static_cast<size_t>(index)]
                                                            : "class " + std::to_string(index);
}

bool integer_only(const QuantConfig& c) {
    return std::none_of(c.rules.begin(), c.rules.end(),
                        [](const QuantRule& r) { return r.mode && *r.mode != Mode::integer; });
}

namespace {

Json graph_json(const Graph& g) {
    int64_t macs = 0;
    for (int i = 0; i < static_cast<int>(g.nodes.size()); ++i) macs += g.macs(i);
    return {{"depth", g.depth},
            {"width", g.width},
            {"heads", g.heads},
            {"mlp", g.hidden},
            {"tokens", g.tokens},
            {"image_size", g.image_size},
            {"patch_size", g.patch_size},
            {"classes", g.classes},
            {"macs", macs}};
}

}  // namespace

Json calibration_json(const Calibration& c) {
    return {{"method", to_string(c.method)},
            {"pictures", c.pictures},
            {"source", c.source},
            {"from_input", c.from_input},
            {"summary", c.summary()}};
}

Json document(const std::string& kind, const Effective& e) {
    Json j;
    j["format"] = "ivit-" + kind;
    j["version"] = 1;
    j["program"] = program_name();
    j["model"] = {{"name", e.model.name},
                  {"family", e.model.family},
                  {"source", e.model.source},
                  {"sha256", e.model.sha256},
                  {"dtype", e.model.dtype},
                  {"parameters", e.model.parameters},
                  {"architecture", graph_json(*e.graph)},
                  {"assumptions", e.model.assumptions}};
    j["quant"] = e.config.label();
    j["preset"] = e.config.preset;
    j["integer_only"] = integer_only(e.config);
    j["training"] = "PTQ";
    j["config"] = e.config.to_json();
    describe_backend(j, e);
    j["calibration"] = calibration_json(e.calibration);
    return j;
}

void describe_backend(Json& j, const Effective& e) {
    j["backend"] = e.backend.name;
    j["machine"] = {{"device", e.backend.device}, {"isa", e.backend.isa}, {"threads", e.backend.threads}};
    if (!e.gpu_absent.empty()) j["machine"]["gpu_absent"] = e.gpu_absent;
}

std::string summary(const Effective& e) {
    std::string s = fmt::format("model        {} ({}, {:.1f} M parameters, {}{})\n", e.model.name,
                                e.model.family, static_cast<double>(e.model.parameters) / 1e6, e.model.dtype,
                                e.model.sha256.empty() ? "" : ", sha256 " + e.model.sha256.substr(0, 12));
    for (const auto& a : e.model.assumptions) s += "             assumed " + a + "\n";
    s += fmt::format(
        "quantization {}, {} operators, {}, PTQ; {}\n", e.config.label(), e.config.preset,
        integer_only(e.config) ? "integer-only" : "NOT integer-only (some nodes are exact or float)",
        e.calibration.summary());
    s += fmt::format("backend      {}: {}, {}, {} thread{}\n", e.backend.name, e.backend.device,
                     e.backend.isa, e.backend.threads, e.backend.threads == 1 ? "" : "s");
    if (!e.gpu_absent.empty()) s += "             no GPU: " + e.gpu_absent + "\n";
    return s;
}

Json latency_json(const Latency& l) {
    return {{"median", l.median}, {"p95", l.p95}, {"min", l.min}, {"runs", l.runs}};
}

Json predictions_json(const Trace& t, int picture, int top, const ModelInfo& model) {
    Json list = Json::array();
    const auto p = probabilities(t, picture);
    for (const int index : top_k(t, picture, top))
        list.push_back({{"label", label(model, index)},
                        {"index", index},
                        {"probability", p[static_cast<size_t>(index)]}});
    return list;
}

Json layers_json(const Comparison& c) {
    Json list = Json::array();
    for (const auto* errors : {&c.cumulative, &c.isolated})
        for (const NodeError& e : *errors) {
            const Node& n = c.model->graph->nodes[static_cast<size_t>(e.node)];
            const QuantNode& q = *c.model->nodes[static_cast<size_t>(e.node)];
            Json j = {{"name", n.name},
                      {"op", to_string(n.op)},
                      {"scope", to_string(e.scope)},
                      {"sqnr_db", e.sqnr_db},
                      {"cosine", e.cosine},
                      {"mse", e.mse},
                      {"nmse", e.nmse},
                      {"max_abs_error", e.max_abs_error},
                      {"saturation", e.saturation},
                      {"range_used", e.range_used},
                      {"scale", e.scale},
                      {"range", e.bits < 32 ? e.scale * static_cast<double>(q.out.high()) : 0.0},
                      {"bits", e.bits},
                      {"mode", to_string(q.quant.mode)}};
            if (!q.weight.empty()) j["weight_bits"] = q.quant.weight_bits;
            if (!e.kl_per_head.empty()) {
                j["kl_per_head"] = e.kl_per_head;
                j["row_sum_error"] = e.row_sum_error;
            }
            list.push_back(std::move(j));
        }
    return list;
}

Json comparison_json(const Comparison& c, const std::string& file, int top) {
    Json j;
    j["file"] = file;
    j["predictions"] = {{"float", predictions_json(*c.float_trace, 0, top, c.model->info)},
                        {"integer", predictions_json(*c.integer_trace, 0, top, c.model->info)}};
    j["logits"] = {{"sqnr_db", c.logits.sqnr_db},
                   {"kl", c.logits.kl},
                   {"agree", c.logits.agree},
                   {"margin_float", c.logits.margin_float},
                   {"margin_integer", c.logits.margin_integer}};
    j["layers"] = layers_json(c);
    return j;
}

}  // namespace ivit
