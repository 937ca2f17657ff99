// SPDX-License-Identifier: GPL-3.0-or-later
// What ImGui writes and draws over the tensor: values in the cells, error strips, legend, readout.
#include <imgui.h>

#include <algorithm>
#include <cmath>

#include "widgets/numbers.h"
#include "widgets/tensor_canvas.h"
#include "widgets/theme.h"

namespace {

ImU32 colour(const QColor& c, float alpha = 1) {
    return ImGui::ColorConvertFloat4ToU32(ImVec4(c.redF(), c.greenF(), c.blueF(), c.alphaF() * alpha));
}

std::string utf8(const QString& text) { return text.toStdString(); }

}  // namespace

void TensorCanvas::overlay() {
    const QString empty = !problem_.isEmpty() ? problem_ : slice_.empty() ? invitation_ : QString();
    if (!empty.isEmpty()) {
        const std::string text = utf8(empty);
        const float wrap = static_cast<float>(width()) - 40;
        const ImVec2 size = ImGui::CalcTextSize(text.c_str(), nullptr, false, wrap);
        ImGui::GetBackgroundDrawList()->AddText(
            nullptr, 0,
            ImVec2((static_cast<float>(width()) - size.x) / 2, (static_cast<float>(height()) - size.y) / 2),
            colour(Theme::instance().muted()), text.c_str(), nullptr, wrap);
        return;
    }
    draw_cells();
    draw_strips();
    draw_legend();
    draw_readout();
}

// Cells large enough say what they hold: the integer first, then its real value, the float and the error.
void TensorCanvas::draw_cells() {
    const QSizeF c = cell();
    const QPointF o = origin();
    const QRectF a = area();
    const QSize n = image_size();
    ImDrawList* list = ImGui::GetBackgroundDrawList();
    list->PushClipRect(ImVec2(static_cast<float>(a.left()), static_cast<float>(a.top())),
                       ImVec2(static_cast<float>(a.right()), static_cast<float>(a.bottom())));
    const float line = ImGui::GetTextLineHeight();
    const bool full = c.width() >= 74 && c.height() >= 4 * line + 6;
    const bool named = c.width() >= 112;  // which of the four is which
    if (c.width() >= 34 && c.height() >= line + 4) {
        const int x0 = std::max(0, static_cast<int>((a.left() - o.x()) / c.width())),
                  y0 = std::max(0, static_cast<int>((a.top() - o.y()) / c.height()));
        for (int y = y0; y < n.height() && o.y() + y * c.height() < a.bottom(); ++y) {
            for (int x = x0; x < n.width() && o.x() + x * c.width() < a.right(); ++x) {
                int row = 0, column = 0;
                const int patch = y * slice_.side + x + slice_.first;
                row = look_.layout == matrix ? y : look_.layout == patches_of_column ? patch : look_.row;
                column = look_.layout == matrix              ? x
                         : look_.layout == patches_of_column ? look_.column
                                                             : patch;
                if (row >= slice_.rows || column >= slice_.cols) continue;
                const double q = static_cast<double>(slice_.real(row, column)),
                             f = static_cast<double>(slice_.float_at(row, column));
                const double shown = look_.what == 0 ? q : look_.what == 1 ? f : q - f;
                const QColor back(
                    look_.colours->at((shown - look_.low) / std::max(1e-30, look_.high - look_.low)));
                const ImU32 ink = colour(readable_on(back));
                QStringList lines;
                const size_t i =
                    static_cast<size_t>(row) * static_cast<size_t>(slice_.cols) + static_cast<size_t>(column);
                if (full) {
                    const auto add = [&](const char* name, const QString& value, bool always = false) {
                        lines << (named || always ? QLatin1String(name) + QLatin1Char(' ') + value : value);
                    };
                    if (!slice_.integers.empty()) {
                        add("integer", QString::number(slice_.integers[i]).replace('-', QChar(0x2212)));
                        add("real", numbers::significant(q));
                    }
                    if (!slice_.floats.empty()) add("float", numbers::significant(f));
                    if (!slice_.integers.empty() && !slice_.floats.empty())
                        add(named ? "error" : "err", numbers::significant(q - f), true);
                } else if (look_.what == 0 && !slice_.integers.empty()) {
                    lines << QString::number(slice_.integers[i]).replace('-', QChar(0x2212));
                } else {
                    lines << numbers::significant(shown, 2);
                }
                // In the middle of what can be seen of the cell.
                const double left = std::max(a.left(), o.x() + x * c.width()),
                             right = std::min(a.right(), o.x() + (x + 1) * c.width());
                const double top = std::max(a.top(), o.y() + y * c.height()),
                             bottom = std::min(a.bottom(), o.y() + (y + 1) * c.height());
                const QPointF centre((left + right) / 2, (top + bottom) / 2);
                float at = static_cast<float>(centre.y()) - line * static_cast<float>(lines.size()) / 2;
                for (const QString& text : lines) {
                    const std::string s = utf8(text);
                    const float w = ImGui::CalcTextSize(s.c_str()).x;
                    if (w < right - left)
                        list->AddText(
                            ImVec2(std::round(static_cast<float>(centre.x()) - w / 2), std::round(at)), ink,
                            s.c_str());
                    at += line;
                }
            }
        }
    }
    // The selected value, row or column.
    const auto outline = [&](double x, double y, double w, double h) {
        const ImVec2 p(static_cast<float>(o.x() + x * c.width()), static_cast<float>(o.y() + y * c.height()));
        const ImVec2 q(p.x + static_cast<float>(w * c.width()), p.y + static_cast<float>(h * c.height()));
        list->AddRect(p, q, IM_COL32(0, 0, 0, 200), 0, 0, 3);
        list->AddRect(p, q, IM_COL32(255, 255, 255, 255), 0, 0, 1.2f);
    };
    if (look_.layout == matrix) {
        if (look_.row < slice_.rows && look_.column < slice_.cols && c.width() >= 3 && c.height() >= 3)
            outline(look_.column, look_.row, 1, 1);
    } else {
        const int patch = (look_.layout == patches_of_column ? look_.row : look_.column) - slice_.first;
        if (patch >= 0 && patch < slice_.side * slice_.side)
            outline(patch % slice_.side, patch / slice_.side, 1, 1);
    }
    list->PopClipRect();
}

// Root mean square error of every row (right) and column (below), lined up with the image.
void TensorCanvas::draw_strips() {
    if (look_.layout != matrix || row_errors_.empty()) return;
    const QRectF a = area();
    const QPointF o = origin();
    const QSizeF c = cell();
    ImDrawList* list = ImGui::GetBackgroundDrawList();
    const ImU32 bar = colour(Theme::instance().integer_colour(), 0.85f),
                muted = colour(Theme::instance().muted());
    const double left = std::max(a.left(), o.x()),
                 right = std::min(a.right(), o.x() + c.width() * slice_.cols);
    const double top = std::max(a.top(), o.y()),
                 bottom = std::min(a.bottom(), o.y() + c.height() * slice_.rows);
    // Several per pixel: the greatest is drawn.
    const float most_column = *std::max_element(column_errors_.begin(), column_errors_.end());
    for (double x = left; x < right && most_column > 0;) {
        const int i = std::clamp(static_cast<int>((x - o.x()) / c.width()), 0, slice_.cols - 1);
        const double next = std::min(right, std::max(x + 1, o.x() + (i + 1) * c.width()));
        const int j = std::clamp(static_cast<int>((next - o.x()) / c.width()), i + 1, slice_.cols);
        const float e = *std::max_element(column_errors_.begin() + i, column_errors_.begin() + j);
        const double h = strip * static_cast<double>(e / most_column);
        list->AddRectFilled(
            ImVec2(static_cast<float>(x), static_cast<float>(bottom + gap)),
            ImVec2(static_cast<float>(next - (c.width() > 4 ? 1 : 0)), static_cast<float>(bottom + gap + h)),
            bar);
        x = next;
    }
    const float most_row = *std::max_element(row_errors_.begin(), row_errors_.end());
    for (double y = top; y < bottom && most_row > 0;) {
        const int i = std::clamp(static_cast<int>((y - o.y()) / c.height()), 0, slice_.rows - 1);
        const double next = std::min(bottom, std::max(y + 1, o.y() + (i + 1) * c.height()));
        const int j = std::clamp(static_cast<int>((next - o.y()) / c.height()), i + 1, slice_.rows);
        const float e = *std::max_element(row_errors_.begin() + i, row_errors_.begin() + j);
        const double w = strip * static_cast<double>(e / most_row);
        list->AddRectFilled(
            ImVec2(static_cast<float>(right + gap), static_cast<float>(y)),
            ImVec2(static_cast<float>(right + gap + w), static_cast<float>(next - (c.height() > 4 ? 1 : 0))),
            bar);
        y = next;
    }
    const std::string label = utf8(QStringLiteral("RMS error, at most %1 by column, %2 by row")
                                       .arg(numbers::significant(static_cast<double>(most_column)),
                                            numbers::significant(static_cast<double>(most_row))));
    const float w = ImGui::CalcTextSize(label.c_str()).x;
    const double y = height() - margin - legend_height + 24;
    if (width() > 560)
        list->AddText(ImVec2(static_cast<float>(width() - margin) - w, static_cast<float>(y)), muted,
                      label.c_str());
}

void TensorCanvas::draw_legend() {
    if (!look_.colours) return;
    ImDrawList* list = ImGui::GetBackgroundDrawList();
    const float y = static_cast<float>(height() - margin - legend_height + 12);
    const float x = static_cast<float>(margin), w = std::min(240.0f, static_cast<float>(width()) * 0.4f);
    if (has_histogram()) draw_histogram(x, y - 2, w);
    for (int i = 0; i < static_cast<int>(w); ++i) {
        list->AddRectFilled(ImVec2(x + static_cast<float>(i), y),
                            ImVec2(x + static_cast<float>(i) + 1, y + 10),
                            colour(QColor(look_.colours->at(i / static_cast<double>(w - 1)))));
    }
    const ImU32 muted = colour(Theme::instance().muted());
    const QString less = look_.clipped && look_.low < 0 ? QStringLiteral("≤ ") : QString(),
                  more = look_.clipped ? QStringLiteral("≥ ") : QString();
    const std::string low = utf8(less + numbers::significant(look_.low)),
                      high = utf8(more + numbers::significant(look_.high));
    list->AddText(ImVec2(x, y + 12), muted, low.c_str());
    list->AddText(ImVec2(x + w - ImGui::CalcTextSize(high.c_str()).x, y + 12), muted, high.c_str());
    if (look_.low < 0) list->AddText(ImVec2(x + w / 2 - ImGui::CalcTextSize("0").x / 2, y + 12), muted, "0");
    QString what = look_.what == 0   ? QStringLiteral("integer × scale")
                   : look_.what == 1 ? QStringLiteral("float")
                                     : QStringLiteral("integer − float");
    if (look_.what == 0 && slice_.grid.scale.size() == 1 && slice_.grid.bits < 32) {
        what += QStringLiteral(", %1 bits, one step is %2")
                    .arg(slice_.grid.bits)
                    .arg(numbers::significant(slice_.grid.scale[0]));
    }
    const std::string text = utf8(what);
    list->AddText(ImVec2(x + w + 14, y - 2), colour(palette().color(QPalette::Text)), text.c_str());
}

// How often each colour's value comes, over the colours themselves: the float network filled, the integers as
// steps, by the logarithm, and the integers' clamp limits where they lie within.
void TensorCanvas::draw_histogram(float x, float y, float w) {
    const Theme& theme = Theme::instance();
    ImDrawList* list = ImGui::GetBackgroundDrawList();
    const int most = std::max(*std::max_element(counts_.begin(), counts_.end()),
                              *std::max_element(float_counts_.begin(), float_counts_.end()));
    if (most == 0) return;
    constexpr float tall = static_cast<float>(histogram_height) - 6;
    const auto level = [&](int n) { return y - tall * static_cast<float>(std::log1p(n) / std::log1p(most)); };
    const auto edge = [&](int bin) { return x + w * static_cast<float>(bin) / bins; };
    const ImU32 integer = colour(look_.what == 2 ? theme.muted() : theme.integer_colour()),
                floats = colour(theme.float_colour(), 0.5f);
    float before = y;
    for (int i = 0; i < bins; ++i) {
        const size_t at = static_cast<size_t>(i);
        if (float_counts_[at] > 0)
            list->AddRectFilled(ImVec2(edge(i), level(float_counts_[at])), ImVec2(edge(i + 1), y), floats);
        const float now = level(counts_[at]);
        list->AddLine(ImVec2(edge(i), before), ImVec2(edge(i), now), integer);
        list->AddLine(ImVec2(edge(i), now), ImVec2(edge(i + 1), now), integer);
        before = now;
    }
    list->AddLine(ImVec2(edge(bins), before), ImVec2(edge(bins), y), integer);
    const bool clamps = look_.what != 2 && slice_.grid.scale.size() == 1 && slice_.grid.bits < 32;
    const double limits[] = {static_cast<double>(slice_.grid.low()) * (clamps ? slice_.grid.scale[0] : 1),
                             static_cast<double>(slice_.grid.high()) * (clamps ? slice_.grid.scale[0] : 1)};
    for (const double limit : limits) {
        const double at = (limit - look_.low) / std::max(1e-30, look_.high - look_.low);
        if (!clamps || at < 0 || at > 1) continue;
        const float place = x + w * static_cast<float>(at);
        for (float dash = y - tall - 4; dash < y; dash += 5)
            list->AddLine(ImVec2(place, dash), ImVec2(place, std::min(y, dash + 3)), colour(theme.warning()),
                          1.5f);
    }
    // Which is which, beside it, as far as there is room.
    float right = x + w + 14;
    const auto name = [&](const QString& text, ImU32 ink) {
        const std::string s = utf8(text);
        const float end = right + ImGui::CalcTextSize(s.c_str()).x;
        if (end < static_cast<float>(width())) list->AddText(ImVec2(right, y - tall - 4), ink, s.c_str());
        right = end + 8;
    };
    if (look_.what == 2) {
        name(QStringLiteral("errors, log count"), colour(theme.muted()));
    } else {
        if (!slice_.floats.empty()) name(QStringLiteral("float"), colour(theme.float_colour()));
        if (!slice_.integers.empty()) name(QStringLiteral("integer"), colour(theme.integer_colour()));
        if (clamps)
            name(QStringLiteral("clamps %1, %2")
                     .arg(numbers::significant(limits[0]), numbers::significant(limits[1])),
                 colour(theme.warning()));
        name(QStringLiteral("log count"), colour(theme.muted()));
    }
}

void TensorCanvas::draw_readout() {
    int row = 0, column = 0;
    const ImVec2 mouse = ImGui::GetIO().MousePos;
    if (dragging_ ||
        !value_at(QPointF(static_cast<double>(mouse.x), static_cast<double>(mouse.y)), &row, &column))
        return;
    const size_t i =
        static_cast<size_t>(row) * static_cast<size_t>(slice_.cols) + static_cast<size_t>(column);
    ImGui::BeginTooltip();
    QString where;
    if (slice_.attention) {
        where = QStringLiteral("head %1 · row %2 · column %3").arg(slice_.plane).arg(row).arg(column);
    } else if (slice_.planes > 1) {
        where = QStringLiteral("plane %1 · y %2 · x %3").arg(slice_.plane).arg(row).arg(column);
    } else {
        where = QStringLiteral("token %1%2 · channel %3")
                    .arg(row)
                    .arg(slice_.first > 0 && row < slice_.first ? QStringLiteral(" (class)") : QString())
                    .arg(column);
    }
    ImGui::TextUnformatted(utf8(where).c_str());
    if (!slice_.integers.empty()) {
        const int64_t v = slice_.integers[i];
        QString text = QStringLiteral("integer %1").arg(v).replace('-', QChar(0x2212));
        if (slice_.grid.bits < 32 && (v >= slice_.grid.high() || v <= slice_.grid.low()) &&
            !(slice_.grid.is_unsigned && v == 0))
            text += QStringLiteral("  at the clamp");
        ImGui::TextUnformatted(utf8(text).c_str());
        ImGui::TextUnformatted(
            utf8(QStringLiteral("real %1  (× %2)")
                     .arg(numbers::significant(static_cast<double>(slice_.real(row, column)), 5),
                          numbers::significant(
                              static_cast<double>(slice_.scales[static_cast<size_t>(column)]), 4)))
                .c_str());
    }
    if (!slice_.floats.empty())
        ImGui::TextUnformatted(utf8(QStringLiteral("float %1")
                                        .arg(numbers::significant(static_cast<double>(slice_.floats[i]), 5)))
                                   .c_str());
    if (!slice_.integers.empty() && !slice_.floats.empty()) {
        ImGui::TextUnformatted(
            utf8(QStringLiteral("error %1")
                     .arg(numbers::significant(
                         static_cast<double>(slice_.real(row, column) - slice_.floats[i]), 4)))
                .c_str());
    }
    ImGui::EndTooltip();
}
