// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_scene.h"

#include <algorithm>
#include <cmath>

namespace {

// A cell that holds four written lines; zooming in makes none larger, so that its neighbours stay in sight.
constexpr double readable_width = 130, readable_height = 84;

}  // namespace

void TensorScene::set_slice(const TensorSlice& slice) {
    const bool same_shape =
        slice.rows == slice_.rows && slice.cols == slice_.cols && slice.attention == slice_.attention;
    slice_ = slice;
    row_errors_ = slice.error_by_row();
    column_errors_ = slice.error_by_column();
    if (!same_shape) fit();
}

void TensorScene::set_look(const TensorLook& look) {
    if (look.layout != look_.layout) fit();
    look_ = look;
    count_values();
}

void TensorScene::count_values() {
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
            if (look_.what == TensorSlice::difference) {
                if (both) count(counts_, slice_.real(r, c) - slice_.float_at(r, c));
                continue;
            }
            if (!slice_.integers.empty()) count(counts_, slice_.real(r, c));
            if (!slice_.floats.empty()) count(float_counts_, slice_.float_at(r, c));
        }
}

void TensorScene::resize(const QSizeF& canvas) {
    canvas_ = canvas;
    clamp_pan();
}

void TensorScene::fit() {
    zoom_ = 1;
    pan_ = {};
}

QSize TensorScene::image_size() const {
    return look_.layout == TensorLook::matrix ? QSize(slice_.cols, slice_.rows)
                                              : QSize(slice_.side, slice_.side);
}

double TensorScene::legend_top() const {
    return height() - margin - legend_height - (has_histogram() ? histogram_height : 0);
}

QRectF TensorScene::area() const {
    const double extra = has_strips() ? strip + gap : 0;
    return {margin, margin, std::max(1.0, width() - 2 * margin - extra),
            std::max(1.0, legend_top() - margin - extra)};
}

QSizeF TensorScene::cell() const {
    const QSize n = image_size();
    const QRectF a = area();
    double w = a.width() / std::max(1, n.width()), h = a.height() / std::max(1, n.height());
    // Pictures and square matrices keep their shape; tokens x channels fill what there is.
    const bool square = look_.layout != TensorLook::matrix || slice_.rows == slice_.cols;
    if (square) w = h = std::min(w, h);
    if (slice_.rows == 1) h = std::min(h, 60.0);
    // Each side grows until its cells can be read, and no further.
    return {std::max(w, std::min(w * zoom_, readable_width)),
            std::max(h, std::min(h * zoom_, square ? readable_width : readable_height))};
}

// Beyond this no cell grows any more.
double TensorScene::most_zoom() const {
    const QSize n = image_size();
    const QRectF a = area();
    return std::max({1.0, readable_width * std::max(1, n.width()) / a.width(),
                     readable_width * std::max(1, n.height()) / a.height()});
}

// The image fills what it can of its area: nobody drags it out of sight.
void TensorScene::clamp_pan() {
    const QSize n = image_size();
    const QRectF a = area();
    const QSizeF c = cell();
    pan_.setX(std::clamp(pan_.x(), std::min(0.0, a.width() - c.width() * n.width()), 0.0));
    pan_.setY(std::clamp(pan_.y(), std::min(0.0, a.height() - c.height() * n.height()), 0.0));
}

QPointF TensorScene::origin() const {
    const QSize n = image_size();
    const QRectF a = area();
    const QSizeF c = cell();
    // Centred while it fits.
    const double x = a.x() + std::max(0.0, (a.width() - c.width() * n.width()) / 2),
                 y = a.y() + std::max(0.0, (a.height() - c.height() * n.height()) / 2);
    return QPointF(x, y) + pan_;
}

void TensorScene::set_zoom(double zoom, const QPointF& about) {
    const double wanted = std::clamp(zoom, 1.0, most_zoom());
    const QPointF o = origin();
    const QSizeF before = cell();
    const QPointF place((about.x() - o.x()) / before.width(), (about.y() - o.y()) / before.height());
    zoom_ = wanted;
    const QSizeF after = cell();
    pan_ = {};
    pan_ = about - QPointF(place.x() * after.width(), place.y() * after.height()) - origin();
    clamp_pan();
}

void TensorScene::drag(const QPointF& by) {
    pan_ += by;
    clamp_pan();
}

std::optional<TensorScene::Place> TensorScene::place_of_cell(int x, int y) const {
    const QSize n = image_size();
    if (slice_.empty() || x < 0 || y < 0 || x >= n.width() || y >= n.height()) return {};
    const int patch = y * slice_.side + x + slice_.first;
    const Place p = look_.layout == TensorLook::matrix              ? Place{y, x}
                    : look_.layout == TensorLook::patches_of_column ? Place{patch, look_.column}
                                                                    : Place{look_.row, patch};
    if (p.row >= slice_.rows || p.column >= slice_.cols) return {};
    return p;
}

std::optional<TensorScene::Place> TensorScene::place_at(const QPointF& p) const {
    if (!area().contains(p)) return {};
    const QPointF o = origin();
    const QSizeF c = cell();
    return place_of_cell(static_cast<int>(std::floor((p.x() - o.x()) / c.width())),
                         static_cast<int>(std::floor((p.y() - o.y()) / c.height())));
}

double TensorScene::shown(Place p) const {
    const double q = static_cast<double>(slice_.real(p.row, p.column)),
                 f = static_cast<double>(slice_.float_at(p.row, p.column));
    return look_.what == TensorSlice::integer ? q : look_.what == TensorSlice::floating ? f : q - f;
}
