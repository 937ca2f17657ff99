// SPDX-License-Identifier: Apache-2.0
// What the attention kernels share.
#pragma once
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

constexpr int most_entries = 256;  // of exponentials: logits of up to 8 bits

// Two integers to 16 bits each, the first lowest; below 0 and above 65535 they saturate.
__device__ __forceinline__ uint32_t pack_u16(int a, int b) {
    uint32_t both;
    asm("cvt.pack.sat.u16.s32 %0, %1, %2;" : "=r"(both) : "r"(b), "r"(a));
    return both;
}

// Offset of 16-byte chunk c of token r among rows of D bytes: eight neighbouring rows of one chunk hit eight
// different banks.
template <int D>
__device__ __forceinline__ uint32_t swizzled_row(int r, int c) {
    constexpr int per_row = D / 16;
    if constexpr (per_row >= 8) return r * D + ((c & ~7) + ((c ^ r) & 7)) * 16;
    return r * D + ((c ^ (r / (8 / per_row) % per_row)) << 4);
}

// Whether a Shiftmax and its requantizations are what attention_fast.cuh is made for.
inline bool attention_usual(const Attention& p) {
    return p.M - p.k >= 31 && p.entries <= most_entries && p.s_logits >= least_attention_shift &&
           p.s_logits <= 54 && p.s_context >= least_attention_shift;
}

// The kernel for the usual parameters; false, and nothing started, where they are others.
bool attention_fast(const Attention& p, const Launch& at);

}  // namespace ivit::cuda
