// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/operator_curve.h"

#include <algorithm>
#include <cmath>

#include "engine/arithmetic.h"

namespace {

constexpr int64_t most_points = 512;  // more than a plot has pixels for steps

// Counts `inputs` by steps of `stride` integers from `low`; sets x.
void place(OperatorCurve& c, const std::vector<int64_t>& inputs, int64_t low, int64_t high, int64_t stride,
           double scale) {
    const size_t points = static_cast<size_t>((high - low) / stride + 1);
    c.count.assign(points, 0.0);
    for (size_t i = 0; i < points; ++i)
        c.x.push_back(static_cast<double>(low + static_cast<int64_t>(i) * stride) * scale);
    for (const int64_t v : inputs) c.count[static_cast<size_t>((v - low) / stride)] += 1;
}

template <typename Integer, typename Exact>
void measure(OperatorCurve& c, const std::vector<int64_t>& inputs, int64_t low, int64_t stride, double scale,
             const Integer& integer, const Exact& exact) {
    for (size_t i = 0; i < c.x.size(); ++i) {
        c.exact.push_back(exact(c.x[i]));
        if (c.by_shifts) c.integer.push_back(integer(low + static_cast<int64_t>(i) * stride));
    }
    if (!c.by_shifts || inputs.empty()) return;
    double sum = 0;
    for (const int64_t v : inputs) {
        const double e = integer(v) - exact(static_cast<double>(v) * scale);
        c.worst = std::max(c.worst, std::abs(e));
        sum += e * e;
    }
    c.rms = std::sqrt(sum / static_cast<double>(inputs.size()));
}

int64_t stride_for(int64_t steps) { return std::max<int64_t>(1, (steps + most_points - 1) / most_points); }

// Every logit of one head, minus the greatest of its row. in: [1, heads, tokens, tokens].
std::vector<int64_t> shifted_logits(const ivit::IntTensor& in, int64_t head, int64_t tokens) {
    std::vector<int64_t> inputs;
    for (int64_t r = 0; r < tokens; ++r) {
        const auto row = in.data.begin() + (head * tokens + r) * tokens;
        const int64_t most = *std::max_element(row, row + tokens);
        for (int64_t i = 0; i < tokens; ++i) inputs.push_back(row[i] - most);
    }
    return inputs;
}

void shiftmax_curve(OperatorCurve& c, const ivit::IntTensor& in, int64_t head, int64_t tokens) {
    c.integer_name = "Shiftmax's exponential";
    c.exact_name = "exp";
    const double scale = in.grid.scale[0];
    const std::vector<int64_t> inputs = shifted_logits(in, head, tokens);
    const int64_t low = *std::min_element(inputs.begin(), inputs.end()), stride = stride_for(-low);
    place(c, inputs, low, 0, stride, scale);
    const auto shift_exp = [&](int64_t v) {
        return static_cast<double>(ivit::arith::shift_exp(v * (int64_t{1} << c.shift.t), c.i0, c.shift.n));
    };
    const double one = shift_exp(0);
    measure(
        c, inputs, low, stride, scale, [&](int64_t v) { return shift_exp(v) / one; },
        [](double x) { return std::exp(x); });
}

// With the row pivot the function is another one in every row: that of `token` is taken. in: [1, tokens,
// cols].
void shiftgelu_curve(OperatorCurve& c, const ivit::IntTensor& in, int64_t token, int64_t cols) {
    c.integer_name = "ShiftGELU";
    c.exact_name = "GELU";
    const double scale = in.grid.scale[0];
    const std::vector<int64_t> inputs(in.data.begin(), in.data.end());
    const auto [least, greatest] = std::minmax_element(inputs.begin(), inputs.end());
    const int64_t low = *least, high = *greatest, stride = stride_for(high - low);
    place(c, inputs, low, high, stride, scale);
    const int64_t rows = static_cast<int64_t>(in.data.size()) / cols;
    const auto row = in.data.begin() + std::clamp<int64_t>(token, 0, rows - 1) * cols;
    const int64_t row_pivot = std::max(0, *std::max_element(row, row + cols));
    const double unit = scale / static_cast<double>(int64_t{1} << (c.shift.k - 1));
    measure(
        c, inputs, low, stride, scale,
        [&](int64_t v) {
            const int64_t pivot = c.shift.row_pivot ? std::max(row_pivot, v) : std::max<int64_t>(0, v),
                          up = int64_t{1} << c.shift.t;
            const int64_t e = ivit::arith::shift_exp((v - pivot) * up, c.i0, c.shift.n),
                          e0 = ivit::arith::shift_exp(-pivot * up, c.i0, c.shift.n);
            const int64_t share = ivit::arith::shift_share(
                e, ivit::arith::shift_reciprocal(e + e0, c.shift.M), c.shift.M, c.shift.k);
            return static_cast<double>(v * share) * unit;
        },
        [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); });
}

}  // namespace

OperatorCurve operator_curve(const ivit::QuantizedModel& m, const ivit::Trace& t, int node, int head,
                             int token) {
    OperatorCurve c;
    if (node < 0 || static_cast<size_t>(node) >= t.graph->nodes.size()) return c;
    const ivit::Node& n = t.graph->nodes[static_cast<size_t>(node)];
    if (n.op != ivit::Op::softmax && n.op != ivit::Op::gelu) return c;
    const ivit::Tap* tap = t.tap(n.inputs[0]);
    if (!tap || tap->integers.data.empty()) return c;
    const ivit::QuantNode& q = *m.nodes[static_cast<size_t>(node)];
    c.shift = q.quant.shift;
    c.i0 = q.i0;
    c.by_shifts = q.quant.mode == ivit::Mode::integer;
    if (n.op == ivit::Op::softmax)
        shiftmax_curve(c, tap->integers, std::clamp(head, 0, n.heads - 1), n.cols());
    else
        shiftgelu_curve(c, tap->integers, token, n.cols());
    return c;
}

int operator_of(const ivit::Graph& g, int node) {
    if (node < 0 || static_cast<size_t>(node) >= g.nodes.size()) return -1;
    const ivit::Node& n = g.nodes[static_cast<size_t>(node)];
    if (n.op == ivit::Op::softmax || n.op == ivit::Op::gelu) return node;
    if (n.block < 0) return -1;
    // In execution order: what comes before the first addition is attention's half of the block.
    bool second_half = false;
    for (int i = 0; i < node; ++i) {
        const ivit::Node& before = g.nodes[static_cast<size_t>(i)];
        second_half = second_half || (before.block == n.block && before.op == ivit::Op::residual_add);
    }
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const ivit::Node& other = g.nodes[i];
        if (other.block == n.block && other.op == (second_half ? ivit::Op::gelu : ivit::Op::softmax))
            return static_cast<int>(i);
    }
    return -1;
}
