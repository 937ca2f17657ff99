// SPDX-License-Identifier: Apache-2.0
// What the two kernels of half a block share: 16 rows of integers times a slab of a weight, both in shared
// memory.
#pragma once
#include "engine/backends/cuda/epilogue.cuh"

namespace ivit::cuda {

// Bytes between rows of `width` bytes that 16-byte loads of eight lanes, two rows of four, read without a
// conflict.
__host__ __device__ constexpr int row_pitch(int width) {
    return (width + 127) / 128 * 128 - 64 < width ? (width + 127) / 128 * 128 + 64
                                                  : (width + 127) / 128 * 128 - 64;
}

// Requantization of two neighbouring channels.
struct Columns2 {
    int m[2];
    int64_t r[2];
    uint32_t s;
    // Asked for here, not where the compiler thinks best.
    __device__ __forceinline__ void ask(const Columns& p, int c) {
        asm volatile("ld.global.nc.v2.s32 {%0, %1}, [%2];" : "=r"(m[0]), "=r"(m[1]) : "l"(p.m + c));
        asm volatile("ld.global.nc.v2.s64 {%0, %1}, [%2];" : "=l"(r[0]), "=l"(r[1]) : "l"(p.r + c));
        asm volatile("ld.global.nc.u16 %0, [%1];" : "=r"(s) : "l"(p.s + c));
    }
    // Columns::fits.
    __device__ __forceinline__ int scale(int e, int x) const {
        return scale_word(x, m[e], r[e], static_cast<int>(e ? s >> 8 : s & 255));
    }
};
// Two signed bytes on the grid of the columns.
__device__ __forceinline__ uint32_t bytes2(const Columns& columns, int a, int b) {
    const uint32_t two = pack4(a, b, 0, 0);
    return columns.spare > 0 ? shift_bytes(two, columns.spare) : two;
}

// c[i], accumulators of mma_s8: 16 rows times rows n0 + 8 i .. + 7 of a slab [K in groups][N][64 or 32]
// (pack.h). rows(kk, h): 16 bytes at column 64 kk + 16 t of row g + 8 h; rest(h): the 8 at column 8 t of the
// last 32.
template <int K, int N, int T, class Rows, class Rest>
__device__ __forceinline__ void multiply_slab(const Rows& rows, const Rest& rest, const uint8_t* slab, int n0,
                                              int (&c)[T][4]) {
    const int g = lane_id() >> 2, t = lane_id() & 3;
    int d[2][T][4] = {};
#pragma unroll
    for (int kk = 0; kk < K / 64; ++kk) {
        const uint4 a = rows(kk, 0), b = rows(kk, 1);
        const uint32_t first[4] = {a.x, b.x, a.y, b.y}, second[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
        for (int i = 0; i < T; ++i) {
            const uint4 w = *reinterpret_cast<const uint4*>(slab + (kk * N + n0 + 8 * i + g) * 64 + 16 * t);
            mma_s8(d[0][i], first, w.x, w.y);
            mma_s8(d[1][i], second, w.z, w.w);
        }
    }
    if constexpr (K % 64 != 0) {
        const uint2 a = rest(0), b = rest(1);
        const uint32_t last[4] = {a.x, b.x, a.y, b.y};
#pragma unroll
        for (int i = 0; i < T; ++i) {
            const uint2 w =
                *reinterpret_cast<const uint2*>(slab + K / 64 * N * 64 + (n0 + 8 * i + g) * 32 + 8 * t);
            mma_s8(d[0][i], last, w.x, w.y);
        }
    }
#pragma unroll
    for (int i = 0; i < T; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) c[i][e] = d[0][i][e] + d[1][i][e];
}
// Rows in shared memory, `pitch` bytes apart.
template <int K, int N, int T, int pitch>
__device__ __forceinline__ void multiply_shared(const uint8_t* rows, const uint8_t* slab, int n0,
                                                int (&c)[T][4]) {
    const uint8_t* const mine = rows + (lane_id() >> 2) * pitch;
    const int t = lane_id() & 3;
    multiply_slab<K, N, T>(
        [&](int kk, int h) {
            return *reinterpret_cast<const uint4*>(mine + 8 * h * pitch + 64 * kk + 16 * t);
        },
        [&](int h) { return *reinterpret_cast<const uint2*>(mine + 8 * h * pitch + K / 64 * 64 + 8 * t); },
        slab, n0, c);
}

// The sum of (x - mean)^2 of `cols` numbers, and of it f of I-LayerNorm.
__device__ __forceinline__ uint32_t inverse_deviation(int cols, int sum, int64_t squares, int mean) {
    const int64_t v = squares - 2 * static_cast<int64_t>(mean) * sum +
                      static_cast<int64_t>(cols) * (static_cast<int64_t>(mean) * mean);
    return quick_reciprocal31(max(quick_root(static_cast<uint64_t>(v)), 1u));
}

}  // namespace ivit::cuda
