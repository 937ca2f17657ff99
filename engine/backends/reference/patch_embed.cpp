// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// in [3, H, W] -> out [patches, C]: a linear layer over the p x p x 3 integers of each patch, on the residual
// stream's grid. weight [C, 3, p, p]. arithmetic.md, Linear, patch embedding.
void patch_embed(const Args& a) {
    const int32_t* x = a.inputs[0]->data.data();
    const int64_t H = a.inputs[0]->shape[1], W = a.inputs[0]->shape[2];
    const int64_t p = a.node.patch, C = a.node.cols(), across = W / p;
    for (int64_t i = 0; i < a.node.rows(); ++i) {
        const int64_t y0 = i / across * p, x0 = i % across * p;
        for (int64_t c = 0; c < C; ++c) {
            int32_t acc = a.quant.bias[c];
            const int8_t* w = &a.quant.weight[c * 3 * p * p];
            for (int64_t ch = 0; ch < 3; ++ch)
                for (int64_t dy = 0; dy < p; ++dy)
                    for (int64_t dx = 0; dx < p; ++dx) acc += x[(ch * H + y0 + dy) * W + x0 + dx] * *w++;
            a.out[i * C + c] = arith::requant(acc, a.quant.m[c], a.quant.s[c], a.quant.out.bits);
        }
    }
}

}  // namespace ivit::reference
