// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_canvas.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QWheelEvent>
#include <cmath>

#include "widgets/tensor_overlay.h"

// Resources of a static library are linked only when asked for; the macro must stand outside of every
// namespace.
static void init_shaders() { Q_INIT_RESOURCE(shaders); }

TensorCanvas::~TensorCanvas() { shut_down(); }

void TensorCanvas::set_slice(const TensorSlice& slice) {
    scene_.set_slice(slice);
    dirty_ = true;
    update();
}

void TensorCanvas::set_look(const TensorLook& look) {
    scene_.set_look(look);
    update();
}

void TensorCanvas::fit() {
    scene_.fit();
    update();
}

void TensorCanvas::set_zoom(double zoom, const QPointF& about) {
    scene_.set_zoom(zoom, about);
    update();
}

void TensorCanvas::overlay() {
    const QString notice = !problem_.isEmpty() ? problem_ : scene_.slice().empty() ? invitation_ : QString();
    if (!notice.isEmpty()) return draw_tensor_notice(scene_, notice);
    draw_tensor_overlay(scene_);
    if (!dragging_) draw_tensor_readout(scene_);
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
    const TensorSlice& slice = scene_.slice();
    GLint most = 0;
    glGetIntegerv(GL_MAX_TEXTURE_SIZE, &most);
    if (slice.cols > most || slice.rows > most) {
        problem_ = QStringLiteral("%1 × %2 values are more than this GPU's textures hold (%3).")
                       .arg(slice.rows)
                       .arg(slice.cols)
                       .arg(most);
        return;
    }
    problem_.clear();
    glPixelStorei(GL_UNPACK_ALIGNMENT, 4);
    const std::vector<int32_t> no_integer{0};
    const std::vector<float> no_float{0};
    const bool q = !slice.integers.empty(), f = !slice.floats.empty();
    glBindTexture(GL_TEXTURE_2D, integers_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32I, q ? slice.cols : 1, q ? slice.rows : 1, 0, GL_RED_INTEGER, GL_INT,
                 q ? slice.integers.data() : no_integer.data());
    glBindTexture(GL_TEXTURE_2D, floats_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32F, f ? slice.cols : 1, f ? slice.rows : 1, 0, GL_RED, GL_FLOAT,
                 f ? slice.floats.data() : no_float.data());
    glBindTexture(GL_TEXTURE_2D, scales_);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_R32F, q ? slice.cols : 1, 1, 0, GL_RED, GL_FLOAT,
                 q ? slice.scales.data() : no_float.data());
    dirty_ = false;
}

void TensorCanvas::draw() {
    const TensorSlice& slice = scene_.slice();
    const TensorLook& look = scene_.look();
    const QColor back = palette().color(QPalette::Base);
    glClearColor(back.redF(), back.greenF(), back.blueF(), 1);
    glClear(GL_COLOR_BUFFER_BIT);
    if (slice.empty() || !program_ || !program_->isLinked()) return;
    if (dirty_) upload();
    if (dirty_ || !look.colours) return;
    if (uploaded_colours_ != look.colours) {
        glBindTexture(GL_TEXTURE_2D, colours_);
        glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, Colormap::size, 1, 0, GL_RGBA, GL_UNSIGNED_BYTE,
                     look.colours->rgba().data());
        uploaded_colours_ = look.colours;
    }
    const float scale = static_cast<float>(devicePixelRatioF());
    const QSize n = scene_.image_size();
    const QPointF o = scene_.origin();
    const QSizeF c = scene_.cell();
    const QRectF a = scene_.area();
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
    program_->setUniformValue("what", static_cast<int>(look.what));
    program_->setUniformValue("layout_", static_cast<int>(look.layout));
    program_->setUniformValue("side", slice.side);
    program_->setUniformValue("first", slice.first);
    program_->setUniformValue("fixed_", look.layout == TensorLook::patches_of_row ? look.row : look.column);
    glUniform2i(program_->uniformLocation("size"), n.width(), n.height());
    program_->setUniformValue("origin", QVector2D(o) * scale);
    program_->setUniformValue(
        "cell", QVector2D(static_cast<float>(c.width()), static_cast<float>(c.height())) * scale);
    program_->setUniformValue("height", static_cast<float>(height()) * scale);
    program_->setUniformValue("range_",
                              QVector2D(static_cast<float>(look.low), static_cast<float>(look.high)));
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
    if (e->type() == QEvent::ToolTip && scene_.place_at(static_cast<QHelpEvent*>(e)->pos())) {
        QToolTip::hideText();
        return true;
    }
    return GlCanvas::event(e);
}

void TensorCanvas::resizeEvent(QResizeEvent* e) {
    GlCanvas::resizeEvent(e);
    scene_.resize(e->size());
}

void TensorCanvas::wheelEvent(QWheelEvent* e) {
    set_zoom(scene_.zoom() * std::pow(1.25, e->angleDelta().y() / 120.0), e->position());
    e->accept();
}

void TensorCanvas::mousePressEvent(QMouseEvent* e) {
    pressed_ = last_ = e->position();
    dragging_ = false;
}

void TensorCanvas::mouseMoveEvent(QMouseEvent* e) {
    if (!(e->buttons() & Qt::LeftButton)) return;
    if ((e->position() - pressed_).manhattanLength() > 4) dragging_ = true;
    if (dragging_ && scene_.zoom() > 1) {
        scene_.drag(e->position() - last_);
        update();
    }
    last_ = e->position();
}

void TensorCanvas::mouseReleaseEvent(QMouseEvent* e) {
    if (const auto p = scene_.place_at(e->position()); p && !dragging_ && e->button() == Qt::LeftButton)
        emit picked(p->row, p->column);
    dragging_ = false;
}

void TensorCanvas::mouseDoubleClickEvent(QMouseEvent*) { fit(); }
