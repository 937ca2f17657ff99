// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_canvas.h"

#include <imgui.h>

#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QWheelEvent>
#include <cmath>

#include "widgets/numbers.h"
#include "widgets/theme.h"

// Resources of a static library are linked only when asked for; the macro must stand outside of every
// namespace.
static void init_shaders() { Q_INIT_RESOURCE(shaders); }

namespace {

constexpr double strip = 34, gap = 4, legend_height = 46, margin = 10;
// A cell that holds four written lines; zooming in makes none larger, so that its neighbours stay in sight.
constexpr double readable_width = 130, readable_height = 84;

ImU32 colour(const QColor& c, float alpha = 1) {
    return ImGui::ColorConvertFloat4ToU32(ImVec4(c.redF(), c.greenF(), c.blueF(), c.alphaF() * alpha));
}

std::string utf8(const QString& text) { return text.toStdString(); }

}  // namespace

TensorCanvas::~TensorCanvas() { shut_down(); }

void TensorCanvas::set_slice(const TensorSlice& slice) {
    const bool same_shape =
        slice.rows == slice_.rows && slice.cols == slice_.cols && slice.attention == slice_.attention;
    slice_ = slice;
    row_errors_ = slice.error_by_row();
    column_errors_ = slice.error_by_column();
    dirty_ = true;
    if (!same_shape) fit();
    update();
}

void TensorCanvas::set_look(const Look& look) {
    if (look.layout != look_.layout) {
        zoom_ = 1;
        pan_ = {};
    }
    look_ = look;
    update();
}

void TensorCanvas::fit() {
    zoom_ = 1;
    pan_ = {};
    update();
}

// ---- geometry, in logical pixels

QSize TensorCanvas::image_size() const {
    return look_.layout == matrix ? QSize(slice_.cols, slice_.rows) : QSize(slice_.side, slice_.side);
}

QRectF TensorCanvas::area() const {
    const bool strips = look_.layout == matrix && !row_errors_.empty();
    const double extra = strips ? strip + gap : 0;
    return {margin, margin, std::max(1.0, width() - 2 * margin - extra),
            std::max(1.0, height() - 2 * margin - legend_height - extra)};
}

QSizeF TensorCanvas::cell() const {
    const QSize n = image_size();
    const QRectF a = area();
    double w = a.width() / std::max(1, n.width()), h = a.height() / std::max(1, n.height());
    // Pictures and square matrices keep their shape; tokens x channels fill what there is.
    const bool square = look_.layout != matrix || slice_.rows == slice_.cols;
    if (square) w = h = std::min(w, h);
    if (slice_.rows == 1) h = std::min(h, 60.0);
    // Each side grows until its cells can be read, and no further.
    return {std::max(w, std::min(w * zoom_, readable_width)),
            std::max(h, std::min(h * zoom_, square ? readable_width : readable_height))};
}

// Beyond this no cell grows any more.
double TensorCanvas::most_zoom() const {
    const QSize n = image_size();
    const QRectF a = area();
    return std::max({1.0, readable_width * std::max(1, n.width()) / a.width(),
                     readable_width * std::max(1, n.height()) / a.height()});
}

// The image fills what it can of its area: nobody drags it out of sight.
void TensorCanvas::clamp_pan() {
    const QSize n = image_size();
    const QRectF a = area();
    const QSizeF c = cell();
    pan_.setX(std::clamp(pan_.x(), std::min(0.0, a.width() - c.width() * n.width()), 0.0));
    pan_.setY(std::clamp(pan_.y(), std::min(0.0, a.height() - c.height() * n.height()), 0.0));
}

QPointF TensorCanvas::origin() const {
    const QSize n = image_size();
    const QRectF a = area();
    const QSizeF c = cell();
    // Centred while it fits.
    const double x = a.x() + std::max(0.0, (a.width() - c.width() * n.width()) / 2),
                 y = a.y() + std::max(0.0, (a.height() - c.height() * n.height()) / 2);
    return QPointF(x, y) + pan_;
}

bool TensorCanvas::value_at(const QPointF& p, int* row, int* column) const {
    if (slice_.empty() || !area().contains(p)) return false;
    const QPointF o = origin();
    const QSizeF c = cell();
    const int x = static_cast<int>(std::floor((p.x() - o.x()) / c.width())),
              y = static_cast<int>(std::floor((p.y() - o.y()) / c.height()));
    const QSize n = image_size();
    if (x < 0 || y < 0 || x >= n.width() || y >= n.height()) return false;
    const int patch = y * slice_.side + x + slice_.first;
    *row = look_.layout == matrix ? y : look_.layout == patches_of_column ? patch : look_.row;
    *column = look_.layout == matrix ? x : look_.layout == patches_of_column ? look_.column : patch;
    return *row < slice_.rows && *column < slice_.cols;
}

void TensorCanvas::set_zoom(double zoom, const QPointF& about) {
    const double wanted = std::clamp(zoom, 1.0, most_zoom());
    const QPointF o = origin();
    const QSizeF before = cell();
    const QPointF place((about.x() - o.x()) / before.width(), (about.y() - o.y()) / before.height());
    zoom_ = wanted;
    const QSizeF after = cell();
    pan_ = {};
    pan_ = about - QPointF(place.x() * after.width(), place.y() * after.height()) - origin();
    clamp_pan();
    update();
}

// ---- OpenGL

void TensorCanvas::set_up() {
    init_shaders();
    program_ = std::make_unique<QOpenGLShaderProgram>();
    if (!program_->addShaderFromSourceFile(QOpenGLShader::Vertex, ":/shaders/tensor.vert") ||
        !program_->addShaderFromSourceFile(QOpenGLShader::Fragment, ":/shaders/tensor.frag") ||
        !program_->link()) {
        problem_ = QStringLiteral("The OpenGL driver refuses the lens's shader: %1").arg(program_->log());
    }
    glGenVertexArrays(1, &vertex_array_);
    for (GLuint* t : {&integers_, &floats_, &scales_, &colours_}) {
        glGenTextures(1, t);
        glBindTexture(GL_TEXTURE_2D, *t);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
    }
    dirty_ = true;
    uploaded_colours_ = nullptr;
}

void TensorCanvas::tear_down() {
    if (!program_) return;
    program_.reset();
    glDeleteVertexArrays(1, &vertex_array_);
    for (const GLuint t : {integers_, floats_, scales_, colours_}) glDeleteTextures(1, &t);
}

void TensorCanvas::upload() {
    GLint most = 0;
    glGetIntegerv(GL_MAX_TEXTURE_SIZE, &most);
    if (slice_.cols > most || slice_.rows > most) {
        problem_ = QStringLiteral("%1 × %2 values are more than this GPU's textures hold (%3).")
                       .arg(slice_.rows)
                       .arg(slice_.cols)
                       .arg(most);
        return;
    }
    problem_.clear();
    glPixelStorei(GL_UNPACK_ALIGNMENT, 4);
    const std::vector<int32_t> no_integer{0};
    const std::vector<float> no_float{0};
    const bool q = !slice_.integers.empty(), f = !slice_.floats.empty();
    glBindTexture(GL_TEXTURE_2D, integers_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32I, q ? slice_.cols : 1, q ? slice_.rows : 1, 0, GL_RED_INTEGER,
                 GL_INT, q ? slice_.integers.data() : no_integer.data());
    glBindTexture(GL_TEXTURE_2D, floats_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32F, f ? slice_.cols : 1, f ? slice_.rows : 1, 0, GL_RED, GL_FLOAT,
                 f ? slice_.floats.data() : no_float.data());
    glBindTexture(GL_TEXTURE_2D, scales_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32F, q ? slice_.cols : 1, 1, 0, GL_RED, GL_FLOAT,
                 q ? slice_.scales.data() : no_float.data());
    dirty_ = false;
}

void TensorCanvas::draw() {
    const QColor back = palette().color(QPalette::Base);
    glClearColor(back.redF(), back.greenF(), back.blueF(), 1);
    glClear(GL_COLOR_BUFFER_BIT);
    if (slice_.empty() || !program_ || !program_->isLinked()) return;
    if (dirty_) upload();
    if (dirty_ || !look_.colours) return;
    if (uploaded_colours_ != look_.colours) {
        glBindTexture(GL_TEXTURE_2D, colours_);
        glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, Colormap::size, 1, 0, GL_RGBA, GL_UNSIGNED_BYTE,
                     look_.colours->rgba().data());
        uploaded_colours_ = look_.colours;
    }
    const float scale = static_cast<float>(devicePixelRatioF());
    const QSize n = image_size();
    const QPointF o = origin();
    const QSizeF c = cell();
    const QRectF a = area();
    glEnable(GL_SCISSOR_TEST);
    glScissor(static_cast<GLint>(a.x() * scale), static_cast<GLint>((height() - a.bottom()) * scale),
              static_cast<GLsizei>(std::ceil(a.width() * scale)),
              static_cast<GLsizei>(std::ceil(a.height() * scale)));
    program_->bind();
    const struct {
        const char* name;
        GLuint texture;
    } units[] = {{"integers", integers_}, {"floats", floats_}, {"scales", scales_}, {"colours", colours_}};
    for (int i = 0; i < 4; ++i) {
        glActiveTexture(static_cast<GLenum>(GL_TEXTURE0 + i));
        glBindTexture(GL_TEXTURE_2D, units[i].texture);
        program_->setUniformValue(units[i].name, i);
    }
    program_->setUniformValue("what", look_.what);
    program_->setUniformValue("layout_", static_cast<int>(look_.layout));
    program_->setUniformValue("side", slice_.side);
    program_->setUniformValue("first", slice_.first);
    program_->setUniformValue("fixed_", look_.layout == patches_of_row ? look_.row : look_.column);
    glUniform2i(program_->uniformLocation("size"), n.width(), n.height());
    program_->setUniformValue("origin", QVector2D(o) * scale);
    program_->setUniformValue(
        "cell", QVector2D(static_cast<float>(c.width()), static_cast<float>(c.height())) * scale);
    program_->setUniformValue("height", static_cast<float>(height()) * scale);
    program_->setUniformValue("range_",
                              QVector2D(static_cast<float>(look_.low), static_cast<float>(look_.high)));
    program_->setUniformValue("background", QVector4D(back.redF(), back.greenF(), back.blueF(), 1));
    program_->setUniformValue("line", QVector4D(back.redF(), back.greenF(), back.blueF(), 1));
    glBindVertexArray(vertex_array_);
    glDisable(GL_BLEND);
    glDrawArrays(GL_TRIANGLES, 0, 3);
    glBindVertexArray(0);
    program_->release();
    glActiveTexture(GL_TEXTURE0);
    glDisable(GL_SCISSOR_TEST);
}

// ---- ImGui

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

// ---- mouse

// Over a value the readout speaks; the tooltip is for the rest: legend and strips.
bool TensorCanvas::event(QEvent* e) {
    int row = 0, column = 0;
    if (e->type() == QEvent::ToolTip && value_at(static_cast<QHelpEvent*>(e)->pos(), &row, &column)) {
        QToolTip::hideText();
        return true;
    }
    return GlCanvas::event(e);
}

void TensorCanvas::resizeEvent(QResizeEvent* e) {
    GlCanvas::resizeEvent(e);
    clamp_pan();
}

void TensorCanvas::wheelEvent(QWheelEvent* e) {
    set_zoom(zoom_ * std::pow(1.25, e->angleDelta().y() / 120.0), e->position());
    e->accept();
}

void TensorCanvas::mousePressEvent(QMouseEvent* e) {
    pressed_ = last_ = e->position();
    dragging_ = false;
}

void TensorCanvas::mouseMoveEvent(QMouseEvent* e) {
    if (!(e->buttons() & Qt::LeftButton)) return;
    if ((e->position() - pressed_).manhattanLength() > 4) dragging_ = true;
    if (dragging_ && zoom_ > 1) {
        pan_ += e->position() - last_;
        clamp_pan();
        update();
    }
    last_ = e->position();
}

void TensorCanvas::mouseReleaseEvent(QMouseEvent* e) {
    int row = 0, column = 0;
    if (!dragging_ && e->button() == Qt::LeftButton && value_at(e->position(), &row, &column))
        emit picked(row, column);
    dragging_ = false;
}

void TensorCanvas::mouseDoubleClickEvent(QMouseEvent*) { fit(); }
