// SPDX-License-Identifier: Apache-2.0
// The report as a vector PDF, A4, numbered pages.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/report/pdf_pages.h"
#include "engine/report/report.h"
#include "engine/report/report_parts.h"

namespace ivit {

namespace {

constexpr double margin = page_margin;
constexpr Colour black{0.1, 0.12, 0.14}, dim{0.4, 0.43, 0.47}, faint{0.83, 0.85, 0.88}, blue{0, 0.447, 0.698},
    orange{0.835, 0.369, 0}, red{0.7, 0.15, 0.12}, paper{1, 1, 1};

// A table over the page's width. The first column is to the left and takes `first` points, the others are to
// the right and share the rest; the head is repeated on every page.
void table(Pages& p, TextTable t, double first) {
    align_decimals(t);
    constexpr double row_height = 11;
    const double each = (page_w - 2 * margin - first) / static_cast<double>(t.head.size() - 1);
    const auto line = [&](const std::vector<std::string>& cells, double at, double gap) {
        p.text(margin, at, cells[0], first - gap);
        for (size_t i = 1; i < cells.size(); ++i)
            p.text(margin + first + each * static_cast<double>(i), at, cells[i], each - gap, 1);
    };
    // Heads break where their longer half is shortest: "cumulative" above "SQNR dB".
    const auto break_of = [](const std::string& h) {
        size_t best = std::string::npos;
        const auto longer = [&h](size_t space) { return std::max(space, h.size() - space); };
        for (size_t i = h.find(' '); i != std::string::npos; i = h.find(' ', i + 1))
            if (best == std::string::npos || longer(i) <= longer(best)) best = i;
        return best;
    };
    const auto head = [&] {
        std::vector<std::string> above, below;
        for (const auto& h : t.head) {
            const size_t space = above.empty() ? std::string::npos : break_of(h);
            above.push_back(space == std::string::npos ? "" : h.substr(0, space));
            below.push_back(space == std::string::npos ? h : h.substr(space + 1));
        }
        p.font(5.6, true);
        p.ink(dim);
        line(above, p.y + 6.5, 1);
        line(below, p.y + 14, 1);
        p.y += 16;
        p.ink(faint);
        p.line(margin, p.y + 1, page_w - margin, p.y + 1);
        p.y += 2;
    };
    p.need(4 * row_height);
    head();
    for (const auto& row : t.rows) {
        if (p.need(row_height)) head();
        p.font(7.5);
        p.ink(black);
        line(row, p.y + 8.5, 5);
        p.y += row_height;
    }
}

void sqnr_plot(Pages& p, const std::vector<LayerRow>& rows) {
    const double height = 150, left = margin + 28, right = page_w - margin;
    p.need(height + 34);
    const double most = sqnr_axis_end(rows);
    const auto at = [&](size_t i, double db) {
        return std::pair(left + (right - left) * static_cast<double>(i) /
                                    static_cast<double>(std::max<size_t>(1, rows.size() - 1)),
                         p.y + height * (1 - std::clamp(db, 0.0, most) / most));
    };
    p.font(7);
    for (double db = 0; db <= most; db += most > 60 ? 20 : 10) {
        p.ink(faint);
        p.line(left, at(0, db).second, right, at(0, db).second);
        p.ink(dim);
        p.text(left - 5, at(0, db).second + 2.5, fmt::format("{:.0f}", db), 50, 1);
    }
    for (const auto& [place, block] : block_marks(rows)) {
        const double x = at(place, 0).first;
        p.ink(faint);
        p.line(x, p.y, x, p.y + height, 0.4, true);
        p.ink(dim);
        p.text(x, p.y + height + 8, block);
    }
    std::vector<std::pair<double, double>> cumulative;
    p.ink(blue);
    for (size_t i = 0; i < rows.size(); ++i) {
        if (std::isfinite(rows[i].cumulative_db)) cumulative.push_back(at(i, rows[i].cumulative_db));
        if (!std::isfinite(rows[i].isolated_db)) continue;
        const auto [x, y] = at(i, rows[i].isolated_db);
        p.disc(x, y, 1.2);
    }
    p.ink(orange);
    p.polyline(cumulative);
    if (const auto worst = worst_first(rows); !worst.empty() && std::isfinite(worst[0].cumulative_db)) {
        const auto [x, y] = at(static_cast<size_t>(worst[0].place), worst[0].cumulative_db);
        p.disc(x, y, 2);
        p.font(7.5, true);
        const bool to_the_left = x > page_w / 2;
        const double base = std::min(y + 10, p.y + height - 3), wide = p.width(worst[0].name);
        p.ink(paper, 0.8);  // the line goes on below it
        p.rect(to_the_left ? x - wide : x, base - 7, wide, 9);
        p.ink(orange);
        p.text(x, base, worst[0].name, 200, to_the_left ? 1 : 0);
        p.font(7);
    }
    p.y += height + 20;
    p.font(7.5);
    p.text(left, p.y, "cumulative (solid)");
    p.ink(blue);
    p.text(left + 90, p.y, "isolated (dots)");
    p.ink(dim);
    p.text(right, p.y, "dB; nodes in execution order, the numbers are blocks", 260, 1);
    p.y += 10;
}

void histograms(Pages& p, const Json& image) {
    const Json& worst = image["worst"];
    const double w = (page_w - 2 * margin - 20) / 2, h = 62;
    for (size_t i = 0; i < worst.size(); i += 2) {
        p.need(h + 36);
        for (size_t k = i; k < std::min(i + 2, worst.size()); ++k) {
            const double x = margin + static_cast<double>(k - i) * (w + 20), base = p.y + 14 + h;
            const Json& hist = worst[k]["histogram"];
            const auto f = hist["float"].get<std::vector<double>>(),
                       q = hist["integer"].get<std::vector<double>>();
            const double low = real(hist["low"]), high = real(hist["high"]);
            double most = 1;
            for (size_t b = 0; b < f.size(); ++b) most = std::max({most, f[b], q[b]});
            p.font(8, true);
            p.ink(black);
            p.text(x, p.y + 8,
                   worst[k]["name"].get<std::string>() + "  " + decibels(real(worst[k]["sqnr_db"])) + " dB",
                   w * 0.68);
            const std::string own = own_sentence(image, worst[k]["name"]);
            p.font(6.5);
            p.ink(dim);
            p.text(x + w, p.y + 8, own.substr(0, own.find(':')), w * 0.32, 1);
            const double bar = w / static_cast<double>(f.size());
            const auto height = [&](double n) { return n > 0 ? h * std::log1p(n) / std::log1p(most) : 0; };
            std::vector<std::pair<double, double>> outline = {{x, base}};
            p.ink(blue, 0.4);
            for (size_t b = 0; b < f.size(); ++b) {
                const double from = x + bar * static_cast<double>(b), top = base - height(q[b]);
                p.rect(from, base - height(f[b]), bar, height(f[b]));
                outline.insert(outline.end(), {{from, top}, {from + bar, top}});
            }
            outline.emplace_back(x + w, base);
            p.ink(orange);
            p.polyline(outline);
            if (hist.contains("clamp"))
                for (const auto& c : hist["clamp"]) {
                    const double cx = x + (c.get<double>() - low) / (high - low) * w;
                    p.ink(red);
                    if (cx >= x && cx <= x + w) p.line(cx, base - h, cx, base, 0.7, true);
                }
            p.font(7);
            p.ink(dim);
            p.text(x, base + 9, number(low), 50);
            p.text(x + w, base + 9, number(high), 50, 1);
            const std::string clamps = clamp_sentence(hist);
            p.text(x + (w - p.width(clamps)) / 2, base + 9, clamps, w - 100);
        }
        p.y += h + 36;
    }
}

constexpr double map_side = 130;

void attention(Pages& p, const Json& a, const std::string& thumbnail) {
    const int grid = a["grid"];
    p.need(map_side + 40);
    const auto [most, worst] = attention_range(a);
    const std::string names[] = {attention_operator(a), "softmax of the same logits", "difference"};
    for (int kind = 0; kind < 3; ++kind) {
        const double x0 = margin + kind * (map_side + 24), cell = map_side / grid;
        p.picture(thumbnail, x0, p.y, map_side, kind == 2 ? 0.5 : 1);
        for (size_t i = 0; i < a["shiftmax"].size(); ++i) {
            const double s = real(a["shiftmax"][i]), t = real(a["softmax"][i]);
            const double v = kind == 0 ? s : kind == 1 ? t : s - t, scale = kind == 2 ? worst : most;
            const MapColour c = map_colour(scale > 0 ? v / scale : 0, kind == 2);
            p.ink({c.r, c.g, c.b}, c.alpha);
            p.rect(x0 + static_cast<double>(static_cast<int>(i) % grid) * cell,
                   p.y + static_cast<double>(static_cast<int>(i) / grid) * cell, cell, cell);
        }
        p.font(8);
        p.ink(black);
        p.text(x0, p.y + map_side + 11, names[kind], map_side + 20);
    }
    p.y += map_side + 18;
    p.ink(dim);
    p.paragraph(margin, attention_sentence(a, most, worst), page_w - 2 * margin, 11);
}

// The picture as the networks take it, and what both say of it.
void predictions(Pages& p, const Json& image) {
    const auto &f = image["predictions"]["float"], &q = image["predictions"]["integer"];
    constexpr double side = 72, left = margin + side + 14, half = (page_w - margin - left) / 2;
    const size_t rows = std::min<size_t>({f.size(), q.size(), 40});
    p.need(std::max(side, 16 + 12 * static_cast<double>(rows)) + 4);
    const double top = p.y;
    p.picture(image["thumbnail"].get<std::string>(), margin, top, side);
    p.font(8, true);
    p.ink(blue);
    p.text(left, p.y + 8, "float");
    p.ink(orange);
    p.text(left + half, p.y + 8, "integer");
    p.y += 12;
    for (size_t i = 0; i < rows; ++i) {
        for (int k = 0; k < 2; ++k) {
            const Json& e = k ? q[i] : f[i];
            const double x = left + k * half, share = real(e["probability"]);
            p.ink(k ? orange : blue, 0.5);
            p.rect(x + 90, p.y + 2, 62 * std::clamp(share, 0.0, 1.0), 6);
            p.ink(black);
            p.font(8);
            p.text(x, p.y + 8, e["label"].get<std::string>(), 86);
            p.text(x + 198, p.y + 8, number(100 * share) + " %", 60, 1);
        }
        p.y += 12;
    }
    p.y = std::max(p.y, top + side) + 4;
}

void definitions(Pages& p, const std::vector<std::pair<std::string, std::string>>& rows) {
    constexpr double value_x = margin + 92;
    for (const auto& [key, value] : rows) {
        p.need(12);
        p.font(8.5);
        p.ink(dim);
        p.text(margin, p.y + 9, key, 88);
        p.ink(black);
        p.paragraph(value_x, value, page_w - margin - value_x, 12);
    }
}

void sentence(Pages& p, const std::string& s, Colour colour = black) {
    p.font(8.5);
    p.ink(colour);
    p.paragraph(margin, s, page_w - 2 * margin, 12);
    p.y += 3;
}

// The page is narrower than the screen: the op can be told from the name.
TextTable narrow_node_table(const Json& image) {
    TextTable t = node_table(image);
    t.head.erase(t.head.begin() + 2);
    for (auto& row : t.rows) row.erase(row.begin() + 2);
    return t;
}

// What a reader wants first, with bars for what a change would bring.
void first_page(Pages& p, const Json& report) {
    for (const Finding& f : findings(report)) {
        p.need(40);
        p.font(10.5, true);
        p.ink(f.bad ? red : black);
        p.paragraph(margin, f.headline, page_w - 2 * margin, 14);
        sentence(p, f.text);
        p.y += 3;
    }
    if (!report.contains("causes")) return;
    p.heading("Which layer hurts, and why", 13, 120);
    sentence(p, causes_sentence(report), dim);
    const CauseLists causes = cause_lists(report);
    for (const auto& [title, bars] : causes.lists) {
        p.need(14 + 12 * static_cast<double>(bars.size()));
        p.font(8.5, true);
        p.ink(black);
        p.text(margin, p.y + 9, title, 300);
        p.y += 13;
        p.font(8);
        if (bars.empty()) {
            p.ink(dim);
            p.text(margin, p.y + 8, "Nothing gains 0.05 dB.");
            p.y += 12;
        }
        for (const CauseBar& b : bars) {
            p.ink(black);
            p.text(margin, p.y + 8, b.name, 205);
            p.text(page_w - margin, p.y + 8, fmt::format("{:+.2f} dB", b.gain_db), 60, 1);
            p.ink(orange, 0.7);
            p.rect(margin + 212, p.y + 2, (page_w - 2 * margin - 270) * b.gain_db / causes.most_db, 6);
            p.y += 12;
        }
        p.y += 4;
    }
}

void evaluation(Pages& p, const Json& e) {
    p.heading("Evaluation", 13, 60);
    sentence(p, evaluation_sentence(e));
    table(p, evaluation_table(e), 110);
    for (size_t k = 0; k < e["configurations"].size(); ++k) {
        const std::string name = e["configurations"][k]["quant"];
        const TextTable margins = margin_table(e, k), classes = class_table(e, k),
                        worst = worst_table(e, k, 10);
        if (margins.rows.size() > 0 && e["configurations"][k]["flips"] != 0) {
            p.heading(name + ", flips by the float network's margin", 10.5, 36);
            table(p, margins, 200);
        }
        if (!classes.rows.empty()) {
            p.heading(name + ", by class", 10.5, 36);
            table(p, classes, 200);
        }
        if (!worst.rows.empty()) {
            p.heading(name + ", greatest disagreement", 10.5, 36);
            table(p, worst, 150);
        }
    }
}

void image(Pages& p, const Json& i) {
    p.heading(i["file"].get<std::string>(), 13, 130);
    sentence(p, verdict(i), i["logits"]["agree"].get<bool>() ? black : red);
    sentence(p, "SHA-256 " + i["sha256"].get<std::string>(), dim);
    predictions(p, i);
    p.heading("SQNR along depth", 10.5, 190);
    sqnr_plot(p, layer_rows(i));
    p.heading(attention_title(i["attention"]), 10.5, map_side + 40);
    attention(p, i["attention"], i["thumbnail"].get<std::string>());
    p.heading("The ten worst nodes", 10.5, 120);
    sentence(p,
             "Float values filled, integer values outlined; logarithmic counts; dashed lines are the clamp "
             "limits, "
             "where they lie within the values.",
             dim);
    histograms(p, i);
    p.heading("Every node, worst first", 10.5, 60);
    sentence(p, health(i));
    table(p, narrow_node_table(i), 98);
}

}  // namespace

namespace {

void draw(Pages& p, const Json& report) {
    p.heading(report_title(report), 17);
    sentence(p, "An integer-only Vision Transformer beside its float network. " + report_subtitle(report),
             dim);
    p.y += 4;
    first_page(p, report);
    for (const auto& i : report["images"]) image(p, i);
    if (report.contains("evaluation")) evaluation(p, report["evaluation"]);
    if (report.contains("latency")) {
        p.heading("Latency");
        sentence(p, latency_sentence(report["latency"]));
        if (const TextTable steps = latency_table(report["latency"]); !steps.rows.empty())
            table(p, steps, 300);
    }
    p.heading("Made of and with");
    definitions(p, report_facts(report));
    p.heading("Effective configuration");
    definitions(p, config_rows(report));
    if (report["reproduce"].empty()) return;
    p.heading("Reproduce");
    p.font(8);
    p.ink(black);
    for (const auto& c : report["reproduce"])
        p.paragraph(margin, c.get<std::string>(), page_w - 2 * margin, 11);
}

}  // namespace

std::string report_pdf(const Json& report) {
    // Twice: how many pages there are is known at the end.
    const std::string title = "I-ViT report: " + report_title(report);
    Pages first(title, 0);
    draw(first, report);
    Pages second(title, first.page());
    draw(second, report);
    return second.finish();
}

}  // namespace ivit
