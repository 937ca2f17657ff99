// SPDX-License-Identifier: Apache-2.0
// The parts of prepare_kernels.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

void prepare_linear(const Launch& at);
void prepare_layernorm(const Launch& at);
void prepare_patches(const Launch& at);
void prepare_row_gelu(const Launch& at);
void prepare_attention(const Launch& at);
void prepare_attention_fast(const Launch& at);
void prepare_attention_sm90(const Launch& at);
void prepare_wgmma(const Launch& at);
void prepare_panel(const Launch& at);
void prepare_side(const Launch& at);
void prepare_split(const Launch& at);
void prepare_block_attention(const Launch& at);
void prepare_block_attention_wide(const Launch& at);
void prepare_block_mlp(const Launch& at);

}  // namespace ivit::cuda
