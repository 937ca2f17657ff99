// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report_parts.h"

#include <fmt/format.h>

#include <algorithm>
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

std::string decibels(double db) { return std::isfinite(db) ? fmt::format("{:.1f}", db) : "-"; }

std::string short_name(const std::string& s) {
    constexpr size_t most = 48, end = 16;
    if (s.size() <= most) return s;
    size_t a = most - end - 3, b = s.size() - end;
    const auto inside = [&](size_t at) { return (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80; };
    while (a > 0 && inside(a)) --a;
    while (b < s.size() && inside(b)) ++b;
    return s.substr(0, a) + "\u2026" + s.substr(b);
}

double real(const Json& j) { return j.is_null() ? NAN : j.get<double>(); }

std::vector<std::pair<std::string, std::string>> report_facts(const Json& r) {
    const Json &m = r["model"], &a = m["architecture"];
    std::vector<std::pair<std::string, std::string>> facts;
    facts.emplace_back("Model",
                       fmt::format("{} ({}, {} blocks of width {}, {} tokens, {:.2f} M parameters, {})",
                                   m["name"].get<std::string>(), m["family"].get<std::string>(),
                                   a["depth"].get<int>(), a["width"].get<int>(), a["tokens"].get<int>(),
                                   m["parameters"].get<double>() / 1e6, m["dtype"].get<std::string>()));
    facts.emplace_back("Model file", m["source"].get<std::string>());
    if (!m["sha256"].get<std::string>().empty())
        facts.emplace_back("Model SHA-256", m["sha256"].get<std::string>());
    std::string assumed;
    for (const auto& s : m["assumptions"]) assumed += (assumed.empty() ? "" : "; ") + s.get<std::string>();
    if (!assumed.empty()) facts.emplace_back("Assumed", assumed);
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
    for (const auto& s : r.value("skipped", Json::array()))
        facts.emplace_back("Left out", s["file"].get<std::string>() + ": " + s["error"].get<std::string>());
    facts.emplace_back(
        "Machine", fmt::format("{}, {} cores, {}", r["machine"]["cpu"].get<std::string>(),
                               r["machine"]["cores"].get<int>(), r["machine"]["system"].get<std::string>()));
    facts.emplace_back(
        "Made", fmt::format("{} by {} (compiler {}, report format {})", r["created"].get<std::string>(),
                            r["program"].get<std::string>(), r["versions"]["compiler"].get<std::string>(),
                            r["versions"]["report"].get<int>()));
    return facts;
}

namespace {

// {"n": 15, "k": 16} as "n 15, k 16".
std::string plain(const Json& v) {
    if (v.is_string()) return v.get<std::string>();
    if (!v.is_object()) return v.dump();
    std::string s;
    for (const auto& [key, value] : v.items()) s += (s.empty() ? "" : ", ") + key + " " + plain(value);
    return s;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> config_rows(const Json& r) {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const auto& [key, value] : r["config"].items()) {
        if (key != "rules") {
            rows.emplace_back(key, plain(value) + (value.is_number() ? " bits" : ""));
            continue;
        }
        for (const auto& [glob, rule] : value.items())
            rows.emplace_back("rule " + (value.is_array() ? rule.value("glob", glob) : glob), plain(rule));
        if (value.empty()) rows.emplace_back("rules", "none");
    }
    return rows;
}

std::string verdict(const Json& image) {
    const auto &f = image["predictions"]["float"][0], &q = image["predictions"]["integer"][0];
    const auto& l = image["logits"];
    const std::string who = l["agree"].get<bool>()
                                ? fmt::format("Both networks say {}.", f["label"].get<std::string>())
                                : fmt::format("They differ: float says {}, integers say {}.",
                                              f["label"].get<std::string>(), q["label"].get<std::string>());
    return fmt::format("{} Logits SQNR {} dB, KL {} nats, margin {} float, {} integer.", who,
                       decibels(real(l["sqnr_db"])), number(real(l["kl"])), number(real(l["margin_float"])),
                       number(real(l["margin_integer"])));
}

std::string latency_disturbance(const Json& l) {
    std::optional<double> share;
    if (l.contains("processor_share")) share = real(l["processor_share"]);
    return disturbance(l.value("disturbed", false), share);
}

std::string latency_sentence(const Json& l) {
    const std::string why = latency_disturbance(l);
    return fmt::format(
        "Integers {} ms, float {} ms (median of {} runs; p95 {} and {} ms), {} times as fast at batch {}{}; "
        "{}. Baseline: {}.",
        number(real(l["integer_ms"]["median"])), number(real(l["float_ms"]["median"])),
        l["integer_ms"]["runs"].get<int>(), number(real(l["integer_ms"]["p95"])),
        number(real(l["float_ms"]["p95"])), number(real(l["speedup"])), l["batch"].get<int>(),
        why.empty() ? "" : " (disturbed: " + why + "; measure again)", l["method"].get<std::string>(),
        l["baseline"].get<std::string>());
}

std::string health(const Json& image) {
    const auto rows = layer_rows(image);
    const LayerRow *most = nullptr, *least = nullptr;
    for (const LayerRow& r : rows) {
        if (r.saturation > 0 && (!most || r.saturation > most->saturation)) most = &r;
        if (r.bits < 32 && r.range_used > 0 && (!least || r.range_used < least->range_used)) least = &r;
    }
    std::string s = most ? fmt::format("At a clamp limit: most in {} ({} % of its values).", most->name,
                                       number(100 * most->saturation))
                         : "No value is at a clamp limit.";
    if (least)
        s += fmt::format(" Range used least by {} ({} % of its grid).", least->name,
                         number(100 * least->range_used));
    return s;
}

std::string clamp_sentence(const Json& histogram) {
    if (!histogram.contains("clamp")) return "32 bits: nothing clamps";
    return fmt::format("clamps at {} and {}", number(real(histogram["clamp"][0])),
                       number(real(histogram["clamp"][1])));
}

std::pair<double, double> attention_range(const Json& a) {
    double most = 0, worst = 0;
    for (size_t i = 0; i < a["shiftmax"].size(); ++i) {
        const double p = real(a["shiftmax"][i]), t = real(a["softmax"][i]);
        most = std::max({most, p, t});
        worst = std::max(worst, std::fabs(p - t));
    }
    return {most, worst};
}

MapColour map_colour(double t, bool diverging) {
    t = std::isfinite(t) ? std::clamp(t, -1.0, 1.0) : 0;
    if (diverging) {
        const double alpha = 0.15 + 0.75 * std::fabs(t);
        return t < 0 ? MapColour{0, 0.447, 0.698, alpha} : MapColour{0.835, 0.369, 0, alpha};
    }
    return {0.99 * t, 0.13 + 0.77 * t, 0.30 - 0.16 * t, 0.72};
}

std::string attention_operator(const Json& a) { return a.value("operator", std::string("Shiftmax")); }

std::string attention_title(const Json& a) {
    return fmt::format("{} against softmax: {}, head {} ({}), row of the {}", attention_operator(a),
                       a["node"].get<std::string>(), a["head"].get<int>(),
                       a.value("chosen", false) ? "chosen" : "the worst by KL",
                       a["query"].get<std::string>());
}

std::string attention_sentence(const Json& a, double most, double worst) {
    return fmt::format(
        "Colour from 0 to {} for the first two, ±{} for the difference. Class token on itself: {} {}, "
        "softmax {}. Row sum {}, KL of the head {} nats.",
        number(most), number(worst), attention_operator(a), number(real(a["class_token"]["shiftmax"])),
        number(real(a["class_token"]["softmax"])), number(real(a["row_sum"]), 5), number(real(a["kl"])));
}

std::vector<LayerRow> layer_rows(const Json& image) {
    std::map<std::string, double> isolated;
    for (const auto& l : image["layers"])
        if (l["scope"] == "isolated") isolated[l["name"]] = real(l["sqnr_db"]);
    std::vector<LayerRow> rows;
    for (const auto& l : image["layers"])
        if (l["scope"] == "cumulative")
            rows.push_back({static_cast<int>(rows.size()), l["name"], l["op"], l["bits"], real(l["sqnr_db"]),
                            isolated.count(l["name"]) ? isolated[l["name"]] : NAN, real(l["cosine"]),
                            real(l["mse"]), real(l["max_abs_error"]), real(l["saturation"]),
                            real(l["range_used"])});
    return rows;
}

std::vector<LayerRow> worst_first(std::vector<LayerRow> rows) {
    const auto key = [](const LayerRow& r) {
        return std::isfinite(r.cumulative_db) ? r.cumulative_db : -1e9;
    };
    std::stable_sort(rows.begin(), rows.end(),
                     [&](const LayerRow& a, const LayerRow& b) { return key(a) < key(b); });
    return rows;
}

double sqnr_axis_end(const std::vector<LayerRow>& rows) {
    double most = 10;
    for (const auto& r : rows)
        for (const double v : {r.cumulative_db, r.isolated_db})
            if (std::isfinite(v) && v < sqnr_cap) most = std::max(most, v);
    return std::ceil(most / 10) * 10;
}

std::vector<std::pair<size_t, std::string>> block_marks(const std::vector<LayerRow>& rows) {
    std::vector<std::pair<size_t, std::string>> marks;
    for (size_t i = 0; i < rows.size(); ++i) {
        const std::string& name = rows[i].name;
        if (!name.starts_with("blocks.")) continue;
        const std::string number = name.substr(7, name.find('.', 7) - 7);
        if (marks.empty() || marks.back().second != number) marks.emplace_back(i, number);
    }
    return marks;
}

}  // namespace ivit
