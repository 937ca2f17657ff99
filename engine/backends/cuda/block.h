// SPDX-License-Identifier: Apache-2.0
// Half a block of a ViT as one kernel, for few tokens on Hopper: what counts there is how many kernels follow
// one another, and what each waits for. Norm, qkv and attention are one, proj, norm, fc1, GELU and fc2 the
// other.
#pragma once
#include "engine/backends/cuda/kernels.h"
#include "engine/backends/cuda/pack.h"

namespace ivit::cuda {

// I-LayerNorm, qkv, and attention of each head.
struct BlockAttention {
    LayerNorm norm;
    const int8_t* w = nullptr;  // of qkv: Cut::heads, or null
    Columns columns;            // of qkv
    Attention attention;        // without its qkv
    // The weights as Linear has them, paired_row. Behind what the other kernel reads: where the rest lies in its
    // arguments is worth 1 us of DeiT-T.
    const int8_t* w_side = nullptr;
    int32_t ldw = 0, w_rows = 0;
};

// proj + residual, I-LayerNorm, fc1, GELU, fc2 + residual; w of the three products: cut as MlpSlabs tells.
struct BlockMlp {
    Linear proj, fc1, fc2;
    LayerNorm norm;
};

// How the weights of a block of `width` channels and as many heads of 64 as fit are cut: Cut::none where
// there are no such kernels.
struct MlpSlabs {
    Slabs proj, fc1, fc2;
};
Slabs qkv_slabs(int32_t width);
MlpSlabs mlp_slabs(int32_t width);

// Whether there is a kernel for so many heads and tokens, whose clusters can all run at once.
bool block_attention_fits(const BlockAttention& p, const Launch& at);
void block_attention(const BlockAttention& p, const Launch& at);
// The one with 32 tokens a block instead of 16: what the other does not take.
bool block_attention_wide_fits(const BlockAttention& p, const Launch& at);
void block_attention_wide(const BlockAttention& p, const Launch& at);
bool block_mlp_fits(const BlockMlp& p, const Launch& at);
void block_mlp(const BlockMlp& p, const Launch& at);

}  // namespace ivit::cuda
