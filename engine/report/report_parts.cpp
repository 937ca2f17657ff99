// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

namespace ivit {

std::string number(double v, int digits) {
    if (!std::isfinite(v)) return "-";
    if (v == 0) return "0";
    const double size = std::fabs(v);
    if (size >= 1e6 || size < 1e-3) return fmt::format("{:.{}e}", v, digits - 1);
    const int before = static_cast<int>(std::floor(std::log10(size))) + 1;
    return fmt::format("{:.{}f}", v, std::max(0, digits - before));
}

std::vector<std::pair<std::string, std::string>> report_facts(const Json& r) {
    const Json &m = r["model"], &a = m["architecture"];
    std::vector<std::pair<std::string, std::string>> facts;
    facts.emplace_back("Model",
                       fmt::format("{} ({}, {} blocks of width {}, {} tokens, {:.2f} M parameters, {})",
                                   m["name"].get<std::string>(), m["family"].get<std::string>(),
                                   a["depth"].get<int>(), a["width"].get<int>(), a["tokens"].get<int>(),
                                   m["parameters"].get<double>() / 1e6, m["dtype"].get<std::string>()));
    if (!m["sha256"].get<std::string>().empty())
        facts.emplace_back("Model SHA-256", m["sha256"].get<std::string>());
    for (const auto& s : m["assumptions"]) facts.emplace_back("Assumed", s.get<std::string>());
    facts.emplace_back(
        "Quantization",
        fmt::format("{}, {} operators, {}, {}", r["quant"].get<std::string>(), r["preset"].get<std::string>(),
                    r["integer_only"].get<bool>() ? "integer-only" : "not integer-only",
                    r["training"].get<std::string>()));
    facts.emplace_back("Calibration", r["calibration"]["summary"].get<std::string>());
    facts.emplace_back(
        "Backend", fmt::format("{}: {}, {}, {} threads", r["backend"].get<std::string>(),
                               r["machine"]["device"].get<std::string>(),
                               r["machine"]["isa"].get<std::string>(), r["machine"]["threads"].get<int>()));
    if (r["machine"].contains("gpu_absent"))
        facts.emplace_back("No GPU", r["machine"]["gpu_absent"].get<std::string>());
    facts.emplace_back(
        "Made", fmt::format("{} by {}", r["created"].get<std::string>(), r["program"].get<std::string>()));
    return facts;
}

std::string verdict(const Json& image) {
    const auto &f = image["predictions"]["float"][0], &q = image["predictions"]["integer"][0];
    const auto& l = image["logits"];
    const std::string who = l["agree"].get<bool>()
                                ? fmt::format("Both networks say {}.", f["label"].get<std::string>())
                                : fmt::format("They differ: float says {}, integers say {}.",
                                              f["label"].get<std::string>(), q["label"].get<std::string>());
    return fmt::format("{} Logits SQNR {} dB, KL {} nats, margin {} float, {} integer.", who,
                       number(l["sqnr_db"]), number(l["kl"]), number(l["margin_float"]),
                       number(l["margin_integer"]));
}

std::string latency_sentence(const Json& l) {
    return fmt::format(
        "Integers {} ms, float {} ms (median of {} runs; p95 {} and {} ms), {} times as fast at batch {}; "
        "{}. Baseline: {}.",
        number(l["integer_ms"]["median"]), number(l["float_ms"]["median"]),
        l["integer_ms"]["runs"].get<int>(), number(l["integer_ms"]["p95"]), number(l["float_ms"]["p95"]),
        number(l["speedup"]), l["batch"].get<int>(), l["method"].get<std::string>(),
        l["baseline"].get<std::string>());
}

std::vector<LayerRow> layer_rows(const Json& image) {
    std::map<std::string, double> isolated;
    for (const auto& l : image["layers"])
        if (l["scope"] == "isolated") isolated[l["name"]] = l["sqnr_db"];
    std::vector<LayerRow> rows;
    for (const auto& l : image["layers"])
        if (l["scope"] == "cumulative")
            rows.push_back({l["name"], l["op"], l["bits"], l["sqnr_db"],
                            isolated.count(l["name"]) ? isolated[l["name"]] : NAN, l["cosine"], l["mse"],
                            l["max_abs_error"], l["saturation"], l["range_used"]});
    return rows;
}

std::vector<std::array<std::string, 5>> evaluation_rows(const Json& e) {
    const auto text = [](const Json& j, const char* field, int digits) {
        return j.contains(field) && !j[field].is_null() ? number(j[field].get<double>(), digits)
                                                        : std::string("-");
    };
    std::vector<std::array<std::string, 5>> rows = {
        {"float FP32", text(e["float"], "top1", 4), text(e["float"], "top5", 4), "-", "-"}};
    for (const auto& c : e["configurations"])
        rows.push_back({c["quant"].get<std::string>() + ", " + c["preset"].get<std::string>(),
                        text(c, "top1", 4), text(c, "top5", 4), text(c, "agreement", 4),
                        text(c, "mean_kl", 3)});
    return rows;
}

}  // namespace ivit
