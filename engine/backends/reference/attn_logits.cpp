// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// qkv [tokens, 3C] -> out [heads, tokens, tokens] = requant(q . k). arithmetic.md, Attention.
void attn_logits(const Args& a) {
    const int64_t heads = a.node.heads, N = a.node.rows(), C3 = a.inputs[0]->channels(), C = C3 / 3,
                  d = C / heads;
    const int32_t* qkv = a.inputs[0]->data.data();
    for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < N; ++i)
            for (int64_t j = 0; j < N; ++j) {
                const int32_t* q = &qkv[i * C3 + h * d];
                const int32_t* k = &qkv[j * C3 + C + h * d];
                int32_t acc = 0;
                for (int64_t c = 0; c < d; ++c) acc += q[c] * k[c];
                a.out[(h * N + i) * N + j] =
                    arith::requant(acc, a.quant.m[0], a.quant.s[0], a.quant.out.bits);
            }
}

}  // namespace ivit::reference
