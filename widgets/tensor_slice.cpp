// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_slice.h"

#include <algorithm>
#include <cmath>

#include "widgets/attention_math.h"

TensorSlice tensor_slice(const ivit::Trace* integers, const ivit::Trace* floats, int node, int head,
                         int channel) {
    TensorSlice s;
    const ivit::Tap* q = integers ? integers->tap(node) : nullptr;
    const ivit::Tap* f = floats ? floats->tap(node) : nullptr;
    const ivit::Graph* g = integers ? integers->graph.get() : floats ? floats->graph.get() : nullptr;
    if (!g || (!q && !f) || node < 0) return s;
    const ivit::Node& n = g->nodes[static_cast<size_t>(node)];
    s.rows = static_cast<int>(n.rows());
    s.cols = static_cast<int>(n.cols());
    s.planes = n.shape.size() == 3 ? static_cast<int>(n.shape[0]) : 1;
    s.attention = n.op == ivit::Op::attn_logits || n.op == ivit::Op::softmax;
    s.plane = s.planes == 1 ? 0 : std::clamp(s.attention ? head : channel % s.planes, 0, s.planes - 1);
    const size_t size = static_cast<size_t>(s.rows) * static_cast<size_t>(s.cols),
                 from = size * static_cast<size_t>(s.plane);
    if (q && from + size <= q->integers.data.size()) {
        const auto at = q->integers.data.begin() + static_cast<std::ptrdiff_t>(from);
        s.integers.assign(at, at + static_cast<std::ptrdiff_t>(size));
        s.grid = q->integers.grid;
        for (int c = 0; c < s.cols; ++c) s.scales.push_back(static_cast<float>(s.grid.at(c, s.cols)));
    }
    if (f && from + size <= f->floats.data.size()) {
        const auto at = f->floats.data.begin() + static_cast<std::ptrdiff_t>(from);
        s.floats.assign(at, at + static_cast<std::ptrdiff_t>(size));
    }
    if (s.integers.empty() && s.floats.empty()) return {};
    if (n.op != ivit::Op::input) {
        const attention::PatchGrid p = attention::patch_grid(s.rows);
        s.side = p.side;
        s.first = p.first;
    }
    return s;
}

namespace {

// A 32-bit accumulator has a scale per channel and reaches any value; errors are of the reals.
template <class Index>
std::vector<float> errors(const TensorSlice& s, int count, Index index) {
    if (s.integers.empty() || s.floats.empty()) return {};
    std::vector<double> sum(static_cast<size_t>(count), 0.0);
    for (int r = 0; r < s.rows; ++r) {
        for (int c = 0; c < s.cols; ++c) {
            const double e = static_cast<double>(s.real(r, c)) - static_cast<double>(s.float_at(r, c));
            sum[static_cast<size_t>(index(r, c))] += e * e;
        }
    }
    std::vector<float> out;
    const double n = static_cast<double>(s.rows) * s.cols / count;
    for (const double x : sum) out.push_back(static_cast<float>(std::sqrt(x / n)));
    return out;
}

}  // namespace

std::vector<float> TensorSlice::error_by_row() const {
    return errors(*this, rows, [](int r, int) { return r; });
}

std::vector<float> TensorSlice::error_by_column() const {
    return errors(*this, cols, [](int, int c) { return c; });
}

double TensorSlice::magnitude(What what, double q) const {
    std::vector<float> v;
    v.reserve(static_cast<size_t>(rows) * static_cast<size_t>(cols));
    for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < cols; ++c) {
            const float a = real(r, c), b = float_at(r, c);
            v.push_back(std::abs(what == integer ? a : what == floating ? b : a - b));
        }
    }
    if (v.empty()) return 0;
    const auto at = v.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(v.size() - 1));
    std::nth_element(v.begin(), at, v.end());
    // Mostly zeros: the quantile would be zero and the picture all limit.
    return *at > 0 ? static_cast<double>(*at) : static_cast<double>(*std::max_element(v.begin(), v.end()));
}
