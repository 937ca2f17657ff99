// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// in [rows, K] -> out [rows, C]; weight [C, K]. The accumulator itself when a residual_add reads it, else
// requantized per channel. arithmetic.md, Linear, patch embedding.
void linear(const Args& a) {
    const int64_t K = a.inputs[0]->channels(), C = a.node.cols();
    for (int64_t i = 0; i < a.node.rows(); ++i)
        for (int64_t c = 0; c < C; ++c) {
            const int32_t* x = &a.inputs[0]->data[i * K];
            const int8_t* w = &a.quant.weight[c * K];
            int32_t acc = a.quant.bias[c];
            for (int64_t k = 0; k < K; ++k) acc += x[k] * w[k];
            a.out[i * C + c] =
                a.node.to_residual ? acc : arith::requant(acc, a.quant.m[c], a.quant.s[c], a.quant.out.bits);
        }
}

}  // namespace ivit::reference
