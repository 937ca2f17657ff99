// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_canvas.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QWheelEvent>
#include <cmath>

// Resources of a static library are linked only when asked for; the macro must stand outside of every
// namespace.
static void init_shaders() { Q_INIT_RESOURCE(shaders); }

namespace {

// A cell that holds four written lines; zooming in makes none larger, so that its neighbours stay in sight.
constexpr double readable_width = 130, readable_height = 84;

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
    count_values();
    update();
}

void TensorCanvas::count_values() {
    counts_.assign(bins, 0);
    float_counts_.assign(bins, 0);
    const double per_unit = bins / std::max(1e-30, look_.high - look_.low);
    const auto count = [&](std::vector<int>& into, float v) {
        const double at = (static_cast<double>(v) - look_.low) * per_unit;
        if (!std::isnan(at)) ++into[static_cast<size_t>(std::clamp(at, 0.0, bins - 1.0))];
    };
    const bool both = !slice_.integers.empty() && !slice_.floats.empty();
    for (int r = 0; r < slice_.rows; ++r)
        for (int c = 0; c < slice_.cols; ++c) {
            if (look_.what == 2) {
                if (both) count(counts_, slice_.real(r, c) - slice_.float_at(r, c));
                continue;
            }
            if (!slice_.integers.empty()) count(counts_, slice_.real(r, c));
            if (!slice_.floats.empty()) count(float_counts_, slice_.float_at(r, c));
        }
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

double TensorCanvas::legend_top() const {
    return height() - margin - legend_height - (has_histogram() ? histogram_height : 0);
}

QRectF TensorCanvas::area() const {
    const bool strips = look_.layout == matrix && !row_errors_.empty();
    const double extra = strips ? strip + gap : 0;
    return {margin, margin, std::max(1.0, width() - 2 * margin - extra),
            std::max(1.0, legend_top() - margin - extra)};
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
