// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// in [1, K] -> out [1, classes] in int32 on one common scale, so that the arg-max is taken on integers.
// arithmetic.md, Head.
void head(const Args& a) {
    const int64_t K = a.inputs[0]->channels();
    for (int64_t c = 0; c < a.node.cols(); ++c) {
        int32_t acc = a.quant.bias[c];
        for (int64_t k = 0; k < K; ++k) acc += a.inputs[0]->data[k] * a.quant.weight[c * K + k];
        a.out[c] = arith::requant(acc, a.quant.m[c], a.quant.s[c], 32);
    }
}

}  // namespace ivit::reference
