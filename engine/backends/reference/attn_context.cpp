// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// p [heads, tokens, tokens], qkv [tokens, 3C] -> out [tokens, C] = requant(p . v). arithmetic.md, Attention.
// A row of p sums to at most 2^(k-1), so the sum stays below 2^15 * 2^7.
void attn_context(const Args& a) {
    const int64_t N = a.node.rows(), C = a.node.cols(), heads = a.node.heads, d = C / heads;
    const int32_t* p = a.inputs[0]->data.data();
    const int32_t* v = a.inputs[1]->data.data() + 2 * C;  // row stride 3C
    for (int64_t i = 0; i < N; ++i)
        for (int64_t c = 0; c < C; ++c) {
            const int32_t* row = &p[(c / d * N + i) * N];
            int64_t acc = 0;
            for (int64_t j = 0; j < N; ++j) acc += static_cast<int64_t>(row[j]) * v[j * 3 * C + c];
            a.out[i * C + c] = arith::requant(acc, a.quant.m[0], a.quant.s[0], a.quant.out.bits);
        }
}

}  // namespace ivit::reference
