// SPDX-License-Identifier: GPL-3.0-or-later
// An evaluation for people: accuracy and agreement of every configuration, where they were lost, and on which
// pictures.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/report/report_parts.h"

namespace ivit::cli {

namespace {

std::string percent(const Json& v) { return v.is_null() ? "-" : fmt::format("{:.2f}", v.get<double>()); }
std::string small(const Json& v) { return v.is_null() ? "-" : fmt::format("{:.3g}", v.get<double>()); }

std::string pictures(const Json& e) {
    const auto n = e["images"].get<int64_t>();
    std::string s = fmt::format("\n{} picture{} {}\n", n, n == 1 ? "" : "s", evaluation_coverage(e));
    if (e.contains("note")) s += "note: " + e["note"].get<std::string>() + "\n";
    return s;
}

// The float network's row, then one for each configuration.
std::string accuracy(const Json& e) {
    const auto configuration = [](const Json& c) {
        return c["quant"].get<std::string>() + (c.value("integer_only", true) ? "" : ", not all integer");
    };
    size_t wide = 24;
    for (const auto& c : e["configurations"]) wide = std::max(wide, configuration(c).size());
    std::string s =
        ink(Ink::bold, fmt::format("  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7} {:>8}\n",
                                   "configuration", wide, "preset", "top-1 %", "top-5 %", "agreement %",
                                   "flips", "mean KL", "p95 KL", "margin", "SQNR dB"));
    s += fmt::format("  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7}\n", "float FP32", wide, "",
                     percent(e["float"]["top1"]), percent(e["float"]["top5"]), "", "", "", "",
                     small(e["float"]["mean_margin"]));
    for (const auto& c : e["configurations"])
        s += fmt::format(
            "  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7} {:>8}\n", configuration(c), wide,
            c["preset"].get<std::string>(), percent(c["top1"]), percent(c["top5"]), percent(c["agreement"]),
            c["flips"].get<int64_t>(), small(c["mean_kl"]), small(c["p95_kl"]), small(c["mean_margin"]),
            c["logits_sqnr_db"].is_null() ? "-" : fmt::format("{:.1f}", c["logits_sqnr_db"].get<double>()));
    return s;
}

// Of one configuration; of many classes those that lose most.
std::string by_class(const Json& c) {
    constexpr size_t most_classes = 20;
    std::vector<const Json*> classes;
    for (const auto& k : c["classes"]) classes.push_back(&k);
    if (classes.empty()) return {};
    std::string s = fmt::format("\n  {}, by class", c["quant"].get<std::string>());
    if (classes.size() > most_classes) {
        const auto gain = [](const Json* k) {
            return (*k)["top1"].get<double>() - (*k)["float_top1"].get<double>();
        };
        std::stable_sort(classes.begin(), classes.end(),
                         [&](const Json* a, const Json* b) { return gain(a) < gain(b); });
        s += fmt::format(": the {} of {} that lose most (--json lists all)", most_classes, classes.size());
        classes.resize(most_classes);
    }
    s += "\n";
    for (const Json* k : classes)
        s += fmt::format("    {:<20.20} {:>6} pictures  float {:>6} %  integer {:>6} %  agreement {:>6} %\n",
                         (*k)["label"].get<std::string>(), (*k)["images"].get<int64_t>(),
                         percent((*k)["float_top1"]), percent((*k)["top1"]), percent((*k)["agreement"]));
    return s;
}

// Is it the pictures the float network was unsure of anyway that flip?
std::string by_margin(const Json& c) {
    const int64_t flips = c["flips"];
    if (flips == 0) return {};
    std::string s = fmt::format("\n  {}, {} flips by the float network's margin (first minus second)\n",
                                c["quant"].get<std::string>(), flips);
    for (const auto& m : c["by_margin"])
        if (const int64_t n = m["images"]; n > 0)
            s += fmt::format("    {:.1f} to {:.1f} {:>8} pictures {:>7} flips {:>7.2f} %\n",
                             m["from"].get<double>(), m["to"].get<double>(), n, m["flips"].get<int64_t>(),
                             100.0 * m["flips"].get<double>() / static_cast<double>(n));
    return s;
}

std::string worst(const Json& c) {
    constexpr size_t most = 5;
    std::string s = fmt::format("\n  {}, greatest disagreement\n", c["quant"].get<std::string>());
    for (size_t i = 0; i < std::min(most, c["worst"].size()); ++i) {
        const auto& w = c["worst"][i];
        s += fmt::format("    {:<32} float {:<16.16} integer {:<16.16} KL {:.3g}{}\n", one_line(w["file"]),
                         w["float"].get<std::string>(), w["integer"].get<std::string>(),
                         w["kl"].get<double>(), w["agree"].get<bool>() ? "" : ink(Ink::bad, "  flipped"));
    }
    return s;
}

std::string skipped(const Json& pictures) {
    constexpr size_t most = 10;
    std::string s;
    for (size_t i = 0; i < std::min(most, pictures.size()); ++i)
        s += fmt::format("  skipped {}: {}\n", one_line(pictures[i]["file"]),
                         pictures[i]["error"].get<std::string>());
    if (pictures.size() > most)
        s += fmt::format("  ... and {} more (--json lists all)\n", pictures.size() - most);
    return s;
}

}  // namespace

std::string evaluation_table(const Json& e) {
    std::string s = pictures(e) + "\n" + accuracy(e);
    for (const auto& c : e["configurations"]) s += by_class(c) + by_margin(c) + worst(c);
    return s + skipped(e["skipped"]);
}

}  // namespace ivit::cli
