// SPDX-License-Identifier: Apache-2.0
// What the two kernels of the attention half share (block.h).
#pragma once
#include "engine/backends/cuda/attention_fast.cuh"
#include "engine/backends/cuda/block.cuh"
#include "engine/backends/cuda/block.h"
#include "engine/backends/cuda/cluster.cuh"
#include "engine/backends/cuda/copy_engine.cuh"

namespace ivit::cuda {

constexpr int head_bytes = 64;  // of a token's query, key or value

// Whether everything between is bytes of the whole range.
inline bool all_bytes(const BlockAttention& p) {
    return attention_bytes(p.attention) && whole_bytes(p.norm.columns) && whole_bytes(p.columns);
}

// Whether the half is what such kernels are made for, whatever its size.
inline bool attention_half_usual(const BlockAttention& p, const Launch& at) {
    const Attention& a = p.attention;
    return copy_engine_ready() && at.arch == 90 && attention_usual(a) && a.padded == head_bytes &&
           a.heads * head_bytes == p.norm.cols && p.norm.columns.fits && p.columns.fits;
}

// A cluster for each head, a block for each tile of its tokens.
inline dim3 head_grid(const Attention& a, int tile) {
    return {static_cast<unsigned>((a.tokens + tile - 1) / tile), static_cast<unsigned>(a.heads),
            static_cast<unsigned>(a.batch)};
}

}  // namespace ivit::cuda
