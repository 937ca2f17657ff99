// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"
#include "engine/backends/reference/shift_ops.h"

namespace ivit::reference {

// x [cols] -> p [cols], real = p / 2^(k-1). arithmetic.md, Shiftmax over a row; I-ViT section 3.3.
void shiftmax_row(std::span<const int32_t> x, int64_t i0, const ShiftParams& q, std::span<int32_t> p) {
    int64_t max = x[0], d = 0;
    for (const int32_t v : x) max = v > max ? v : max;
    const auto exponential = [&](int64_t v) {
        return arith::shift_exp((v - max) * (int64_t{1} << q.t), i0, q.n);
    };
    for (const int32_t v : x) d += exponential(v);
    const int64_t f = arith::shift_reciprocal(d, q.M);
    for (size_t j = 0; j < x.size(); ++j)
        p[j] = static_cast<int32_t>(arith::shift_share(exponential(x[j]), f, q.M, q.k));
}

// in, out [heads, tokens, tokens], row by row.
void softmax(const Args& a) {
    const size_t N = static_cast<size_t>(a.node.cols());
    for (size_t at = 0; at < a.out.size(); at += N)
        shiftmax_row(std::span(a.inputs[0]->data).subspan(at, N), a.quant.i0, a.quant.quant.shift,
                     a.out.subspan(at, N));
}

}  // namespace ivit::reference
