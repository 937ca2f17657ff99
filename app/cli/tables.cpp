// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "app/cli/command.h"
#include "engine/report/report_parts.h"

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
    const Json image = {{"layers", layers}};
    const TextTable t = node_table(image);
    const std::vector<LayerRow> rows = worst_first(layer_rows(image));
    std::vector<size_t> columns(t.head.size());
    std::iota(columns.begin(), columns.end(), size_t{0});
    // A node's name says where it stands, and so much would not fit beside the rest.
    std::erase_if(columns, [&](size_t c) { return t.head[c] == "place"; });
    // Heads of two lines, broken before the unit: a column is as wide as its numbers.
    std::vector<std::string> above, below;
    std::vector<size_t> widths;
    for (const size_t c : columns) {
        const size_t space = t.head[c].find(' ');
        above.push_back(t.head[c].substr(0, space));
        below.push_back(space == std::string::npos ? "" : t.head[c].substr(space + 1));
        widths.push_back(std::max(above.back().size(), below.back().size()));
        for (const auto& row : t.rows) widths.back() = std::max(widths.back(), row[c].size());
    }
    const auto line = [&](const auto& cell) {
        std::string l = " ";
        for (size_t k = 0; k < columns.size(); ++k) {
            const bool text = t.head[columns[k]] == "node" || t.head[columns[k]] == "op";
            l += text ? fmt::format(" {:<{}} ", cell(k), widths[k])
                      : fmt::format(" {:>{}}", cell(k), widths[k] + 1);
        }
        return l + "\n";
    };
    std::string s = ink(Ink::bold, line([&](size_t k) { return above[k]; })) +
                    ink(Ink::dim, line([&](size_t k) { return below[k]; }));
    for (size_t r = 0; r < rows.size(); ++r) {
        const std::string l = line([&](size_t k) { return t.rows[r][columns[k]]; });
        s += rows[r].cumulative_db < 15 ? ink(Ink::bad, l) : l;
    }
    return s;
}

}  // namespace ivit::cli
