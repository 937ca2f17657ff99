// SPDX-License-Identifier: Apache-2.0
// The tables of a report, as text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/report/report_parts.h"

namespace ivit {

void align_decimals(TextTable& t) {
    const auto is_number = [](const std::string& s) {
        return !s.empty() && s.find_first_not_of("0123456789.-+") == std::string::npos && s != "-";
    };
    for (size_t c = 1; c < t.head.size(); ++c) {
        size_t most = 0;  // digits behind a point
        for (const auto& row : t.rows)
            if (is_number(row[c]))
                if (const size_t point = row[c].find('.'); point != std::string::npos)
                    most = std::max(most, row[c].size() - point - 1);
        for (auto& row : t.rows) {
            std::string& s = row[c];
            if (most == 0 || !is_number(s)) continue;
            const size_t point = s.find('.');
            const size_t behind = point == std::string::npos ? 0 : s.size() - point - 1;
            if (point == std::string::npos) s += "\u2008";         // as wide as a point
            for (size_t i = behind; i < most; ++i) s += "\u2007";  // as wide as a digit
        }
    }
}

TextTable node_table(const Json& image) {
    TextTable t{{"node", "place", "op", "bits", "cumulative SQNR dB", "isolated SQNR dB", "own share %",
                 "cosine", "MSE", "max error", "at limit %", "range used %"},
                {}};
    // So far apart that only powers of ten stand under each other.
    const auto power = [](double v) {
        return !std::isfinite(v) ? std::string("-") : v == 0 ? std::string("0") : fmt::format("{:.2e}", v);
    };
    const auto share = [](double v) {
        return v > 0 && v < 1e-5 ? std::string("<0.001")
               : v == 0          ? std::string("0")
                                 : fmt::format("{:.3f}", 100 * v);
    };
    for (const auto& r : worst_first(layer_rows(image)))
        t.rows.push_back({r.name, std::to_string(r.place), r.op, std::to_string(r.bits),
                          decibels(r.cumulative_db), decibels(r.isolated_db),
                          own_share(r.cumulative_db, r.isolated_db),
                          std::isfinite(r.cosine) ? fmt::format("{:.5f}", r.cosine) : "-", power(r.mse),
                          number(r.max_abs_error), r.bits < 32 ? share(r.saturation) : "-",
                          r.bits < 32 ? number(100 * r.range_used) : "-"});
    return t;
}

namespace {

std::string cell(const Json& j, const char* field, int digits) {
    return j.contains(field) && !j[field].is_null() ? number(j[field].get<double>(), digits)
                                                    : std::string("-");
}

}  // namespace

TextTable latency_table(const Json& l) {
    TextTable t{{"nodes", "float ms", "integer ms"}, {}};
    if (!l.contains("layers")) return t;
    for (const auto& r : l["layers"]) {
        const std::string first = r["name"], last = r["last"];
        t.rows.push_back({first == last ? first : first + " … " + last, number(real(r["float_ms"])),
                          number(real(r["integer_ms"]))});
    }
    return t;
}

TextTable evaluation_table(const Json& e) {
    TextTable t{{"configuration", "top-1 %", "top-5 %", "agreement %", "flips", "mean KL", "p95 KL",
                 "mean margin", "logits SQNR dB"},
                {}};
    t.rows.push_back({"float FP32", cell(e["float"], "top1", 4), cell(e["float"], "top5", 4), "-", "-", "-",
                      "-", cell(e["float"], "mean_margin", 3), "-"});
    for (const auto& c : e["configurations"])
        t.rows.push_back({c["quant"].get<std::string>() + ", " + c["preset"].get<std::string>(),
                          cell(c, "top1", 4), cell(c, "top5", 4), cell(c, "agreement", 4),
                          std::to_string(c["flips"].get<int64_t>()), cell(c, "mean_kl", 3),
                          cell(c, "p95_kl", 3), cell(c, "mean_margin", 3),
                          decibels(real(c["logits_sqnr_db"]))});
    return t;
}

TextTable margin_table(const Json& e, size_t configuration) {
    TextTable t{{"float network's margin", "pictures", "flips", "flips %"}, {}};
    const Json& c = e["configurations"][configuration];
    if (!c.contains("by_margin")) return t;
    for (const auto& m : c["by_margin"]) {
        const int64_t images = m["images"], flips = m["flips"];
        if (images > 0)
            t.rows.push_back({fmt::format("{:.1f} to {:.1f}", real(m["from"]), real(m["to"])),
                              std::to_string(images), std::to_string(flips),
                              number(100.0 * static_cast<double>(flips) / static_cast<double>(images))});
    }
    return t;
}

TextTable class_table(const Json& e, size_t configuration) {
    TextTable t{{"class", "pictures", "float top-1 %", "integer top-1 %", "agreement %"}, {}};
    for (const auto& c : e["configurations"][configuration]["classes"])
        t.rows.push_back({c["label"].get<std::string>(), std::to_string(c["images"].get<int64_t>()),
                          cell(c, "float_top1", 4), cell(c, "top1", 4), cell(c, "agreement", 4)});
    return t;
}

TextTable worst_table(const Json& e, size_t configuration, size_t most) {
    TextTable t{{"picture", "float", "integer", "label", "KL", "margin float", "margin integer"}, {}};
    for (const auto& w : e["configurations"][configuration]["worst"]) {
        if (t.rows.size() == most) break;
        t.rows.push_back({w["file"].get<std::string>(), w["float"].get<std::string>(),
                          w["integer"].get<std::string>(), w.value("label", std::string("-")),
                          cell(w, "kl", 3), cell(w, "margin_float", 3), cell(w, "margin_integer", 3)});
    }
    return t;
}

std::string evaluation_coverage(const Json& e) {
    const Json& d = e["dataset"];
    std::string s = fmt::format("({}), {} skipped", d["layout"].get<std::string>(), e["skipped"].size());
    if (const auto n = d.value("without_label", int64_t{0})) s += fmt::format(", {} without a label", n);
    if (const auto n = d.value("without_picture", int64_t{0}))
        s += fmt::format(", {} of the labels file name{} no picture",
                         n == 1 ? "1 line" : fmt::format("{} lines", n), n == 1 ? "s" : "");
    return s;
}

std::string evaluation_sentence(const Json& e) {
    const auto n = e["images"].get<int64_t>();
    std::string s = fmt::format("{} picture{} of {} {}.", n, n == 1 ? "" : "s",
                                e["dataset"]["folder"].get<std::string>(), evaluation_coverage(e));
    if (e.contains("note")) s += " Note: " + e["note"].get<std::string>() + ".";
    return s;
}

}  // namespace ivit
