// SPDX-License-Identifier: Apache-2.0
// The kernels of the float opponents: what each takes and how to start it. Every buffer lies in device
// memory, rows are dense, and row r of a batch is token r % tokens of picture r / tokens.
#pragma once
#include <cstdint>

#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda_float {

using cuda::Launch;

enum class Type { f32, f16 };
constexpr int64_t bytes_of(Type type) { return type == Type::f16 ? 2 : 4; }

// Pixels u8 [batch, size, size, 3] -> normalized patches [batch * tokens, ld], the class token's row and the
// columns from 3 * patch * patch on zero; and position [tokens, width] -> stream [batch * tokens, width],
// which the product with the patches is then added to.
struct Patches {
    const uint8_t* pixels = nullptr;
    const float* table = nullptr;  // [3, 256]: (u / 255 - mean) / std
    void* out = nullptr;
    const void* position = nullptr;
    void* stream = nullptr;
    int32_t size = 0, patch = 0, tokens = 0, ld = 0, width = 0, batch = 1;
};
void patches(const Patches& p, Type type, const Launch& at);

// in [batch * tokens, cols] -> out [batch * rows, cols], the first rows of each picture.
struct LayerNorm {
    const void* in = nullptr;
    void* out = nullptr;
    const void *gamma = nullptr, *beta = nullptr;  // [cols]
    float eps = 0;
    int32_t cols = 0, rows = 1, tokens = 1, batch = 1;
};
void layernorm(const LayerNorm& p, Type type, const Launch& at);

// Exact GELU, x / 2 * (1 + erf(x / sqrt(2))), of `count` values in place.
void gelu(void* x, int64_t count, Type type, const Launch& at);

// qkv [batch * tokens, 3 * heads * dim] -> out [batch * tokens, heads * dim], softmax(q k^T / sqrt(dim)) v.
// Keys and values lie in shared memory in chunks, and scores never leave the registers (after Dao et al.
// 2022).
struct Attention {
    const void* qkv = nullptr;
    void* out = nullptr;
    int32_t tokens = 0, heads = 0, dim = 0, batch = 1;
    float scale = 0;  // log2(e) / sqrt(dim)
};
// False when no kernel takes heads of this size on this GPU.
bool attention_fits(const Attention& p, Type type, const Launch& at);
void attention(const Attention& p, Type type, bool tensor_cores, const Launch& at);
// On tensor cores, dim 32 or 64; false: some other shape, and nothing was started.
bool attention_half(const Attention& p, const Launch& at);
bool attention_tf32(const Attention& p, const Launch& at);

// FP32 [count] -> FP16 [count].
void narrow(const float* in, void* out, int64_t count, const Launch& at);

// Raises shared-memory limits and loads every kernel, so that none is loaded while a graph is captured.
void load_kernels(const Launch& at);
void prepare_attention_half(const Launch& at);
void prepare_attention_tf32(const Launch& at);

}  // namespace ivit::cuda_float
