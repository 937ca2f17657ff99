// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// softmax [batch, heads, tokens, tokens], qkv [batch, tokens, 3 C] -> [batch, tokens, C]: p * v, heads side
// by side.
void attn_context(const FloatArgs& a) {
    const int64_t tokens = a.node.rows(), c = a.node.cols(), heads = a.node.heads, d = c / heads;
    parallel(a.pool, a.batch * heads, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> panel(static_cast<size_t>(tokens * panel_width));
        for (int64_t i = begin; i < end; ++i) {
            const int64_t picture = i / heads, h = i % heads;
            const float* v = a.in(1) + picture * tokens * 3 * c + 2 * c + h * d;
            kernels().gemm(tokens, d, tokens, a.in(0) + i * tokens * tokens, tokens, v, 3 * c, 1, nullptr,
                           a.out() + picture * tokens * c + h * d, c, panel.data());
        }
    });
}

}  // namespace ivit::fp32
