// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_overlay.h"

#include <imgui.h>

#include <QGuiApplication>
#include <QPalette>
#include <QStringList>
#include <algorithm>
#include <cmath>

#include "widgets/numbers.h"
#include "widgets/theme.h"

QStringList lines_in_sight(const QStringList& lines, double seen, double line_height) {
    return lines.mid(0, std::max(0, static_cast<int>(seen / line_height)));
}

namespace {

using Place = TensorScene::Place;

ImU32 colour(const QColor& c, float alpha = 1) {
    return ImGui::ColorConvertFloat4ToU32(ImVec4(c.redF(), c.greenF(), c.blueF(), c.alphaF() * alpha));
}

ImVec2 point(double x, double y) { return {static_cast<float>(x), static_cast<float>(y)}; }

std::string utf8(const QString& text) { return text.toStdString(); }

QString whole(int32_t v) { return QString::number(v).replace('-', QChar(0x2212)); }

int32_t integer_at(const TensorSlice& slice, Place p) {
    return slice.integers[static_cast<size_t>(p.row) * static_cast<size_t>(slice.cols) +
                          static_cast<size_t>(p.column)];
}

// How much is written into a cell: the integer, its real value, the float and the error, by name or without;
// or the one that is looked at.
enum class Detail { named, all, one };

QStringList cell_lines(const TensorScene& scene, Place p, Detail detail) {
    const TensorSlice& slice = scene.slice();
    const bool integers = !slice.integers.empty(), floats = !slice.floats.empty();
    if (detail == Detail::one) {
        if (scene.look().what == TensorSlice::integer && integers) return {whole(integer_at(slice, p))};
        return {numbers::significant(scene.shown(p), 2)};
    }
    const bool named = detail == Detail::named;
    QStringList lines;
    const auto add = [&](const char* name, const QString& value, bool always = false) {
        lines << (named || always ? QLatin1String(name) + QLatin1Char(' ') + value : value);
    };
    const double q = static_cast<double>(slice.real(p.row, p.column)),
                 f = static_cast<double>(slice.float_at(p.row, p.column));
    if (integers) {
        add("integer", whole(integer_at(slice, p)));
        add("real", numbers::significant(q));
    }
    if (floats) add("float", numbers::significant(f));
    if (integers && floats) add(named ? "error" : "err", numbers::significant(q - f), true);
    return lines;
}

struct Cell {
    int x, y;  // its column and row of the image
    Place place;
    QStringList lines;
};

std::vector<Cell> cells_in_sight(const TensorScene& scene) {
    const QPointF o = scene.origin();
    const QSizeF c = scene.cell();
    const QRectF a = scene.area();
    const QSize n = scene.image_size();
    const int x0 = std::max(0, static_cast<int>((a.left() - o.x()) / c.width())),
              y0 = std::max(0, static_cast<int>((a.top() - o.y()) / c.height()));
    std::vector<Cell> cells;
    for (int y = y0; y < n.height() && o.y() + y * c.height() < a.bottom(); ++y)
        for (int x = x0; x < n.width() && o.x() + x * c.width() < a.right(); ++x)
            if (const auto p = scene.place_of_cell(x, y)) cells.push_back({x, y, *p, {}});
    return cells;
}

// Fills in what is written into the cells; false when it is too wide for one of them. All or none: numbers in
// the cells where they happen to be short would look as if they meant something.
bool fill_lines(std::vector<Cell>& cells, const TensorScene& scene, Detail detail) {
    const double room = scene.cell().width() - 4;
    for (Cell& cell : cells) {
        cell.lines = cell_lines(scene, cell.place, detail);
        for (const QString& line : cell.lines)
            if (static_cast<double>(ImGui::CalcTextSize(utf8(line).c_str()).x) > room) return false;
    }
    return true;
}

// In the middle of what can be seen of the cell.
void write_cell(ImDrawList* list, const TensorScene& scene, const Cell& cell) {
    const QPointF o = scene.origin();
    const QSizeF c = scene.cell();
    const QRectF seen =
        QRectF(o.x() + cell.x * c.width(), o.y() + cell.y * c.height(), c.width(), c.height()) & scene.area();
    const TensorLook& look = scene.look();
    const double share = (scene.shown(cell.place) - look.low) / std::max(1e-30, look.high - look.low);
    const ImU32 ink = colour(readable_on(QColor(look.colours->at(share))));
    const float line = ImGui::GetTextLineHeight();
    const QStringList lines = lines_in_sight(cell.lines, seen.height(), static_cast<double>(line));
    float at = static_cast<float>(seen.center().y()) - line * static_cast<float>(lines.size()) / 2;
    for (const QString& text : lines) {
        const std::string s = utf8(text);
        const float w = ImGui::CalcTextSize(s.c_str()).x;
        if (static_cast<double>(w) < seen.width())  // else the canvas ends in the middle of the cell
            list->AddText(ImVec2(std::round(static_cast<float>(seen.center().x()) - w / 2), std::round(at)),
                          ink, s.c_str());
        at += line;
    }
}

void write_cells(ImDrawList* list, const TensorScene& scene) {
    const QSizeF c = scene.cell();
    const double line = static_cast<double>(ImGui::GetTextLineHeight());
    if (!scene.look().colours || c.width() < 34 || c.height() < line + 4) return;
    std::vector<Cell> cells = cells_in_sight(scene);
    for (const Detail detail : {Detail::named, Detail::all, Detail::one}) {
        if (detail != Detail::one && (c.width() < 74 || c.height() < 4 * line + 6)) continue;
        if (!fill_lines(cells, scene, detail)) continue;
        for (const Cell& cell : cells) write_cell(list, scene, cell);
        return;
    }
}

// The selected value, or the selected patch of a picture.
void outline_selected(ImDrawList* list, const TensorScene& scene) {
    const TensorSlice& slice = scene.slice();
    const TensorLook& look = scene.look();
    const QPointF o = scene.origin();
    const QSizeF c = scene.cell();
    const auto outline = [&](int x, int y) {
        const ImVec2 from = point(o.x() + x * c.width(), o.y() + y * c.height()),
                     to = point(o.x() + (x + 1) * c.width(), o.y() + (y + 1) * c.height());
        list->AddRect(from, to, IM_COL32(0, 0, 0, 200), 0, 0, 3);
        list->AddRect(from, to, IM_COL32(255, 255, 255, 255), 0, 0, 1.2f);
    };
    if (look.layout == TensorLook::matrix) {
        if (look.row < slice.rows && look.column < slice.cols && c.width() >= 3 && c.height() >= 3)
            outline(look.column, look.row);
        return;
    }
    const int patch = (look.layout == TensorLook::patches_of_column ? look.row : look.column) - slice.first;
    if (patch >= 0 && patch < slice.side * slice.side) outline(patch % slice.side, patch / slice.side);
}

// One bar per value of `errors` between `from` and `to`, along a side whose cells begin at `origin` and are
// `cell` long: draw(begin, end, share of the greatest). Where several values share a pixel, the greatest of
// them is drawn. Yields the greatest of all.
template <class Draw>
float draw_bars(const std::vector<float>& errors, double from, double to, double origin, double cell,
                const Draw& draw) {
    const float most = *std::max_element(errors.begin(), errors.end());
    const int count = static_cast<int>(errors.size());
    for (double at = from; at < to && most > 0;) {
        const int i = std::clamp(static_cast<int>((at - origin) / cell), 0, count - 1);
        const double next = std::min(to, std::max(at + 1, origin + (i + 1) * cell));
        const int j = std::clamp(static_cast<int>((next - origin) / cell), i + 1, count);
        const float e = *std::max_element(errors.begin() + i, errors.begin() + j);
        draw(at, next - (cell > 4 ? 1 : 0), static_cast<double>(e / most));
        at = next;
    }
    return most;
}

// Root mean square error of every row (right) and column (below), lined up with the image.
void draw_strips(ImDrawList* list, const TensorScene& scene) {
    if (!scene.has_strips()) return;
    const QRectF a = scene.area();
    const QPointF o = scene.origin();
    const QSizeF c = scene.cell();
    const QRectF image =
        QRectF(o, QSizeF(c.width() * scene.slice().cols, c.height() * scene.slice().rows)) & a;
    const ImU32 bar = colour(Theme::instance().integer_colour(), 0.85f);
    const double below = image.bottom() + TensorScene::gap, beside = image.right() + TensorScene::gap;
    const float most_column = draw_bars(
        scene.column_errors(), image.left(), image.right(), o.x(), c.width(),
        [&](double begin, double end, double share) {
            list->AddRectFilled(point(begin, below), point(end, below + TensorScene::strip * share), bar);
        });
    const float most_row = draw_bars(
        scene.row_errors(), image.top(), image.bottom(), o.y(), c.height(),
        [&](double begin, double end, double share) {
            list->AddRectFilled(point(beside, begin), point(beside + TensorScene::strip * share, end), bar);
        });
    if (scene.width() <= 560) return;
    const std::string label = utf8(QStringLiteral("RMS error, at most %1 by column, %2 by row")
                                       .arg(numbers::significant(static_cast<double>(most_column)),
                                            numbers::significant(static_cast<double>(most_row))));
    const double w = static_cast<double>(ImGui::CalcTextSize(label.c_str()).x);
    list->AddText(point(scene.width() - TensorScene::margin - w,
                        scene.height() - TensorScene::margin - TensorScene::legend_height + 24),
                  colour(Theme::instance().muted()), label.c_str());
}

// The real values between which the integers are clamped; nothing where there is no one limit.
std::optional<std::pair<double, double>> clamps(const TensorScene& scene) {
    const ivit::Grid& grid = scene.slice().grid;
    if (scene.look().what == TensorSlice::difference || grid.scale.size() != 1 || grid.bits >= 32) return {};
    return std::pair(static_cast<double>(grid.low()) * grid.scale[0],
                     static_cast<double>(grid.high()) * grid.scale[0]);
}

// Which is which, beside the histogram, as far as there is room.
void name_histogram(ImDrawList* list, const TensorScene& scene, float x, float y) {
    const Theme& theme = Theme::instance();
    const auto name = [&](const QString& text, ImU32 ink) {
        const std::string s = utf8(text);
        const float end = x + ImGui::CalcTextSize(s.c_str()).x;
        if (end < static_cast<float>(scene.width())) list->AddText(ImVec2(x, y), ink, s.c_str());
        x = end + 8;
    };
    if (scene.look().what == TensorSlice::difference)
        return name(QStringLiteral("errors, log count"), colour(theme.muted()));
    if (!scene.slice().floats.empty()) name(QStringLiteral("float"), colour(theme.float_colour()));
    if (!scene.slice().integers.empty()) name(QStringLiteral("integer"), colour(theme.integer_colour()));
    if (const auto limits = clamps(scene))
        name(QStringLiteral("clamps %1, %2")
                 .arg(numbers::significant(limits->first), numbers::significant(limits->second)),
             colour(theme.warning()));
    name(QStringLiteral("log count"), colour(theme.muted()));
}

// How often each colour's value comes, over the colours themselves: the float network filled, the integers as
// steps, by the logarithm, and the integers' clamp limits where they lie within.
void draw_histogram(ImDrawList* list, const TensorScene& scene, float x, float y, float w) {
    constexpr int bins = TensorScene::bins;
    const Theme& theme = Theme::instance();
    const TensorLook& look = scene.look();
    const std::vector<int>&counts = scene.counts(), &floats = scene.float_counts();
    const int most = std::max(*std::max_element(counts.begin(), counts.end()),
                              *std::max_element(floats.begin(), floats.end()));
    if (most == 0) return;
    constexpr float tall = static_cast<float>(TensorScene::histogram_height) - 6;
    const auto level = [&](int n) { return y - tall * static_cast<float>(std::log1p(n) / std::log1p(most)); };
    const auto edge = [&](int bin) { return x + w * static_cast<float>(bin) / bins; };
    const ImU32 integer =
                    colour(look.what == TensorSlice::difference ? theme.muted() : theme.integer_colour()),
                soft = colour(theme.float_colour(), 0.5f);
    float before = y;
    for (int i = 0; i < bins; ++i) {
        const size_t at = static_cast<size_t>(i);
        if (floats[at] > 0)
            list->AddRectFilled(ImVec2(edge(i), level(floats[at])), ImVec2(edge(i + 1), y), soft);
        const float now = level(counts[at]);
        list->AddLine(ImVec2(edge(i), before), ImVec2(edge(i), now), integer);
        list->AddLine(ImVec2(edge(i), now), ImVec2(edge(i + 1), now), integer);
        before = now;
    }
    list->AddLine(ImVec2(edge(bins), before), ImVec2(edge(bins), y), integer);
    if (const auto limits = clamps(scene))
        for (const double limit : {limits->first, limits->second}) {
            const double at = (limit - look.low) / std::max(1e-30, look.high - look.low);
            if (at < 0 || at > 1) continue;
            const float place = x + w * static_cast<float>(at);
            for (float dash = y - tall - 4; dash < y; dash += 5)
                list->AddLine(ImVec2(place, dash), ImVec2(place, std::min(y, dash + 3)),
                              colour(theme.warning()), 1.5f);
        }
    name_histogram(list, scene, x + w + 14, y - tall - 4);
}

// What is looked at, and in which unit.
QString quantity(const TensorScene& scene) {
    const ivit::Grid& grid = scene.slice().grid;
    if (scene.look().what == TensorSlice::floating) return QStringLiteral("float");
    if (scene.look().what == TensorSlice::difference) return QStringLiteral("integer − float");
    QString text = QStringLiteral("integer × scale");
    if (grid.scale.size() == 1 && grid.bits < 32)
        text += QStringLiteral(", %1 bits, one step is %2")
                    .arg(grid.bits)
                    .arg(numbers::significant(grid.scale[0]));
    return text;
}

void draw_legend(ImDrawList* list, const TensorScene& scene) {
    const TensorLook& look = scene.look();
    if (!look.colours) return;
    const float x = static_cast<float>(TensorScene::margin),
                y = static_cast<float>(scene.height() - TensorScene::margin - TensorScene::legend_height +
                                       12),
                w = std::min(240.0f, static_cast<float>(scene.width()) * 0.4f);
    if (scene.has_histogram()) draw_histogram(list, scene, x, y - 2, w);
    for (int i = 0; i < static_cast<int>(w); ++i) {
        const float at = x + static_cast<float>(i);
        list->AddRectFilled(ImVec2(at, y), ImVec2(at + 1, y + 10),
                            colour(QColor(look.colours->at(i / static_cast<double>(w - 1)))));
    }
    const ImU32 muted = colour(Theme::instance().muted());
    const QString less = look.clipped && look.low < 0 ? QStringLiteral("≤ ") : QString(),
                  more = look.clipped ? QStringLiteral("≥ ") : QString();
    const std::string low = utf8(less + numbers::significant(look.low)),
                      high = utf8(more + numbers::significant(look.high)), what = utf8(quantity(scene));
    list->AddText(ImVec2(x, y + 12), muted, low.c_str());
    list->AddText(ImVec2(x + w - ImGui::CalcTextSize(high.c_str()).x, y + 12), muted, high.c_str());
    if (look.low < 0) list->AddText(ImVec2(x + w / 2 - ImGui::CalcTextSize("0").x / 2, y + 12), muted, "0");
    list->AddText(ImVec2(x + w + 14, y - 2), colour(QGuiApplication::palette().color(QPalette::Text)),
                  what.c_str());
}

// "token 3 · channel 17", in the words of what the slice is.
QString words(const TensorSlice& slice, Place p) {
    if (slice.attention)
        return QStringLiteral("head %1 · row %2 · column %3").arg(slice.plane).arg(p.row).arg(p.column);
    if (slice.planes > 1)
        return QStringLiteral("plane %1 · y %2 · x %3").arg(slice.plane).arg(p.row).arg(p.column);
    return QStringLiteral("token %1%2 · channel %3")
        .arg(p.row)
        .arg(slice.first > 0 && p.row < slice.first ? QStringLiteral(" (class)") : QString())
        .arg(p.column);
}

}  // namespace

void draw_tensor_overlay(const TensorScene& scene) {
    ImDrawList* list = ImGui::GetBackgroundDrawList();
    const QRectF a = scene.area();
    list->PushClipRect(point(a.left(), a.top()), point(a.right(), a.bottom()));
    write_cells(list, scene);
    outline_selected(list, scene);
    list->PopClipRect();
    draw_strips(list, scene);
    draw_legend(list, scene);
}

void draw_tensor_readout(const TensorScene& scene) {
    const ImVec2 mouse = ImGui::GetIO().MousePos;
    const auto p = scene.place_at(QPointF(static_cast<double>(mouse.x), static_cast<double>(mouse.y)));
    if (!p) return;
    const TensorSlice& slice = scene.slice();
    const auto say = [](const QString& text) { ImGui::TextUnformatted(utf8(text).c_str()); };
    const double q = static_cast<double>(slice.real(p->row, p->column)),
                 f = static_cast<double>(slice.float_at(p->row, p->column));
    ImGui::BeginTooltip();
    say(words(slice, *p));
    if (!slice.integers.empty()) {
        const int64_t v = integer_at(slice, *p);
        const bool at_limit = slice.grid.bits < 32 && (v >= slice.grid.high() || v <= slice.grid.low()) &&
                              !(slice.grid.is_unsigned && v == 0);
        say(QStringLiteral("integer %1").arg(whole(static_cast<int32_t>(v))) +
            (at_limit ? QStringLiteral("  at the clamp") : QString()));
        const double scale = static_cast<double>(slice.scales[static_cast<size_t>(p->column)]);
        say(QStringLiteral("real %1  (× %2)")
                .arg(numbers::significant(q, 5), numbers::significant(scale, 4)));
    }
    if (!slice.floats.empty()) say(QStringLiteral("float %1").arg(numbers::significant(f, 5)));
    if (!slice.integers.empty() && !slice.floats.empty())
        say(QStringLiteral("error %1").arg(numbers::significant(q - f, 4)));
    ImGui::EndTooltip();
}

void draw_tensor_notice(const TensorScene& scene, const QString& text) {
    const std::string s = utf8(text);
    const float width = static_cast<float>(scene.width()), height = static_cast<float>(scene.height()),
                wrap = width - 40;
    const ImVec2 size = ImGui::CalcTextSize(s.c_str(), nullptr, false, wrap);
    ImGui::GetBackgroundDrawList()->AddText(nullptr, 0, ImVec2((width - size.x) / 2, (height - size.y) / 2),
                                            colour(Theme::instance().muted()), s.c_str(), nullptr, wrap);
}
