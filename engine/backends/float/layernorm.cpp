// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// [batch, tokens, C] -> [batch, rows, C], the first rows of each picture: (x - mean) / sqrt(var + eps) *
// gamma + beta.
void layernorm(const FloatArgs& a) {
    const Shape& in = a.inputs[0]->shape;
    const int64_t tokens = in[in.size() - 2], rows = a.node.rows(), c = a.node.cols();
    const float *gamma = a.weight(a.node.weight), *beta = a.weight(a.node.bias);
    parallel(a.pool, a.batch * rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            kernels().layernorm(c, a.in(0) + (i / rows * tokens + i % rows) * c, gamma, beta, a.node.eps,
                                a.out() + i * c);
    });
}

}  // namespace ivit::fp32
