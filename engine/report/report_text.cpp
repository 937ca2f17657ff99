// SPDX-License-Identifier: Apache-2.0
// Reports as Markdown and CSV.
#include <fmt/format.h>

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
    const std::vector<std::string> columns = {
        "name", "op",   "scope",         "bits",       "mode",       "sqnr_db", "cosine",
        "mse",  "nmse", "max_abs_error", "saturation", "range_used", "scale",   "row_sum_error"};
    std::string s = "file";
    for (const auto& c : columns) s += "," + c;
    s += "\r\n";
    for (const auto& image : report["images"])
        for (const auto& l : image["layers"]) {
            s += csv_cell(image["file"]);
            for (const auto& c : columns) s += "," + csv_cell(l.contains(c) ? l[c] : Json());
            s += "\r\n";
        }
    return s;
}

std::string report_markdown(const Json& report) {
    std::string s = "# I-ViT report\n\n";
    for (const auto& [key, value] : report_facts(report)) s += fmt::format("- **{}**: {}\n", key, md(value));
    if (!report["reproduce"].empty()) {
        s += "\n## Reproduce\n\n```sh\n";
        for (const auto& c : report["reproduce"]) {
            std::string line = c.get<std::string>();
            for (size_t at; (at = line.find("```")) != std::string::npos;) line.replace(at, 3, "'''");
            s += line + "\n";
        }
        s += "```\n";
    }
    for (const auto& image : report["images"]) {
        s += "\n## " + md(image["file"]) + "\n\n" + md(verdict(image)) +
             "\n\n| float | % | integer | % |\n|---|---:|---|---:|\n";
        const auto &f = image["predictions"]["float"], &q = image["predictions"]["integer"];
        for (size_t i = 0; i < std::min(f.size(), q.size()); ++i)
            s += fmt::format("| {} | {} | {} | {} |\n", md(f[i]["label"]),
                             number(100 * f[i]["probability"].get<double>()), md(q[i]["label"]),
                             number(100 * q[i]["probability"].get<double>()));
        s += "\n| node | op | bits | cumulative SQNR dB | isolated SQNR dB | cosine | MSE | at limit % | "
             "range used % |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
        for (const auto& row : layer_rows(image))
            s += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", md(row.name), row.op,
                             row.bits, number(row.cumulative_db), number(row.isolated_db),
                             number(row.cosine, 6), number(row.mse), number(100 * row.saturation),
                             number(100 * row.range_used));
    }
    if (report.contains("latency")) s += "\n## Latency\n\n" + md(latency_sentence(report["latency"])) + "\n";
    if (report.contains("evaluation")) {
        s += "\n## Evaluation\n\n| configuration | top-1 % | top-5 % | agreement % | mean KL "
             "|\n|---|---:|---:|---:|---:|\n";
        for (const auto& row : evaluation_rows(report["evaluation"]))
            s += fmt::format("| {} | {} | {} | {} | {} |\n", md(row[0]), row[1], row[2], row[3], row[4]);
    }
    return s;
}

}  // namespace ivit
