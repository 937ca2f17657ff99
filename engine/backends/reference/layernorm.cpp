// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"
#include "engine/backends/reference/shift_ops.h"

namespace ivit::reference {

// x [C] -> y [C], real = y * sqrt(C) / 2^30: mean 0 and variance 1. arithmetic.md, I-LayerNorm; I-ViT
// section 3.5.
void layernorm_row(std::span<const int32_t> x, std::span<int32_t> y) {
    const int64_t C = static_cast<int64_t>(x.size());
    int64_t sum = 0, v = 0;
    for (const int32_t t : x) sum += t;
    const int64_t mean = arith::floor_div(2 * sum + C, 2 * C);
    for (const int32_t t : x) v += (t - mean) * (t - mean);
    const int64_t root = arith::isqrt(v);
    const int64_t f = 0x7fffffff / (root < 1 ? 1 : root);
    for (size_t c = 0; c < x.size(); ++c) y[c] = static_cast<int32_t>(((x[c] - mean) * f) >> 1);
}

// in [tokens, C] -> out [rows, C], row by row; the final norm computes the class token's row only.
void layernorm(const Args& a) {
    const size_t C = static_cast<size_t>(a.node.cols());
    for (size_t at = 0; at < a.out.size(); at += C) {
        const auto y = a.out.subspan(at, C);
        layernorm_row(std::span(a.inputs[0]->data).subspan(at, C), y);
        for (size_t c = 0; c < C; ++c)
            y[c] = arith::layernorm_out(y[c], a.quant.m[c], a.quant.B[c], a.quant.s[c], a.quant.out.bits);
    }
}

}  // namespace ivit::reference
