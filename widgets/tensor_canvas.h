// SPDX-License-Identifier: GPL-3.0-or-later
// Draws a TensorSlice with the shaders of shaders/tensor.*; what is written over it is tensor_overlay.h's.
#pragma once
#include <QOpenGLShaderProgram>
#include <memory>

#include "widgets/gl_canvas.h"
#include "widgets/tensor_scene.h"

class TensorCanvas : public GlCanvas {
    Q_OBJECT
  public:
    explicit TensorCanvas(QWidget* parent = nullptr) : GlCanvas(parent) {}
    ~TensorCanvas() override;

    void set_slice(const TensorSlice& slice);
    void set_invitation(const QString& text) { invitation_ = text; }  // stands there while the slice is empty
    void set_look(const TensorLook& look);
    void fit();
    double zoom() const { return scene_.zoom(); }
    void set_zoom(double zoom, const QPointF& about);

  signals:
    void picked(int row, int column);

  protected:
    void set_up() override;
    void tear_down() override;
    void draw() override;
    void overlay() override;
    bool event(QEvent* e) override;
    void resizeEvent(QResizeEvent* e) override;
    void wheelEvent(QWheelEvent* e) override;
    void mousePressEvent(QMouseEvent* e) override;
    void mouseMoveEvent(QMouseEvent* e) override;
    void mouseReleaseEvent(QMouseEvent* e) override;
    void mouseDoubleClickEvent(QMouseEvent* e) override;

  private:
    void upload();

    TensorScene scene_;
    bool dirty_ = true;
    QPointF pressed_, last_;  // of the mouse, logical pixels
    bool dragging_ = false;

    std::unique_ptr<QOpenGLShaderProgram> program_;
    GLuint vertex_array_ = 0, integers_ = 0, floats_ = 0, scales_ = 0, colours_ = 0;
    const Colormap* uploaded_colours_ = nullptr;
    QString problem_, invitation_;
};
