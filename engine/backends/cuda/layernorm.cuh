// SPDX-License-Identifier: Apache-2.0
// I-LayerNorm of rows by one warp (arithmetic.md, I-LayerNorm), used alone and as the first step of a linear
// layer.
#pragma once
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

// Normalizes `count` <= R rows of the residual stream and hands eight channels at a time to store(i, channel,
// bytes). Every lane of the warp takes part; I = ceil(cols / 256). |d * f| < 2^31 because |d| <=
// floor(sqrt(v)).
template <int I, int R, class Store>
__device__ __forceinline__ void layernorm_rows(const LayerNorm& p, const int16_t* const (&in)[R], int count,
                                               const Store& store) {
    const int lane = lane_id();
    const int loaded = (p.cols + 7) & ~7;  // the channels after cols are zeros in the residual stream
    uint4 x[R][I];
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const int c = (lane + 32 * j) * 8;
            x[i][j] =
                i < count && c < loaded ? *reinterpret_cast<const uint4*>(in[i] + c) : make_uint4(0, 0, 0, 0);
        }
    // Step by step over all rows, so that one row's reductions hide another's.
    int mean[R];
    uint64_t v[R];
    uint32_t f[R];
#pragma unroll
    for (int i = 0; i < R; ++i) {
        int sum = 0;
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) sum += static_cast<int16_t>(w[e]) + (static_cast<int>(w[e]) >> 16);
        }
        mean[i] = warp_sum(sum);
    }
#pragma unroll
    for (int i = 0; i < R; ++i) {
        // floor((2 sum + C) / 2C), moved into non-negative numbers and back.
        mean[i] = p.mean.divide(2 * mean[i] + p.cols + 32768 * p.mean.d) - 32768;
        v[i] = 0;
#pragma unroll
        for (int j = 0; j < I; ++j) {
            const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int a = static_cast<int16_t>(w[e]) - mean[i],
                          b = (static_cast<int>(w[e]) >> 16) - mean[i];
                v[i] = static_cast<uint64_t>(multiply_add(a, a, static_cast<int64_t>(v[i])));
                v[i] = static_cast<uint64_t>(multiply_add(b, b, static_cast<int64_t>(v[i])));
            }
        }
        v[i] = warp_sum64(v[i]);
    }
#pragma unroll
    for (int i = 0; i < R; ++i)  // each zero that is no channel has added mean^2
        v[i] -= static_cast<uint64_t>(static_cast<int64_t>(mean[i]) * mean[i]) *
                static_cast<uint32_t>(32 * I * 8 - p.cols);
    warp_inverse_root<R>(v, f);
#pragma unroll
    for (int j = 0; j < I; ++j) {
        const int c = (lane + 32 * j) * 8;
        if (c >= loaded) continue;
        int m[8];
        int64_t r[8];
        uint32_t s[2];
        *reinterpret_cast<int4*>(&m[0]) = __ldg(reinterpret_cast<const int4*>(p.columns.m + c));
        *reinterpret_cast<int4*>(&m[4]) = __ldg(reinterpret_cast<const int4*>(p.columns.m + c + 4));
#pragma unroll
        for (int e = 0; e < 8; e += 2)
            *reinterpret_cast<longlong2*>(&r[e]) =
                __ldg(reinterpret_cast<const longlong2*>(p.columns.r + c + e));
        *reinterpret_cast<uint2*>(&s[0]) = __ldg(reinterpret_cast<const uint2*>(p.columns.s + c));
        const auto emit = [&](const auto& scale) {
#pragma unroll
            for (int i = 0; i < R; ++i) {
                if (i >= count) continue;
                const uint32_t w[4] = {x[i][j].x, x[i][j].y, x[i][j].z, x[i][j].w};
                int y[8];
#pragma unroll
                for (int e = 0; e < 8; ++e) {
                    const int d =
                        (e & 1 ? static_cast<int>(w[e / 2]) >> 16 : static_cast<int16_t>(w[e / 2])) - mean[i];
                    y[e] = scale((d * static_cast<int>(f[i])) >> 1, m[e], r[e],
                                 static_cast<int>(__byte_perm(s[e / 4], 0, 0x4440 + (e & 3))));
                }
                if (p.columns.top != 127)  // fewer than 8 bits
#pragma unroll
                    for (int e = 0; e < 8; ++e) y[e] = clamp32(y[e], p.columns.low, p.columns.top);
                store(i, c, make_uint2(pack4(y[0], y[1], y[2], y[3]), pack4(y[4], y[5], y[6], y[7])));
            }
        };
        if (p.columns.high)
            emit([](int z, int m, int64_t r, int shift) { return scale_high(z, m, r, shift); });
        else
            emit([](int z, int m, int64_t r, int shift) {
                return static_cast<int>(arith::clamp(scale_any(z, m, r, shift), INT32_MIN, INT32_MAX));
            });
    }
}

// Where row `row` of the node's output comes from: the first p.rows.d tokens of each picture.
__device__ __forceinline__ const int16_t* layernorm_input(const LayerNorm& p, int row) {
    const int picture = p.rows.divide(row);
    return p.in + static_cast<int64_t>(picture * p.tokens + row - picture * p.rows.d) * p.in_stride;
}

}  // namespace ivit::cuda
