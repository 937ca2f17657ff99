// SPDX-License-Identifier: Apache-2.0
// What happens to a matrix product's accumulators on their way to memory: eight neighbouring channels of one
// row at a time, which is what one thread of a product on packed_row weights holds (layout.h).
#pragma once
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

// The 256-entry GELU table in shared memory, one copy per bank, so that no two lanes ever collide.
constexpr int table_bytes = 64 * 32 * 4;
__device__ __forceinline__ void spread_table(const int8_t* table, uint32_t* shared) {
    for (int i = threadIdx.x; i < 64 * 32; i += blockDim.x)
        shared[i] = __ldg(reinterpret_cast<const uint32_t*>(table) + i / 32);
}
// Four table entries for four signed bytes.
__device__ __forceinline__ uint32_t look_up4(const uint32_t* shared, uint32_t x) {
    const uint32_t u = x ^ 0x80808080u;
    uint32_t y = 0;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        const uint32_t i = u >> 8 * e & 255;
        const uint32_t word = shared[(i >> 2) * 32 + lane_id()];
        y |= (word >> 8 * (i & 3) & 255) << 8 * e;
    }
    return y;
}

// Requantization of eight channels.
struct Columns8 {
    int m[8];
    int64_t r[8];
    uint32_t s[2];
    Columns8() = default;
    __device__ __forceinline__ Columns8(const Columns& p, int c) {
        *reinterpret_cast<int4*>(&m[0]) = __ldg(reinterpret_cast<const int4*>(p.m + c));
        *reinterpret_cast<int4*>(&m[4]) = __ldg(reinterpret_cast<const int4*>(p.m + c + 4));
#pragma unroll
        for (int e = 0; e < 8; e += 2)
            *reinterpret_cast<longlong2*>(&r[e]) = __ldg(reinterpret_cast<const longlong2*>(p.r + c + e));
        *reinterpret_cast<uint2*>(&s[0]) = __ldg(reinterpret_cast<const uint2*>(p.s + c));
    }
    __device__ __forceinline__ int shift(int e) const { return s[e / 4] >> 8 * (e & 3) & 255; }
};

// Channels c .. c + 7 of the residual stream's row `row`; zeros where the epilogue adds none.
__device__ __forceinline__ uint4 residual8(const Linear& p, int row, int c) {
    if (p.epilogue != Epilogue::residual) return make_uint4(0, 0, 0, 0);
    return *reinterpret_cast<const uint4*>(p.residual + static_cast<int64_t>(row) * p.ldo + c);
}

// acc: channels c .. c + 7 of row `row`. old: residual8 of them. table: spread_table's, for Epilogue::gelu.
__device__ __forceinline__ void store8(const Linear& p, const uint32_t* table, int row, int c,
                                       const Columns8& q, const int (&acc)[8], const uint4& old) {
    const int64_t at = static_cast<int64_t>(row) * p.ldo + c;
    if (p.epilogue == Epilogue::residual) {
        const uint32_t w[4] = {old.x, old.y, old.z, old.w};
        const int64_t rt = int64_t{1} << (p.st - 1);
        int y[8];
#pragma unroll
        for (int e = 0; e < 8; ++e) {
            const int t = e & 1 ? static_cast<int>(w[e / 2]) >> 16 : static_cast<int16_t>(w[e / 2]);
            const int64_t kept = scale_any(t, p.mt, rt, p.st);
            y[e] = p.columns.high
                       ? clamp32(scale_high(acc[e], q.m[e], q.r[e], q.shift(e) - 32) + static_cast<int>(kept),
                                 p.columns.low, p.columns.top)
                       : static_cast<int>(arith::clamp(scale_any(acc[e], q.m[e], q.r[e], q.shift(e)) + kept,
                                                       p.columns.low, p.columns.top));
        }
        *reinterpret_cast<uint4*>(static_cast<int16_t*>(p.out) + at) =
            make_uint4(pack2(y[0], y[1]), pack2(y[2], y[3]), pack2(y[4], y[5]), pack2(y[6], y[7]));
        return;
    }
    int y[8];
    if (p.columns.high) {
#pragma unroll
        for (int e = 0; e < 8; ++e)
            y[e] = clamp32(scale_high(acc[e], q.m[e], q.r[e], q.shift(e) - 32), p.columns.low, p.columns.top);
    } else {
#pragma unroll
        for (int e = 0; e < 8; ++e)
            y[e] = static_cast<int>(
                arith::clamp(scale_any(acc[e], q.m[e], q.r[e], q.shift(e)), p.columns.low, p.columns.top));
    }
    if (p.epilogue == Epilogue::int8 || p.epilogue == Epilogue::gelu) {
        uint2 bytes = make_uint2(pack4(y[0], y[1], y[2], y[3]), pack4(y[4], y[5], y[6], y[7]));
        if (p.epilogue == Epilogue::gelu)
            bytes = make_uint2(look_up4(table, bytes.x), look_up4(table, bytes.y));
        *reinterpret_cast<uint2*>(static_cast<int8_t*>(p.out) + at) = bytes;
    } else if (p.epilogue == Epilogue::position) {
        const int token = p.tokens.remainder(row);
        const int4* constant =
            reinterpret_cast<const int4*>(p.position + static_cast<int64_t>(token) * p.ldo + c);
        const int4 a = __ldg(constant), b = __ldg(constant + 1);
        const int add[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
        for (int e = 0; e < 8; ++e) y[e] = clamp32((token == 0 ? 0 : y[e]) + add[e], p.low2, p.top2);
        *reinterpret_cast<uint4*>(static_cast<int16_t*>(p.out) + at) =
            make_uint4(pack2(y[0], y[1]), pack2(y[2], y[3]), pack2(y[4], y[5]), pack2(y[6], y[7]));
    } else {
        int4* to = reinterpret_cast<int4*>(static_cast<int32_t*>(p.out) + at);
        to[0] = make_int4(y[0], y[1], y[2], y[3]);
        to[1] = make_int4(y[4], y[5], y[6], y[7]);
    }
}

}  // namespace ivit::cuda
