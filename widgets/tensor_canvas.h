// SPDX-License-Identifier: GPL-3.0-or-later
// Draws a TensorSlice with the shaders of shaders/tensor.*; numbers, legend and error strips with ImGui.
#pragma once
#include <QOpenGLShaderProgram>
#include <memory>

#include "widgets/colormap.h"
#include "widgets/gl_canvas.h"
#include "widgets/tensor_slice.h"

class TensorCanvas : public GlCanvas {
    Q_OBJECT
  public:
    enum Layout { matrix, patches_of_column, patches_of_row };
    struct Look {
        int what = 0;  // 0 integer, 1 float, 2 difference
        Layout layout = matrix;
        int row = 0, column = 0;  // selected; the fixed one of a picture of patches
        const Colormap* colours = nullptr;
        double low = 0, high = 1;  // values at the ends of the colours
        bool clipped = false;      // some values lie beyond
    };
    explicit TensorCanvas(QWidget* parent = nullptr) : GlCanvas(parent) {}
    ~TensorCanvas() override;

    void set_slice(const TensorSlice& slice);
    void set_invitation(const QString& text) { invitation_ = text; }  // stands there while the slice is empty
    void set_look(const Look& look);
    void fit();
    double zoom() const { return zoom_; }
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
    // Logical pixels: of the error strips, their distance, the legend, and around all.
    static constexpr double strip = 34, gap = 4, legend_height = 46, histogram_height = 36, margin = 10;
    static constexpr int bins = 80;  // of the histogram over the colours

    QSize image_size() const;  // columns, rows as laid out
    QRectF area() const;       // where the image may be, in logical pixels
    QSizeF cell() const;       // logical pixels
    QPointF origin() const;
    double most_zoom() const;
    void clamp_pan();
    bool value_at(const QPointF& p, int* row, int* column) const;
    bool has_histogram() const { return height() >= 250; }
    double legend_top() const;
    void count_values();
    void upload();
    void draw_cells();
    void draw_strips();
    void draw_legend();
    void draw_histogram(float x, float y, float w);
    void draw_readout();

    TensorSlice slice_;
    std::vector<float> row_errors_, column_errors_;
    // [bins] between the ends of the colours, what lies beyond in the outermost: the integers as real numbers
    // and the floats, or the differences and nothing.
    std::vector<int> counts_, float_counts_;
    Look look_;
    bool dirty_ = true;
    double zoom_ = 1;
    QPointF pan_;  // logical pixels
    QPointF pressed_, last_;
    bool dragging_ = false;

    std::unique_ptr<QOpenGLShaderProgram> program_;
    GLuint vertex_array_ = 0, integers_ = 0, floats_ = 0, scales_ = 0, colours_ = 0;
    const Colormap* uploaded_colours_ = nullptr;
    QString problem_, invitation_;
};
