// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// [batch, heads, tokens, tokens] -> the same: softmax of each row.
void softmax(const FloatArgs& a) {
    const int64_t n = a.node.cols();
    parallel(a.pool, a.batch * a.node.heads * a.node.rows(), 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) kernels().softmax(n, a.in(0) + i * n, 1.0f, a.out() + i * n);
    });
}

}  // namespace ivit::fp32
