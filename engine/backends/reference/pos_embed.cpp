// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// in [patches, C] -> out [tokens, C]: the class token in front, then the position embedding added. Both
// constants are on the residual stream's grid already, so this is one addition and one clamp. arithmetic.md,
// Positions.
void pos_embed(const Args& a) {
    const int64_t C = a.node.cols();
    const int32_t* x = a.inputs[0]->data.data();
    for (int64_t i = 0; i < a.node.rows(); ++i)
        for (int64_t c = 0; c < C; ++c) {
            const int64_t patch = i == 0 ? 0 : x[(i - 1) * C + c];
            const int64_t sum = patch + a.quant.constant[i * C + c];
            a.out[i * C + c] = static_cast<int32_t>(arith::clamp(sum, a.quant.out.low(), a.quant.out.high()));
        }
}

}  // namespace ivit::reference
