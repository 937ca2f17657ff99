// SPDX-License-Identifier: GPL-3.0-or-later
// ivit diff: two reports side by side; and how differences are told.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/cli/report_commands.h"
#include "engine/report/report_parts.h"
#include "engine/version.h"

namespace ivit::cli {

namespace {

// In full: what differs may be the last digit.
std::string value_text(const Json& v) { return v.is_null() ? "(absent)" : v.dump(); }

// The greatest relative difference, when all that differs are numbers; else 0.
double greatest_change(const std::vector<Difference>& differences) {
    double most = 0;
    for (const auto& d : differences) {
        if (!d.a.is_number() || !d.b.is_number()) return 0;
        const double a = d.a, b = d.b;
        most = std::max(most, std::fabs(a - b) / std::max({std::fabs(a), std::fabs(b), 1e-300}));
    }
    return most;
}

using Rows = std::vector<std::pair<std::string, std::string>>;

// What a report was made of and with. Values of one name, as of pictures left out, stand in one row.
Rows facts(const Json& r) {
    Rows rows = report_facts(r), config = config_rows(r);
    rows.insert(rows.end(), config.begin(), config.end());
    if (const std::string w = why(r); !w.empty()) rows.emplace_back("Why", w);
    if (r.contains("latency")) rows.emplace_back("Latency", latency_sentence(r["latency"]));
    if (r.contains("evaluation"))
        for (const auto& row : ivit::evaluation_table(r["evaluation"]).rows)
            rows.emplace_back("top-1, " + row[0], row[1] + " %, agreement " + row[3] + " %");
    Rows joined;
    for (const auto& [key, value] : rows) {
        const auto before =
            std::find_if(joined.begin(), joined.end(), [&](const auto& row) { return row.first == key; });
        if (before == joined.end())
            joined.emplace_back(key, value);
        else
            before->second += "; " + value;
    }
    return joined;
}

// What was not the same.
void print_facts(const Json& a, const Json& b) {
    const auto value = [](const Rows& rows, const std::string& key) {
        for (const auto& [k, v] : rows)
            if (k == key) return v;
        return std::string("-");
    };
    const Rows x = facts(a), y = facts(b);
    Rows keys = x;
    for (const auto& row : y)
        if (value(x, row.first) == "-") keys.push_back(row);
    for (const auto& [key, unused] : keys)
        if (const std::string u = value(x, key), v = value(y, key); u != v)
            fmt::print("  {:<20} a  {}\n  {:<20} b  {}\n", key, u, "", v);
}

// What was in effect: in both, or in the run that just was.
Json document_of(const std::vector<Difference>& differences, const std::string& kind, const Json& a,
                 const Json& b) {
    Json doc = {{"format", "ivit-" + kind},
                {"version", 1},
                {"program", program_name()},
                {"equal", differences.empty()}};
    const auto effective = [](const Json& r) {
        Json e;
        for (const char* field : {"model", "quant", "preset", "config", "backend", "machine", "calibration"})
            e[field] = r.value(field, Json());
        return e;
    };
    if (kind == "diff") {
        doc["a"] = effective(a);
        doc["b"] = effective(b);
    } else {
        doc.update(effective(b));
    }
    doc["differences"] = Json::array();
    for (const auto& d : differences)
        doc["differences"].push_back({{"where", d.where}, {"a", d.a}, {"b", d.b}});
    return doc;
}

// "+1.3", and never "-0.0".
std::string change(double from, double to) {
    const std::string text = fmt::format("{:+.1f}", to - from);
    return text == "-0.0" || text == "+0.0" ? "0.0" : text;
}

// The layers of every picture, side by side: that is what a person compares.
void print_layers(const Json& a, const Json& b) {
    for (size_t i = 0; i < std::min(a["images"].size(), b["images"].size()); ++i) {
        const Json &x = a["images"][i], &y = b["images"][i];
        const std::string f = x["file"], g = y["file"];
        fmt::print("\n{}\n  a  {}: {}\n  b  {}: {}\n\n",
                   ink(Ink::bold, one_line(f == g ? f : f + " against " + g)), a["quant"].get<std::string>(),
                   verdict(x), b["quant"].get<std::string>(), verdict(y));
        fmt::print("  {:<24} {:>12} {:>12} {:>10}   {:>12} {:>12} {:>10}\n", "SQNR dB", "cumulative a", "b",
                   "change", "isolated a", "b", "change");
        const auto rows = layer_rows(x), others = layer_rows(y);
        for (const auto& r : rows)
            for (const auto& q : others)
                if (r.name == q.name)
                    fmt::print("  {:<24} {:>12.1f} {:>12.1f} {:>10}   {:>12.1f} {:>12.1f} {:>10}\n", r.name,
                               r.cumulative_db, q.cumulative_db, change(r.cumulative_db, q.cumulative_db),
                               r.isolated_db, q.isolated_db, change(r.isolated_db, q.isolated_db));
    }
}

void print_values(const std::vector<Difference>& differences) {
    constexpr size_t shown = 40;
    for (size_t i = 0; i < std::min(shown, differences.size()); ++i)
        fmt::print("  {}: {} -> {}\n", differences[i].where, value_text(differences[i].a),
                   value_text(differences[i].b));
    if (differences.size() > shown)
        fmt::print("  ... and {} more (--json lists all)\n", differences.size() - shown);
}

}  // namespace

int print_differences(const std::vector<Difference>& differences, bool json, const std::string& kind,
                      const Json& a, const Json& b) {
    const int status = differences.empty() ? 0 : 1;
    if (json) {
        print_json(document_of(differences, kind, a, b));
        return status;
    }
    if (kind == "diff")
        print_facts(a, b);
    else
        for (const auto& [key, value] : report_facts(b))
            if (key != "Made" && key != "Machine") fmt::print("  {:<20} {}\n", key, value);
    if (differences.empty()) {
        fmt::print("every value is the same\n");
        return status;
    }
    if (kind == "diff") print_layers(a, b);
    fmt::print("\n{}\n", differences.size() == 1 ? "1 value differs"
                                                 : fmt::format("{} values differ", differences.size()));
    if (const double most = greatest_change(differences); kind == "replay" && most > 0)
        fmt::print("numbers only, the greatest relative change is {:.1e}\n", most);
    print_values(differences);
    return status;
}

void add_diff(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("diff", "two reports side by side");
    auto a = std::make_shared<std::string>();
    auto b = std::make_shared<std::string>();
    auto json = std::make_shared<bool>(false);
    c->add_option("a", *a, "report.json")->required();
    c->add_option("b", *b, "another report.json")->required();
    c->add_flag("--json", *json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const Json x = read_report(*a), y = read_report(*b);
            if (!*json) fmt::print("a  {}: {}\nb  {}: {}\n\n", *a, report_title(x), *b, report_title(y));
            return print_differences(report_differences(x, y), *json, "diff", x, y);
        };
    });
}

}  // namespace ivit::cli
