// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/cli/command.h"

namespace ivit::cli {

std::string predictions_table(const Json& p) {
    const bool both = p.contains("float");
    std::string s = both ? fmt::format("  {:<34}  {}\n", "integer", "float") : "  integer\n";
    for (size_t i = 0; i < p["integer"].size(); ++i) {
        const auto cell = [&](const char* kind) {
            const auto& e = p[kind][i];
            return fmt::format("{:>6.2f} %  {:<24.24}", 100 * e["probability"].get<double>(),
                               e["label"].get<std::string>());
        };
        std::string row = "  " + cell("integer");
        if (both) {
            const bool same = p["integer"][i]["index"] == p["float"][i]["index"];
            row += "  " + cell("float") + (same ? "" : ink(Ink::bad, " differs"));
        }
        s += row + "\n";
    }
    return s;
}

std::string layers_table(const Json& layers) {
    std::vector<std::pair<const Json*, const Json*>> rows;  // cumulative, isolated
    for (const auto& l : layers)
        if (l["scope"] == "cumulative") {
            const auto other = std::find_if(layers.begin(), layers.end(), [&](const Json& x) {
                return x["scope"] == "isolated" && x["name"] == l["name"];
            });
            rows.emplace_back(&l, other == layers.end() ? nullptr : &*other);
        }
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
        return (*a.first)["sqnr_db"] < (*b.first)["sqnr_db"];
    });
    std::string s =
        ink(Ink::bold,
            fmt::format("  {:<24} {:<12} {:>4} {:>10} {:>10} {:>9} {:>10} {:>10} {:>8} {:>7}\n", "node", "op",
                        "bits", "cumulative", "isolated", "cosine", "MSE", "max error", "at limit", "range"));
    s += ink(Ink::dim, fmt::format("  {:<24} {:<12} {:>4} {:>10} {:>10} {:>9} {:>10} {:>10} {:>8} {:>7}\n",
                                   "", "", "", "SQNR dB", "SQNR dB", "", "", "", "%", "used %"));
    for (const auto& [c, i] : rows) {
        const double db = (*c)["sqnr_db"];
        std::string line = fmt::format(
            "  {:<24} {:<12} {:>4} {:>10.1f} {:>10} {:>9.5f} {:>10.3g} {:>10.3g} {:>8.2f} {:>7.0f}\n",
            (*c)["name"].get<std::string>(), (*c)["op"].get<std::string>(), (*c)["bits"].get<int>(), db,
            i ? fmt::format("{:.1f}", (*i)["sqnr_db"].get<double>()) : "-", (*c)["cosine"].get<double>(),
            (*c)["mse"].get<double>(), (*c)["max_abs_error"].get<double>(),
            100 * (*c)["saturation"].get<double>(), 100 * (*c)["range_used"].get<double>());
        s += db < 15 ? ink(Ink::bad, line) : line;
    }
    return s;
}

}  // namespace ivit::cli
