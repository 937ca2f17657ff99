// SPDX-License-Identifier: Apache-2.0
// Reads every field that a rendering reads, as the type it reads it as: what is missing or of another type
// throws here, before anything is written.
#include <initializer_list>
#include <string>

#include "engine/report/report_parts.h"

namespace ivit {

namespace {

// at() throws where operator[] on a const document may not be asked.
void texts(const Json& j, std::initializer_list<const char*> fields) {
    for (const char* field : fields) j.at(field).get<std::string>();
}
void wholes(const Json& j, std::initializer_list<const char*> fields) {
    for (const char* field : fields) j.at(field).get<int64_t>();
}
void numbers(const Json& j, std::initializer_list<const char*> fields) {
    for (const char* field : fields) real(j.at(field));
}

void check_made_with(const Json& report) {
    const Json& model = report.at("model");
    texts(model, {"name", "family", "source", "sha256", "dtype"});
    wholes(model, {"parameters"});
    wholes(model.at("architecture"), {"depth", "width", "tokens"});
    for (const auto& s : model.at("assumptions")) s.get<std::string>();
    texts(report, {"quant", "preset", "program", "created", "training", "backend"});
    report.at("integer_only").get<bool>();
    const Json& machine = report.at("machine");
    texts(machine, {"device", "isa", "cpu", "system"});
    wholes(machine, {"threads", "cores"});
    if (machine.contains("gpu_absent")) texts(machine, {"gpu_absent"});
    texts(report.at("versions"), {"compiler"});
    wholes(report.at("versions"), {"report"});
    for (const auto& c : report.at("reproduce")) c.get<std::string>();
    texts(report.at("calibration"), {"summary"});
    if (!report.at("config").is_object()) report.at("config").at("object");
    wholes(report.at("options"), {"top"});
    texts(report.at("options"), {"head"});
}

void check_latency(const Json& l) {
    for (const char* network : {"integer_ms", "float_ms"}) {
        numbers(l.at(network), {"median", "p95"});
        wholes(l.at(network), {"runs"});
    }
    numbers(l, {"speedup"});
    wholes(l, {"batch"});
    texts(l, {"method", "baseline"});
    if (l.contains("disturbed")) l["disturbed"].get<bool>();
    if (l.contains("processor_share")) numbers(l, {"processor_share"});
}

void check_image(const Json& image) {
    texts(image, {"file", "sha256", "pixels_sha256"});
    for (const char* kind : {"float", "integer"}) {
        image.at("predictions").at(kind).at(0);
        for (const auto& p : image["predictions"][kind]) {
            texts(p, {"label"});
            wholes(p, {"index"});
            numbers(p, {"probability"});
        }
    }
    image.at("logits").at("agree").get<bool>();
    numbers(image["logits"], {"sqnr_db", "kl", "margin_float", "margin_integer"});
    for (const auto& l : image.at("layers")) {
        texts(l, {"name", "op", "scope"});
        wholes(l, {"bits"});
        numbers(l, {"sqnr_db", "cosine", "mse", "max_abs_error", "saturation", "range_used"});
    }
}

void check_causes(const Json& causes) {
    wholes(causes, {"pictures"});
    numbers(causes, {"logits_sqnr_db"});
    for (const char* list : {"network", "blocks", "nodes"})
        for (const auto& c : causes.at(list)) {
            if (list != std::string("network")) texts(c, {"where"});
            texts(c, {"what"});
            numbers(c, {"gain_db"});
        }
}

}  // namespace

void check_parts(const Json& report) {
    check_made_with(report);
    report.at("images").at(0);
    for (const auto& image : report["images"]) check_image(image);
    if (report.contains("latency")) check_latency(report["latency"]);
    if (report.contains("causes")) check_causes(report["causes"]);
    if (report.contains("evaluation")) check_evaluation(report["evaluation"]);
}

void check_evaluation(const Json& e) {
    wholes(e, {"images"});
    const Json& dataset = e.at("dataset");
    texts(dataset, {"folder", "layout"});
    for (const char* field : {"without_label", "without_picture"})
        if (dataset.contains(field)) wholes(dataset, {field});
    if (e.contains("note")) texts(e, {"note"});
    for (const auto& s : e.at("skipped")) texts(s, {"file", "error"});
    numbers(e.at("float"), {"top1", "top5", "mean_margin"});
    for (const auto& c : e.at("configurations")) {
        texts(c, {"quant", "preset"});
        wholes(c, {"flips"});
        numbers(c, {"top1", "top5", "agreement", "mean_kl", "mean_margin", "logits_sqnr_db"});
        if (c.contains("p95_kl")) numbers(c, {"p95_kl"});
        if (c.contains("by_margin"))
            for (const auto& m : c["by_margin"]) {
                numbers(m, {"from", "to"});
                wholes(m, {"images", "flips"});
            }
        for (const auto& k : c.at("classes")) {
            texts(k, {"label"});
            wholes(k, {"images"});
            numbers(k, {"float_top1", "top1", "agreement"});
        }
        for (const auto& w : c.at("worst")) {
            texts(w, {"file", "float", "integer"});
            if (w.contains("label")) texts(w, {"label"});
            numbers(w, {"kl", "margin_float", "margin_integer"});
        }
    }
}

}  // namespace ivit
