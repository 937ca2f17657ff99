// SPDX-License-Identifier: GPL-3.0-or-later
// What the lens shows, and where each value of it lies: read by the shader's uniforms, by what is written
// over the cells and by the mouse. Lengths are logical pixels, (0, 0) the top left corner of the canvas.
#pragma once
#include <QPointF>
#include <QRectF>
#include <QSize>
#include <optional>
#include <vector>

#include "widgets/colormap.h"
#include "widgets/tensor_slice.h"

struct TensorLook {
    enum Layout { matrix, patches_of_column, patches_of_row };
    TensorSlice::What what = TensorSlice::integer;
    Layout layout = matrix;
    int row = 0, column = 0;  // selected; the fixed one of a picture of patches
    const Colormap* colours = nullptr;
    double low = 0, high = 1;  // values at the ends of the colours
    bool clipped = false;      // some values lie beyond
};

class TensorScene {
  public:
    // Of the error strips, their distance, the legend, and around all.
    static constexpr double strip = 34, gap = 4, legend_height = 46, histogram_height = 36, margin = 10;
    static constexpr int bins = 80;  // of the histogram over the colours
    struct Place {
        int row, column;  // of the slice
    };

    void set_slice(const TensorSlice& slice);  // one of another shape is fitted anew
    void set_look(const TensorLook& look);
    void resize(const QSizeF& canvas);
    void fit();
    void set_zoom(double zoom, const QPointF& about);
    void drag(const QPointF& by);

    const TensorSlice& slice() const { return slice_; }
    const TensorLook& look() const { return look_; }
    double zoom() const { return zoom_; }
    double width() const { return canvas_.width(); }
    double height() const { return canvas_.height(); }
    // Root mean square errors; empty without both networks.
    const std::vector<float>& row_errors() const { return row_errors_; }
    const std::vector<float>& column_errors() const { return column_errors_; }
    // [bins] between the ends of the colours, what lies beyond in the outermost: the integers as real numbers
    // and the floats, or the differences and nothing.
    const std::vector<int>& counts() const { return counts_; }
    const std::vector<int>& float_counts() const { return float_counts_; }

    QSize image_size() const;  // columns, rows as laid out
    QRectF area() const;       // where the image may be
    QSizeF cell() const;
    QPointF origin() const;  // of the image: its top left corner
    bool has_strips() const { return look_.layout == TensorLook::matrix && !row_errors_.empty(); }
    bool has_histogram() const { return height() >= 250; }
    // What the cell in this column and row of the image shows; nothing where it shows nothing.
    std::optional<Place> place_of_cell(int x, int y) const;
    std::optional<Place> place_at(const QPointF& p) const;
    // Of a value, in what is looked at: the integer as a real number, the float or the difference.
    double shown(Place p) const;

  private:
    double most_zoom() const;
    double legend_top() const;
    void clamp_pan();
    void count_values();

    TensorSlice slice_;
    TensorLook look_;
    std::vector<float> row_errors_, column_errors_;
    std::vector<int> counts_, float_counts_;
    QSizeF canvas_{1, 1};
    double zoom_ = 1;
    QPointF pan_;
};
