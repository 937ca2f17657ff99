// SPDX-License-Identifier: Apache-2.0
// I-LayerNorm of rows by a warp or part of one (arithmetic.md, I-LayerNorm).
#pragma once
#include "engine/backends/cuda/epilogue.cuh"

namespace ivit::cuda {

// The lower and the upper of two signed 16-bit numbers, plus c: one instruction each.
__device__ __forceinline__ int add_lower(uint32_t two, int c) {
    return __dp2a_lo(static_cast<int>(two), 0x0001, c);
}
__device__ __forceinline__ int add_upper(uint32_t two, int c) {
    return __dp2a_lo(static_cast<int>(two), 0x0100, c);
}
__device__ __forceinline__ int add_both(uint32_t two, int c) {
    return __dp2a_lo(static_cast<int>(two), 0x0101, c);
}

// Eight channels of a row: x of the residual stream, the row's mean and its inverse root f. |d * f| < 2^31
// because |d| <= floor(sqrt(v)). fits: Columns::fits.
template <bool fits>
__device__ __forceinline__ uint2 normalize8(const LayerNorm& p, const Columns8& q, const uint4& x, int mean,
                                            uint32_t f) {
    const uint32_t w[4] = {x.x, x.y, x.z, x.w};
    int y[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) {
        const int d = e & 1 ? add_upper(w[e / 2], -mean) : add_lower(w[e / 2], -mean);
        const int z = (d * static_cast<int>(f)) >> 1;
        if constexpr (fits)
            y[e] = scale_word(z, q.m[e], q.r[e], q.shift(e));
        else
            y[e] = static_cast<int>(
                arith::clamp(scale_any(z, q.m[e], q.r[e], q.shift(e)), INT32_MIN, INT32_MAX));
    }
    return bytes8(p.columns, y);
}

// floor((2 sum + C) / 2C), the rounded mean of C channels, moved into non-negative numbers and back.
__device__ __forceinline__ int layernorm_mean(const LayerNorm& p, int sum) {
    return p.mean.divide(2 * sum + p.cols + 32768 * p.mean.d) - 32768;
}

// Adds two channels to a row's sum and its sum of squares.
__device__ __forceinline__ void add_up(uint32_t two, int& sum, int64_t& squares) {
    const int first = static_cast<int16_t>(two), second = static_cast<int>(two) >> 16;
    sum += first + second;
    squares = multiply_add(first, first, squares);
    squares = multiply_add(second, second, squares);
}
// The sum of (x - mean)^2 of `cols` <= 2^15 numbers, and of it f of I-LayerNorm.
__device__ __forceinline__ uint32_t inverse_deviation(int cols, int sum, int64_t squares, int mean) {
    return quick_inverse_root(static_cast<uint64_t>(multiply_add(-mean, 2 * sum - cols * mean, squares)));
}

// Sums over the L neighbouring lanes that share a row.
template <int L>
__device__ __forceinline__ int lanes_sum(int v) {
    if constexpr (L == 32) {
        return warp_sum(v);
    } else {
#pragma unroll
        for (int i = L / 2; i; i >>= 1) v += __shfl_xor_sync(0xffffffff, v, i);
        return v;
    }
}
template <int L>
__device__ __forceinline__ uint64_t lanes_sum52(uint64_t v) {
    if constexpr (L == 32) {
        return warp_sum52(v);
    } else {
#pragma unroll
        for (int i = L / 2; i; i >>= 1)
            v += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(v), i);
        return v;
    }
}

// R rows of the residual stream by every L lanes of a warp: lane l has channels 8 (l + L j) .. + 7 of each,
// zeros where they are none (8 L I >= cols). in, there: of this lane's rows.
template <int L, int I, int R>
__device__ __forceinline__ void load_rows(const LayerNorm& p, const int16_t* const (&in)[R],
                                          const bool (&there)[R], uint4 (&x)[R][I]) {
    const int loaded = (p.cols + 7) & ~7;  // the channels after cols are zeros in the residual stream
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const int c = (lane_id() % L + L * j) * 8;
            x[i][j] =
                there[i] && c < loaded ? *reinterpret_cast<const uint4*>(in[i] + c) : make_uint4(0, 0, 0, 0);
        }
}

// Normalizes them and hands eight channels at a time to store(i, channel, bytes). Every lane of the warp
// takes part.
template <int L, int I, int R, class At, class Store>
__device__ __forceinline__ void normalize_rows(const LayerNorm& p, const uint4 (&x)[R][I],
                                               const bool (&there)[R], const At& columns,
                                               const Store& store) {
    const int lane = lane_id() % L;
    const int loaded = (p.cols + 7) & ~7;
    // Step by step over all rows, so that one row's reductions hide another's.
    int mean[R];
    uint64_t v[R];
#pragma unroll
    for (int i = 0; i < R; ++i) {
        int sum = 0;
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) sum = add_both(w[e], sum);
        }
        mean[i] = lanes_sum<L>(sum);
    }
#pragma unroll
    for (int i = 0; i < R; ++i) {
        mean[i] = layernorm_mean(p, mean[i]);
        v[i] = 0;
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int a = add_lower(w[e], -mean[i]), b = add_upper(w[e], -mean[i]);
                v[i] += static_cast<uint64_t>(int64_t{a} * a);
                v[i] += static_cast<uint64_t>(int64_t{b} * b);
            }
        }
        v[i] = lanes_sum52<L>(v[i]);
    }
#pragma unroll
    for (int i = 0; i < R; ++i)  // each zero that is no channel has added mean^2
        v[i] -= static_cast<uint64_t>(static_cast<int64_t>(mean[i]) * mean[i]) *
                static_cast<uint32_t>(L * I * 8 - p.cols);
    // Each row's root is found by a lane of its own.
    uint64_t mine = v[0];
#pragma unroll
    for (int i = 1; i < R; ++i) mine = lane == i ? v[i] : mine;
    const uint32_t share = quick_inverse_root(mine);
    uint32_t f[R];
#pragma unroll
    for (int i = 0; i < R; ++i) f[i] = __shfl_sync(0xffffffff, share, i, L);
#pragma unroll
    for (int j = 0; j < I; ++j) {
        const int c = (lane + L * j) * 8;
        if (c >= loaded) continue;
        const Columns8 q = columns(c);
#pragma unroll
        for (int i = 0; i < R; ++i)
            if (there[i])
                store(i, c,
                      p.columns.fits ? normalize8<true>(p, q, x[i][j], mean[i], f[i])
                                     : normalize8<false>(p, q, x[i][j], mean[i], f[i]));
    }
}

// Where row `row` of the node's output comes from: the first p.rows.d tokens of each picture.
__device__ __forceinline__ const int16_t* layernorm_input(const LayerNorm& p, int row) {
    const int picture = p.rows.divide(row);
    return p.in + static_cast<int64_t>(picture * p.tokens + row - picture * p.rows.d) * p.in_stride;
}

}  // namespace ivit::cuda
