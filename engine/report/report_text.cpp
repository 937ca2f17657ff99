// SPDX-License-Identifier: Apache-2.0
// Reports as Markdown and CSV.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/report/report.h"
#include "engine/report/report_parts.h"

namespace ivit {

namespace {

// A file called `a|b` or <script> is only text.
std::string md(const std::string& s) {
    std::string out;
    for (const char c : s) {
        if (c == '<')
            out += "&lt;";
        else if (c == '&')
            out += "&amp;";
        else if (c == '\n' || c == '\r')
            out += ' ';
        else {
            if (std::string("\\`*_{}[]()#+!|>").find(c) != std::string::npos) out += '\\';
            out += c;
        }
    }
    return out;
}

std::string csv_cell(const Json& v) {
    if (v.is_null()) return "";
    std::string s = v.is_string() ? v.get<std::string>() : v.dump();
    // A name that begins like a formula must stay text in a spreadsheet.
    if (v.is_string() && !s.empty() && std::string("=+-@\t\r").find(s[0]) != std::string::npos) s = "'" + s;
    if (s.find_first_of(",\"\n\r") == std::string::npos) return s;
    std::string quoted = "\"";
    for (const char c : s) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted + "\"";
}

}  // namespace

std::string report_csv(const Json& report) {
    const std::vector<std::string> scoped = {"sqnr_db",       "cosine",     "mse",        "nmse",
                                             "max_abs_error", "saturation", "range_used", "row_sum_error"};
    std::string s = "file,node,op,bits,weight_bits,mode,scale,range";
    for (const char* scope : {"cumulative", "isolated"})
        for (const auto& c : scoped) s += std::string(",") + scope + "_" + c;
    // Rows of several reports can be put together: each says what it is of.
    std::string made_with;
    for (const char* c : {"model", "model_sha256", "quant", "preset", "calibration", "backend", "program"})
        s += std::string(",") + c;
    for (const Json* v :
         {&report["model"]["name"], &report["model"]["sha256"], &report["quant"], &report["preset"],
          &report["calibration"]["summary"], &report["backend"], &report["program"]})
        made_with += "," + csv_cell(*v);
    s += "\r\n";
    for (const auto& image : report["images"]) {
        std::map<std::string, const Json*> isolated;
        for (const auto& l : image["layers"])
            if (l["scope"] == "isolated") isolated[l["name"]] = &l;
        for (const auto& l : image["layers"]) {
            if (l["scope"] != "cumulative") continue;
            s += csv_cell(image["file"]);
            for (const char* c : {"name", "op", "bits", "weight_bits", "mode", "scale", "range"})
                s += "," + csv_cell(l.contains(c) ? l[c] : Json());
            const auto other = isolated.find(l["name"]);
            const bool clamps = l["bits"].get<int>() < 32;
            for (const Json* of : {&l, other == isolated.end() ? nullptr : other->second})
                for (const auto& c : scoped) {
                    // Nothing, where nothing clamps: a share of 0 would be a measurement.
                    const bool said =
                        of && of->contains(c) && (clamps || (c != "saturation" && c != "range_used"));
                    s += "," + csv_cell(said ? (*of)[c] : Json());
                }
            s += made_with + "\r\n";
        }
    }
    return s;
}

namespace {

// First column to the left, the others to the right.
std::string md_table(const std::vector<std::string>& head,
                     const std::vector<std::vector<std::string>>& rows) {
    std::string s = "\n|", rule = "|";
    for (size_t i = 0; i < head.size(); ++i) {
        s += " " + md(head[i]) + " |";
        rule += i ? "---:|" : "---|";
    }
    s += "\n" + rule + "\n";
    for (const auto& row : rows) {
        s += "|";
        for (const auto& c : row) s += " " + md(c) + " |";
        s += "\n";
    }
    return s;
}

// The counts of a histogram in sixteen characters, logarithmic as in the drawn ones.
std::string sparkline(const Json& counts) {
    static const char* const steps[] = {"\u2800", "\u2581", "\u2582", "\u2583", "\u2584",
                                        "\u2585", "\u2586", "\u2587", "\u2588"};
    constexpr size_t columns = 16;
    double bins[columns] = {}, most = 1;
    for (size_t i = 0; i < counts.size(); ++i) bins[i * columns / counts.size()] += real(counts[i]);
    for (const double b : bins) most = std::max(most, b);
    std::string s;
    for (const double b : bins)
        s += steps[static_cast<size_t>(std::ceil(8 * std::log1p(b) / std::log1p(most)))];
    return s;
}

std::string evaluation_markdown(const Json& e) {
    const TextTable t = evaluation_table(e);
    std::string s = "\n## Evaluation\n\n" + md(evaluation_sentence(e)) + "\n" + md_table(t.head, t.rows);
    for (size_t k = 0; k < e["configurations"].size(); ++k) {
        const std::string name = md(e["configurations"][k]["quant"]);
        const TextTable classes = class_table(e, k), worst = worst_table(e, k, 10);
        if (const TextTable margins = margin_table(e, k); !margins.rows.empty())
            s += "\n### " + name + ", flips by the float network's margin\n" +
                 md_table(margins.head, margins.rows);
        if (!classes.rows.empty())
            s += "\n### " + name + ", by class\n" + md_table(classes.head, classes.rows);
        if (!worst.rows.empty())
            s += "\n### " + name + ", greatest disagreement\n" + md_table(worst.head, worst.rows);
    }
    return s;
}

std::string image_markdown(const Json& image) {
    std::string s = "\n## " + md(image["file"]) + "\n\n" + md(verdict(image)) + "\n\nSHA-256 " +
                    md(image["sha256"]) + "\n";
    const auto &f = image["predictions"]["float"], &q = image["predictions"]["integer"];
    std::vector<std::vector<std::string>> rows;
    for (size_t i = 0; i < std::min(f.size(), q.size()); ++i)
        rows.push_back({f[i]["label"], number(100 * real(f[i]["probability"])), q[i]["label"],
                        number(100 * real(q[i]["probability"]))});
    s += md_table({"float", "%", "integer", "%"}, rows);
    const Json& a = image["attention"];
    const auto [most, difference] = attention_range(a);
    s += "\n### " + md(attention_title(a)) + "\n\n" + md(attention_sentence(a, most, difference)) + "\n";
    rows.clear();
    for (const auto& w : image["worst"]) {
        const Json& h = w["histogram"];
        rows.push_back({w["name"], decibels(real(w["sqnr_db"])), own_sentence(image, w["name"]),
                        sparkline(h["float"]), sparkline(h["integer"]), number(real(h["low"])),
                        number(real(h["high"])), clamp_sentence(h)});
    }
    s += "\n### The ten worst nodes\n\nHistograms of both networks' values, logarithmic counts.\n" +
         md_table({"node", "SQNR dB", "own", "float", "integer", "from", "to", "limits"}, rows);
    const TextTable nodes = node_table(image);
    return s + "\n### Every node, worst first\n\n" + md(health(image)) + "\n" +
           md_table(nodes.head, nodes.rows);
}

}  // namespace

std::string report_markdown(const Json& report) {
    std::string s = "# " + md(report_title(report)) +
                    "\n\nAn integer-only Vision Transformer beside its float network. " +
                    md(report_subtitle(report)) + "\n\n";
    for (const Finding& f : findings(report)) s += fmt::format("- **{}**. {}\n", md(f.headline), md(f.text));
    if (report.contains("causes")) {
        s += "\n## Which layer hurts, and why\n\n" + md(causes_sentence(report)) + "\n";
        std::vector<std::vector<std::string>> rows;
        for (const char* list : {"network", "blocks", "nodes"})
            for (const CauseBar& b : cause_bars(report, list, 5))
                rows.push_back({std::string(list) == "blocks" ? b.name + " in float" : b.name,
                                fmt::format("{:+.2f}", b.gain_db)});
        s += md_table({"change", "gain dB"}, rows);
    }
    for (const auto& image : report["images"]) s += image_markdown(image);
    if (report.contains("evaluation")) s += evaluation_markdown(report["evaluation"]);
    if (report.contains("latency")) {
        const Json& l = report["latency"];
        s += "\n## Latency\n\n" + md(latency_sentence(l)) + "\n";
        const TextTable steps = latency_table(l);
        if (!steps.rows.empty()) s += md_table(steps.head, steps.rows);
    }
    s += "\n## Made of and with\n\n";
    for (const auto& [key, value] : report_facts(report)) s += fmt::format("- **{}**: {}\n", key, md(value));
    s += "\n## Effective configuration\n\n";
    for (const auto& [key, value] : config_rows(report))
        s += fmt::format("- **{}**: {}\n", md(key), md(value));
    if (!report["reproduce"].empty()) {
        s += "\n## Reproduce\n\n```sh\n";
        for (const auto& c : report["reproduce"]) {
            std::string line = c.get<std::string>();
            for (size_t at; (at = line.find("```")) != std::string::npos;) line.replace(at, 3, "'''");
            s += line + "\n";
        }
        s += "```\n";
    }
    return s;
}

}  // namespace ivit
