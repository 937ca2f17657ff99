// SPDX-License-Identifier: Apache-2.0
// What the two attention kernels share.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

// Offset of 16-byte chunk c of token r among rows of D bytes: eight neighbouring rows of one chunk hit eight
// different banks.
template <int D>
__device__ __forceinline__ uint32_t swizzled_row(int r, int c) {
    constexpr int per_row = D / 16;
    if constexpr (per_row >= 8) return r * D + ((c & ~7) + ((c ^ r) & 7)) * 16;
    return r * D + ((c ^ (r / (8 / per_row) % per_row)) << 4);
}

// The kernel for the usual parameters; false, and nothing started, where they are others.
bool attention_fast(const Attention& p, const Launch& at);

}  // namespace ivit::cuda
