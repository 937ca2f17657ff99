// SPDX-License-Identifier: Apache-2.0
// What happens to a matrix product's accumulators on their way to memory: eight neighbouring channels of one
// row at a time, which is what one thread of a product on packed_row weights holds (layout.h).
#pragma once
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

// The 256-entry GELU table in shared memory, in the order of the bytes without their sign, a word per entry
// and `copies` of it in neighbouring banks, so that few lanes collide. (A word of four entries for every bank
// lets none collide and costs more, in instructions.) What the grid of the products clamps finds the entry of
// the grid's end.
constexpr int table_copies = 8, table_bytes_each = 256 * 4, table_bytes = table_copies * table_bytes_each;
template <int copies = table_copies>
__device__ __forceinline__ void spread_table(const Linear& p, uint32_t* shared) {
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        const uint32_t y = static_cast<uint8_t>(
            __ldg(p.table + clamp32(static_cast<int8_t>(i), p.columns.low, p.columns.top) + 128));
        uint4* const to = reinterpret_cast<uint4*>(shared + i * copies);
#pragma unroll
        for (int c = 0; c < copies / 4; ++c) to[c] = make_uint4(y, y, y, y);
    }
}
// Four table entries for four signed bytes: a product with one byte of four is that entry's address.
template <int copies = table_copies>
__device__ __forceinline__ uint32_t look_up4(const uint32_t* shared, uint32_t x) {
    const uint32_t lane = static_cast<uint32_t>(lane_id()) % copies;
    uint32_t y[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) y[e] = shared[__dp4a(x, static_cast<uint32_t>(copies) << 8 * e, lane)];
    return __byte_perm(__byte_perm(y[0], y[1], 0x0040), __byte_perm(y[2], y[3], 0x0040), 0x5410);
}

// Loads that happen here, not where the compiler thinks best.
__device__ __forceinline__ void load_here(int* to, const int32_t* from) {
    asm volatile("ld.global.nc.v4.s32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "l"(from));
}
__device__ __forceinline__ void load_here(int64_t* to, const int64_t* from) {
    asm volatile("ld.global.nc.v2.s64 {%0, %1}, [%2];" : "=l"(to[0]), "=l"(to[1]) : "l"(from));
}
__device__ __forceinline__ void load_here(uint32_t* to, const uint8_t* from) {
    asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
}

// Requantization of eight channels.
struct Columns8 {
    int m[8];
    int64_t r[8];
    uint32_t s[2];
    Columns8() = default;
    static __device__ __forceinline__ Columns8 ask(const Columns& p, int c) {
        Columns8 q;
        load_here(&q.m[0], p.m + c);
        load_here(&q.m[4], p.m + c + 4);
#pragma unroll
        for (int e = 0; e < 8; e += 2) load_here(&q.r[e], p.r + c + e);
        load_here(&q.s[0], p.s + c);
        return q;
    }
    __device__ __forceinline__ Columns8(const Columns& p, int c) {
        *reinterpret_cast<int4*>(&m[0]) = __ldg(reinterpret_cast<const int4*>(p.m + c));
        *reinterpret_cast<int4*>(&m[4]) = __ldg(reinterpret_cast<const int4*>(p.m + c + 4));
#pragma unroll
        for (int e = 0; e < 8; e += 2)
            *reinterpret_cast<longlong2*>(&r[e]) = __ldg(reinterpret_cast<const longlong2*>(p.r + c + e));
        *reinterpret_cast<uint2*>(&s[0]) = __ldg(reinterpret_cast<const uint2*>(p.s + c));
    }
    __device__ __forceinline__ int shift(int e) const {
        return static_cast<int>(__byte_perm(s[e / 4], 0, 0x4440 + (e & 3)));
    }
};

// Channels c .. c + 7 of the residual stream's row `row`.
__device__ __forceinline__ uint4 residual8(const Linear& p, int row, int c) {
    return *reinterpret_cast<const uint4*>(p.residual + static_cast<int64_t>(row) * p.ldo + c);
}

// Signed 16-bit pairs: two integers saturated; and their clamp.
__device__ __forceinline__ uint32_t pack_s16(int a, int b) {
    uint32_t both;
    asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(both) : "r"(b), "r"(a));
    return both;
}
__device__ __forceinline__ uint4 pack8_s16(const int (&y)[8], int low, int top) {
    const uint32_t low2 = pack_s16(low, low), top2 = pack_s16(top, top);
    uint32_t w[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) w[e] = __vmins2(__vmaxs2(pack_s16(y[2 * e], y[2 * e + 1]), low2), top2);
    return make_uint4(w[0], w[1], w[2], w[3]);
}

// Requantization of eight channels, not yet clamped to the output's grid. fits: Columns::fits.
template <Epilogue E, bool fits>
__device__ __forceinline__ void scale8(const Columns8& q, const int (&acc)[8], int (&y)[8]) {
#pragma unroll
    for (int e = 0; e < 8; ++e) {
        if constexpr (fits) {
            y[e] = scale_word(acc[e], q.m[e], q.r[e], q.shift(e));
        } else {
            int64_t scaled = scale_any(acc[e], q.m[e], q.r[e], q.shift(e));
            if constexpr (E == Epilogue::residual)
                scaled = arith::clamp(scaled, -(int64_t{1} << 30), int64_t{1} << 30);
            else
                scaled = arith::clamp(scaled, INT32_MIN, INT32_MAX);
            y[e] = static_cast<int>(scaled);
        }
    }
}

// round_shift(t * mt, st) of the residual stream's t, given t 2^16: then the high word of the product is all
// it needs, as 17 <= st <= 47. At most 30 bits either way.
__device__ __forceinline__ int stream_share(const Linear& p, uint32_t stream_high) {
    return scale_top(static_cast<int>(stream_high), p.mt, 1 << (p.st - 17), p.st - 16);
}
// What follows it: Epilogue::residual, old: residual8 of the same place.
__device__ __forceinline__ uint4 add_residual8(const Linear& p, int (&y)[8], const uint4& old) {
    const uint32_t w[4] = {old.x, old.y, old.z, old.w};
#pragma unroll
    for (int e = 0; e < 8; ++e) y[e] += stream_share(p, e & 1 ? w[e / 2] & 0xffff0000 : w[e / 2] << 16);
    return pack8_s16(y, p.columns.low, p.columns.top);
}
// Epilogue::position, of token `token`.
__device__ __forceinline__ uint4 add_position8(const Linear& p, int token, int c, int (&y)[8]) {
    const int4* constant =
        reinterpret_cast<const int4*>(p.position + static_cast<int64_t>(token) * p.ldo + c);
    const int4 a = __ldg(constant), b = __ldg(constant + 1);
    const int add[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int e = 0; e < 8; ++e)
        y[e] = (token == 0 ? 0 : clamp32(y[e], p.columns.low, p.columns.top)) + add[e];
    return pack8_s16(y, p.low2, p.top2);
}
// Eight bytes on the grid of the columns. whole: that is all bytes.
template <bool whole = false>
__device__ __forceinline__ uint2 bytes8(const Columns& columns, const int (&y)[8]) {
    uint2 eight = make_uint2(pack4(y[0], y[1], y[2], y[3]), pack4(y[4], y[5], y[6], y[7]));
    if (!whole && columns.spare > 0)
        eight = make_uint2(shift_bytes(eight.x, columns.spare), shift_bytes(eight.y, columns.spare));
    return eight;
}

// acc: channels c .. c + 7 of row `row`. old: residual8 of them, for Epilogue::residual. table:
// spread_table's, for Epilogue::gelu. fits: Columns::fits.
template <Epilogue E, bool fits>
__device__ __forceinline__ void store8(const Linear& p, const uint32_t* table, int row, int c,
                                       const Columns8& q, const int (&acc)[8], const uint4& old) {
    const int64_t at = static_cast<int64_t>(row) * p.ldo + c;
    int y[8];
    scale8<E, fits>(q, acc, y);
    if constexpr (E == Epilogue::residual) {
        *reinterpret_cast<uint4*>(static_cast<int16_t*>(p.out) + at) = add_residual8(p, y, old);
    } else if constexpr (E == Epilogue::gelu) {
        *reinterpret_cast<uint2*>(static_cast<int8_t*>(p.out) + at) = make_uint2(
            look_up4(table, pack4(y[0], y[1], y[2], y[3])), look_up4(table, pack4(y[4], y[5], y[6], y[7])));
    } else if constexpr (E == Epilogue::int8) {
        *reinterpret_cast<uint2*>(static_cast<int8_t*>(p.out) + at) = bytes8(p.columns, y);
    } else if constexpr (E == Epilogue::position) {
        *reinterpret_cast<uint4*>(static_cast<int16_t*>(p.out) + at) =
            add_position8(p, p.tokens.remainder(row), c, y);
    } else {
        int4* to = reinterpret_cast<int4*>(static_cast<int32_t*>(p.out) + at);
        to[0] = make_int4(y[0], y[1], y[2], y[3]);
        to[1] = make_int4(y[4], y[5], y[6], y[7]);
    }
}

constexpr Epilogue epilogues[] = {Epilogue::int8, Epilogue::gelu, Epilogue::residual, Epilogue::position,
                                  Epilogue::logits};
// f<E>() for a value of E.
#pragma nv_exec_check_disable
template <class F>
__host__ __device__ __forceinline__ void with_epilogue(Epilogue epilogue, const F& f) {
    switch (epilogue) {
        case Epilogue::int8:
            return f.template operator()<Epilogue::int8>();
        case Epilogue::gelu:
            return f.template operator()<Epilogue::gelu>();
        case Epilogue::residual:
            return f.template operator()<Epilogue::residual>();
        case Epilogue::position:
            return f.template operator()<Epilogue::position>();
        case Epilogue::logits:
            return f.template operator()<Epilogue::logits>();
    }
}

}  // namespace ivit::cuda
