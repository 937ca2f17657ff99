// SPDX-License-Identifier: Apache-2.0
#include "engine/report/report_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ivit {

std::string esc(const std::string& s) {
    std::string out;
    for (const char c : s) switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    return out;
}

namespace {

// Where the plot's values lie, in the units of its viewBox.
struct SqnrScale {
    static constexpr double W = 1000, H = 240, left = 44, right = 8, bottom = 22, top = 8;
    double most;  // dB, at the top
    size_t nodes;

    explicit SqnrScale(const std::vector<LayerRow>& rows) : most(sqnr_axis_end(rows)), nodes(rows.size()) {}
    double x(size_t i) const {
        return left + (W - left - right) * static_cast<double>(i) /
                          static_cast<double>(std::max<size_t>(1, nodes - 1));
    }
    double y(double db) const { return top + (H - top - bottom) * (1 - std::clamp(db, 0.0, most) / most); }
};

std::string axes(const SqnrScale& at, const std::vector<LayerRow>& rows) {
    std::string s;
    for (double db = 0; db <= at.most; db += at.most > 60 ? 20 : 10)
        s += fmt::format(
            "<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='var(--line)'/><text x='{}' y='{:.1f}' "
            "text-anchor='end'>{:.0f}</text>",
            at.left, at.W - at.right, at.y(db), at.y(db), at.left - 6, at.y(db) + 3, db);
    s += fmt::format("<text x='4' y='{0}' transform='rotate(-90 10 {0})' text-anchor='middle'>SQNR dB</text>",
                     at.H / 2);
    for (const auto& [place, block] : block_marks(rows))
        s += fmt::format(
            "<line x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}' stroke='var(--line)' "
            "stroke-dasharray='1 3'/><text x='{0:.1f}' y='{3}'>{4}</text>",
            at.x(place), at.top, at.H - at.bottom, at.H - 8, esc(block));
    return s;
}

// Dots for what each node adds by itself: the residual additions add next to nothing, and a line through them
// all would only go up and down.
std::string isolated_dots(const SqnrScale& at, const std::vector<LayerRow>& rows) {
    std::string s;
    for (size_t i = 0; i < rows.size(); ++i)
        if (std::isfinite(rows[i].isolated_db))
            s += fmt::format("<circle class='i' cx='{:.1f}' cy='{:.1f}' r='2.2'/>", at.x(i),
                             at.y(rows[i].isolated_db));
    return s;
}

// The line, and over each of its points a disc nobody sees, whose tooltip names the node.
std::string cumulative_line(const SqnrScale& at, const std::vector<LayerRow>& rows) {
    std::string line, discs;
    for (size_t i = 0; i < rows.size(); ++i) {
        if (!std::isfinite(rows[i].cumulative_db)) continue;
        const double x = at.x(i), y = at.y(rows[i].cumulative_db);
        line += fmt::format("{:.1f},{:.1f} ", x, y);
        discs += fmt::format(
            "<circle cx='{:.1f}' cy='{:.1f}' r='5' fill='transparent'><title>{}: cumulative {} dB, isolated "
            "{} dB</title></circle>",
            x, y, esc(rows[i].name), decibels(rows[i].cumulative_db), decibels(rows[i].isolated_db));
    }
    return "<polyline fill='none' stroke='var(--int)' stroke-width='1.6' points='" + line + "'/>" + discs;
}

std::string worst_mark(const SqnrScale& at, const std::vector<LayerRow>& rows) {
    const auto worst = worst_first(rows);
    if (worst.empty() || !std::isfinite(worst[0].cumulative_db)) return {};
    const double x = at.x(static_cast<size_t>(worst[0].place)), y = at.y(worst[0].cumulative_db);
    return fmt::format(
        "<circle cx='{0:.1f}' cy='{1:.1f}' r='4' fill='none' stroke='var(--int)' stroke-width='1.6'/><text "
        "class='worst' x='{0:.1f}' y='{2:.1f}' text-anchor='{3}'>{4}</text>",
        x, y, std::min(y + 15, at.H - at.bottom - 3), x > at.W / 2 ? "end" : "start", esc(worst[0].name));
}

}  // namespace

std::string sqnr_plot(const std::vector<LayerRow>& rows) {
    const SqnrScale at(rows);
    return fmt::format(
               "<div class='scroll plot'><svg viewBox='0 0 {} {}' role='img' aria-label='SQNR along depth'>",
               at.W, at.H) +
           axes(at, rows) + isolated_dots(at, rows) + cumulative_line(at, rows) + worst_mark(at, rows) +
           "</svg></div><div class='dim'>Nodes in execution order; the numbers below are blocks. <span "
           "style='color:var(--int)'>&#9473; cumulative</span> (integer network against float network), "
           "<span style='color:var(--float)'>&#9679; isolated</span> (the node alone, on the float network's "
           "inputs)</div>";
}

std::string histogram_svg(const Json& h) {
    const auto f = h["float"].get<std::vector<double>>(), q = h["integer"].get<std::vector<double>>();
    const double low = real(h["low"]), high = real(h["high"]), W = 320, H = 110;
    double most = 1;
    for (size_t i = 0; i < f.size(); ++i) most = std::max({most, f[i], q[i]});
    const auto height = [&](double n) { return n > 0 ? (H - 20) * std::log1p(n) / std::log1p(most) : 0; };
    std::string s = fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='histogram'>", W, H);
    const double w = W / static_cast<double>(f.size());
    for (size_t i = 0; i < f.size(); ++i) {
        s += fmt::format(
            "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='var(--float)' opacity='.45'/>",
            w * static_cast<double>(i), H - 14 - height(f[i]), w, height(f[i]));
        s += fmt::format(
            "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='none' stroke='var(--int)'/>",
            w * static_cast<double>(i), H - 14 - height(q[i]), w, height(q[i]));
    }
    if (h.contains("clamp"))
        for (const auto& c : h["clamp"]) {
            const double at = (c.get<double>() - low) / (high - low) * W;
            if (at >= 0 && at <= W)
                s += fmt::format(
                    "<line x1='{:.1f}' x2='{:.1f}' y1='0' y2='{}' stroke='var(--bad)' stroke-dasharray='3 "
                    "2'/>",
                    at, at, H - 14);
        }
    return s +
           fmt::format("<text x='0' y='{}'>{}</text><text x='{}' y='{}' text-anchor='end'>{}</text></svg>",
                       H - 2, number(low), W, H - 2, number(high));
}

std::string map_svg(const std::string& id, const Json& a, int kind, double most) {
    const int grid = a["grid"];
    std::string s = fmt::format(
        "<svg viewBox='0 0 {} {}' role='img' shape-rendering='crispEdges'><use href='#{}' class='grey' "
        "opacity='{}'/>",
        grid, grid, id, kind == 2 ? 0.5 : 1.0);
    for (size_t i = 0; i < a["shiftmax"].size(); ++i) {
        const double p = real(a["shiftmax"][i]), q = real(a["softmax"][i]);
        const double v = kind == 0 ? p : kind == 1 ? q : p - q;
        const MapColour c = map_colour(most > 0 ? v / most : 0, kind == 2);
        s += fmt::format(
            "<rect x='{}' y='{}' width='1' height='1' fill='rgb({},{},{})' "
            "fill-opacity='{:.2f}'><title>{}</title></rect>",
            static_cast<int>(i) % grid, static_cast<int>(i) / grid, std::lround(255 * c.r),
            std::lround(255 * c.g), std::lround(255 * c.b), c.alpha, number(v));
    }
    return s + "</svg>";
}

std::string thumbnail_svg(const std::string& id, const Json& image) {
    return fmt::format(
        "<div class='thumb'><svg viewBox='0 0 {0} {0}' role='img' aria-label='the picture as the networks "
        "take it'><image id='{1}' class='px' width='{0}' height='{0}' href='{2}'/></svg></div>",
        image["attention"]["grid"].get<int>(), id, esc(image["thumbnail"]));
}

}  // namespace ivit
