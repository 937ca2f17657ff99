// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backends/reference/ops.h"
#include "engine/backends/reference/shift_ops.h"

namespace ivit::reference {

// x [cols] -> y [cols]. arithmetic.md, ShiftGELU; I-ViT section 3.4.
void shiftgelu_row(std::span<const int32_t> x, int64_t i0, const ShiftParams& q, std::span<int32_t> y) {
    const int64_t row_pivot = std::max(0, *std::max_element(x.begin(), x.end()));
    const int64_t scale = int64_t{1} << q.t;
    for (size_t j = 0; j < x.size(); ++j) {
        const int64_t c = q.row_pivot ? row_pivot : std::max(0, x[j]);
        const int64_t e = arith::shift_exp((x[j] - c) * scale, i0, q.n);
        const int64_t e0 = arith::shift_exp(-c * scale, i0, q.n);
        const int64_t sigma = arith::shift_share(e, arith::shift_reciprocal(e + e0, q.M), q.M, q.k);
        y[j] = static_cast<int32_t>(x[j] * sigma);
    }
}

// in, out [tokens, hidden]: ShiftGELU, then requantized to the node's own grid.
void gelu(const Args& a) {
    const size_t C = static_cast<size_t>(a.node.cols());
    for (size_t at = 0; at < a.out.size(); at += C) {
        const auto y = a.out.subspan(at, C);
        shiftgelu_row(std::span(a.inputs[0]->data).subspan(at, C), a.quant.i0, a.quant.quant.shift, y);
        for (int32_t& v : y) v = arith::requant(v, a.quant.m[0], a.quant.s[0], a.quant.out.bits);
    }
}

}  // namespace ivit::reference
