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

// Eight channels of a row: x of the residual stream, the row's mean and its inverse root f. |d * f| < 2^31
// because |d| <= floor(sqrt(v)). fits: Columns::fits.
template <bool fits, bool whole = false>
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
    return bytes8<whole>(p.columns, y);
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
    if constexpr (L == 32)
        return warp_sum(v);
    else
        return shuffled_sum<L>(v);
}
template <int L>
__device__ __forceinline__ uint64_t lanes_sum52(uint64_t v) {
    if constexpr (L == 32)
        return warp_sum52(v);
    else
        return shuffled_sum<L>(v);
}

// The parameters in shared memory, where each row finds them again: of eight channels four times two r, twice
// four m, eight s, each kind in a plane of its own, so that neighbouring lanes read neighbouring words.
template <int eights>
struct NormParameters {
    longlong2 r[4][eights];
    int4 m[2][eights];
    uint2 s[eights];

    // Of channels 8 i .. + 7.
    __device__ __forceinline__ void put(int i, const Columns8& q) {
#pragma unroll
        for (int e = 0; e < 4; ++e) r[e][i] = make_longlong2(q.r[2 * e], q.r[2 * e + 1]);
#pragma unroll
        for (int e = 0; e < 2; ++e)
            m[e][i] = make_int4(q.m[4 * e], q.m[4 * e + 1], q.m[4 * e + 2], q.m[4 * e + 3]);
        s[i] = make_uint2(q.s[0], q.s[1]);
    }
    __device__ __forceinline__ Columns8 at(int c) const {
        Columns8 q;
#pragma unroll
        for (int e = 0; e < 4; ++e) *reinterpret_cast<longlong2*>(&q.r[2 * e]) = r[e][c / 8];
#pragma unroll
        for (int e = 0; e < 2; ++e) *reinterpret_cast<int4*>(&q.m[4 * e]) = m[e][c / 8];
        *reinterpret_cast<uint2*>(&q.s[0]) = s[c / 8];
        return q;
    }
};

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

// What rows are normalized with: their means and inverse roots.
template <int R>
struct Deviations {
    int mean[R];
    uint32_t f[R];
};
// Every lane of the warp takes part.
template <int L, int I, int R>
__device__ __forceinline__ Deviations<R> deviations(const LayerNorm& p, const uint4 (&x)[R][I]) {
    const int lane = lane_id() % L;
    Deviations<R> result;
    // Each row's root is found by a lane of its own.
    int own_sum = 0, own_mean = 0;
    int64_t own_squares = 0;
#pragma unroll
    for (int i = 0; i < R; ++i) {
        int sum = 0;
        int64_t squares = 0;
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) add_up(w[e], sum, squares);
        }
        sum = lanes_sum<L>(sum);
        squares = static_cast<int64_t>(lanes_sum52<L>(static_cast<uint64_t>(squares)));
        result.mean[i] = layernorm_mean(p, sum);
        if (i == 0 || lane == i) own_sum = sum, own_squares = squares, own_mean = result.mean[i];
    }
    const uint32_t own = inverse_deviation(p.cols, own_sum, own_squares, own_mean);
#pragma unroll
    for (int i = 0; i < R; ++i) result.f[i] = __shfl_sync(0xffffffff, own, i, L);
    return result;
}

// Normalizes channels 8 (l + L j) .. + 7 of each row and hands them to store(i, channel, bytes).
// columns(channel): their parameters. fits: Columns::fits.
template <int L, int I, int R, bool fits, bool whole, class At, class Store>
__device__ __forceinline__ void normalize_eights(const LayerNorm& p, const uint4 (&x)[R][I], int j,
                                                 const Deviations<R>& by, const At& columns,
                                                 const Store& store) {
    const int c = (lane_id() % L + L * j) * 8;
    if (c >= p.cols) return;
    const Columns8 q = columns(c);
#pragma unroll
    for (int i = 0; i < R; ++i) store(i, c, normalize8<fits, whole>(p, q, x[i][j], by.mean[i], by.f[i]));
}

// Where row `row` of the node's output comes from: the first p.rows.d tokens of each picture.
__device__ __forceinline__ const int16_t* layernorm_input(const LayerNorm& p, int row) {
    const int picture = p.rows.divide(row);
    return p.in + static_cast<int64_t>(picture * p.tokens + row - picture * p.rows.d) * p.in_stride;
}

}  // namespace ivit::cuda
