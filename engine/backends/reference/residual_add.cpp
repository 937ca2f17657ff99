// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// acc [tokens, C] (the linear layer's int32), t [tokens, C] -> out [tokens, C]. arithmetic.md, Residual add.
void residual_add(const Args& a) {
    const int64_t C = a.node.cols();
    const int32_t* acc = a.inputs[0]->data.data();
    const int32_t* t = a.inputs[1]->data.data();
    for (int64_t i = 0; i < static_cast<int64_t>(a.out.size()); ++i) {
        const int64_t c = i % C;
        const int64_t sum = arith::round_shift(static_cast<int64_t>(acc[i]) * a.quant.m[c], a.quant.s[c]) +
                            arith::round_shift(static_cast<int64_t>(t[i]) * a.quant.mt, a.quant.st);
        a.out[i] = static_cast<int32_t>(arith::clamp(sum, a.quant.out.low(), a.quant.out.high()));
    }
}

}  // namespace ivit::reference
