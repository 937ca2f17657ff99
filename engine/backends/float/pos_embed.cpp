// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// patches [batch, tokens - 1, C] -> [batch, tokens, C]: the class token in front, then plus pos_embed
// [tokens, C].
void pos_embed(const FloatArgs& a) {
    const int64_t tokens = a.node.rows(), c = a.node.cols();
    const float *position = a.weight(a.node.weight), *class_token = a.weight(a.node.bias);
    parallel(a.pool, a.batch * tokens, 32, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t picture = i / tokens, t = i % tokens;
            const float* x = t == 0 ? class_token : a.in(0) + (picture * (tokens - 1) + t - 1) * c;
            kernels().add(c, x, position + t * c, a.out() + i * c);
        }
    });
}

}  // namespace ivit::fp32
