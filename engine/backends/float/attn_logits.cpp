// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// qkv [batch, tokens, 3 C] -> [batch, heads, tokens, tokens]: q . k / sqrt(d), d = C / heads.
void attn_logits(const FloatArgs& a) {
    const int64_t tokens = a.node.rows(), heads = a.node.heads, c3 = a.in_cols(0), d = c3 / 3 / heads;
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
    parallel(a.pool, a.batch * heads, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> panel(static_cast<size_t>(d * panel_width));
        for (int64_t i = begin; i < end; ++i) {
            const float* q = a.in(0) + i / heads * tokens * c3 + i % heads * d;
            float* y = a.out() + i * tokens * tokens;
            kernels().gemm(tokens, tokens, d, q, c3, q + c3 / 3, 1, c3, nullptr, y, tokens, panel.data());
            for (int64_t j = 0; j < tokens * tokens; ++j) y[j] *= scale;
        }
    });
}

}  // namespace ivit::fp32
