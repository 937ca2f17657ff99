// SPDX-License-Identifier: Apache-2.0
// What the two kernels of half a block share: 16 rows of integers times a slab of a weight, both in shared
// memory.
#pragma once
#include "engine/backends/cuda/layernorm.cuh"

namespace ivit::cuda {

// Bytes between rows of `width` bytes that 16-byte loads of eight lanes, two rows of four, read without a
// conflict.
__host__ __device__ constexpr int row_pitch(int width) { return (width + 63) / 128 * 128 + 64; }

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
// Two signed bytes on the grid of the columns; whole: that is all bytes.
inline bool whole_bytes(const Columns& columns) { return columns.low == -128 && columns.top == 127; }
template <bool whole>
__device__ __forceinline__ uint32_t bytes2(const Columns& columns, int a, int b) {
    const uint32_t two = pack4(a, b, 0, 0);
    return !whole && columns.spare > 0 ? shift_bytes(two, columns.spare) : two;
}

// A warp's part of a slab [K in groups][N][64 or 32] (pack.h): rows n0 + step i .. + 7, i < T, as mma_s8
// takes them.
template <int K, int N, int T, int step = 8>
struct Weights {
    static constexpr int groups = K / 64;
    static constexpr bool rest = K % 64 != 0;
    uint4 w[groups][T];
    uint2 last[rest ? T : 1];

    // Asked for here, not where they are needed: shared memory takes its time to give so much.
    __device__ __forceinline__ void ask(uint32_t slab, int n0, int lane) {
        const uint32_t row = static_cast<uint32_t>(n0 + (lane >> 2)), t = lane & 3;
#pragma unroll
        for (int kk = 0; kk < groups; ++kk)
#pragma unroll
            for (int i = 0; i < T; ++i)
                asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                             : "=r"(w[kk][i].x), "=r"(w[kk][i].y), "=r"(w[kk][i].z), "=r"(w[kk][i].w)
                             : "r"(slab + (kk * N + row + step * i) * 64 + 16 * t)
                             : "memory");
        if constexpr (rest)
#pragma unroll
            for (int i = 0; i < T; ++i)
                asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
                             : "=r"(last[i].x), "=r"(last[i].y)
                             : "r"(slab + groups * N * 64 + (row + step * i) * 32 + 8 * t)
                             : "memory");
    }
    // c[i], accumulators of mma_s8: 16 rows in shared memory, `pitch` bytes apart, times rows n0 + step i ..
    // + 7.
    __device__ __forceinline__ void multiply(const uint8_t* rows, int pitch, int lane, int (&c)[T][4]) const {
        const uint8_t* const upper = rows + (lane >> 2) * pitch;
        const uint8_t* const lower = upper + 8 * pitch;
        const int t = lane & 3;
        int d[2][T][4] = {};
#pragma unroll
        for (int kk = 0; kk < groups; ++kk) {
            const uint4 a = *reinterpret_cast<const uint4*>(upper + 64 * kk + 16 * t),
                        b = *reinterpret_cast<const uint4*>(lower + 64 * kk + 16 * t);
            const uint32_t first[4] = {a.x, b.x, a.y, b.y}, second[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
            for (int i = 0; i < T; ++i) {
                mma_s8(d[0][i], first, w[kk][i].x, w[kk][i].y);
                mma_s8(d[1][i], second, w[kk][i].z, w[kk][i].w);
            }
        }
        if constexpr (rest) {
            const uint2 a = *reinterpret_cast<const uint2*>(upper + 64 * groups + 8 * t),
                        b = *reinterpret_cast<const uint2*>(lower + 64 * groups + 8 * t);
            const uint32_t both[4] = {a.x, b.x, a.y, b.y};
#pragma unroll
            for (int i = 0; i < T; ++i) mma_s8(d[groups & 1][i], both, last[i].x, last[i].y);
        }
#pragma unroll
        for (int i = 0; i < T; ++i)
#pragma unroll
            for (int e = 0; e < 4; ++e) c[i][e] = d[0][i][e] + d[1][i][e];
    }
};

// I-LayerNorm of two rows of 64 C channels by a warp, of each of which a lane has channels 2 (lane + 32 j)
// and the one behind in x[.][j], their parameters in norm[j]. store(row, channel, two bytes). whole:
// bytes2's.
template <int C, bool whole, class Store>
__device__ __forceinline__ void normalize_two(const LayerNorm& p, const uint32_t (&x)[2][C],
                                              const Columns2 (&norm)[C], const Store& store) {
    int lane = lane_id();
    asm volatile("" : "+r"(lane));  // to keep it: read again where all wait, it takes its time
    int sum[2], mean[2];
    int64_t squares[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        sum[i] = 0;
        squares[i] = 0;
#pragma unroll
        for (int j = 0; j < C; ++j) add_up(x[i][j], sum[i], squares[i]);
        sum[i] = warp_sum(sum[i]);
        squares[i] = static_cast<int64_t>(warp_sum52(static_cast<uint64_t>(squares[i])));
        mean[i] = layernorm_mean(p, sum[i]);
    }
    // Even lanes find the first one's, odd ones the second's.
    const bool odd = lane & 1;
    const uint32_t mine = inverse_deviation(64 * C, odd ? sum[1] : sum[0], odd ? squares[1] : squares[0],
                                            odd ? mean[1] : mean[0]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int f = static_cast<int>(__shfl_sync(0xffffffff, mine, i));
#pragma unroll
        for (int j = 0; j < C; ++j) {
            const int y0 = norm[j].scale(0, (add_lower(x[i][j], -mean[i]) * f) >> 1),
                      y1 = norm[j].scale(1, (add_upper(x[i][j], -mean[i]) * f) >> 1);
            store(i, 2 * (lane + 32 * j), bytes2<whole>(p.columns, y0, y1));
        }
    }
}

// Requantization's sum plus the residual stream's share, on the stream's grid (epilogue.cuh, add_residual8).
// stream_high: 16 bits of the stream in the upper half.
__device__ __forceinline__ int add_stream(const Linear& p, int y, uint32_t stream_high) {
    return clamp32(y + stream_share(p, stream_high), p.columns.low, p.columns.top);
}

}  // namespace ivit::cuda
