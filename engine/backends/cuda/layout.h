// SPDX-License-Identifier: Apache-2.0
// How integers lie in device memory, and the small integer tools that both sides of the bus use. Tested on
// the CPU.
#pragma once
#include <cstdint>

#include "engine/arithmetic.h"

namespace ivit::cuda {

IVIT_HD int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// Division of 0 <= n < 2^31 by a fixed d >= 1 without dividing (Granlund and Montgomery 1994): n * magic >>
// 32 + shift.
struct FastDiv {
    uint32_t magic = 0, shift = 0;
    int32_t d = 1;
    FastDiv() = default;
    explicit FastDiv(int32_t divisor) : d(divisor) {
        if (d == 1) return;
        uint32_t bits = 0;  // 2^(bits-1) < d <= 2^bits
        while ((int64_t{1} << bits) < d) ++bits;
        shift = bits - 1;
        magic = static_cast<uint32_t>((uint64_t{1} << (31 + bits)) / static_cast<uint64_t>(d) + 1);
    }
    IVIT_HD int32_t divide(int32_t n) const {
        if (d == 1) return n;
        return static_cast<int32_t>(static_cast<uint64_t>(static_cast<uint32_t>(n)) * magic >> 32 >> shift);
    }
    IVIT_HD int32_t remainder(int32_t n) const { return n - divide(n) * d; }
};

// The columns of a matrix in device memory: groups of `width` columns, each padded with zeros to `padded`,
// then the whole row padded to `stride` elements. qkv and the context have one group per head, everything
// else a single one.
struct Layout {
    int32_t cols = 0, width = 1, padded = 1, stride = 0;
    static Layout flat(int64_t cols) {
        return {static_cast<int32_t>(cols), static_cast<int32_t>(cols), static_cast<int32_t>(cols),
                static_cast<int32_t>(round_up(cols, 64))};
    }
    static Layout heads(int64_t cols, int64_t head_dim) {
        const int64_t padded = head_dim <= 32 ? 32 : head_dim <= 64 ? 64 : round_up(head_dim, 128);
        return {static_cast<int32_t>(cols), static_cast<int32_t>(head_dim), static_cast<int32_t>(padded),
                static_cast<int32_t>(round_up(cols / head_dim * padded, 64))};
    }
    int32_t at(int32_t c) const { return c / width * padded + c % width; }
    bool operator==(const Layout&) const = default;
};

// Rows of a packed weight matrix are shuffled in groups of 32, so that the eight accumulators which a thread
// of a tensor-core product holds in one row are neighbours in memory: row 8j + 2t + e of the group is channel
// 8t + 2j + e.
IVIT_HD int32_t packed_row(int32_t channel) {
    const int32_t t = channel >> 3 & 3, j = channel >> 1 & 3, e = channel & 1;
    return (channel & ~31) | 8 * j | 2 * t | e;
}

// For products on their side, W times A transposed. Where the output is bytes (linear_panel.cu), in groups of
// 16: the two rows of a thread, g and g + 8, are neighbours. Where it is the residual stream
// (linear_side.cu), as the channels are.
IVIT_HD int32_t paired_row(int32_t channel) {
    return (channel & ~15) | (channel & 1) << 3 | (channel >> 1 & 7);
}
IVIT_HD int32_t plain_row(int32_t channel) { return channel; }

// ---- Arithmetic.

// x * m + r as one instruction. (With the sum inside the assembly it becomes three, as the assembler adds r
// by itself; with the product outside, 64 by 64 bits where m stays the same.)
IVIT_HD int64_t multiply_add(int32_t x, int32_t m, int64_t r) {
#ifdef __CUDA_ARCH__
    int64_t product;
    asm("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(x), "r"(m));
    return product + r;
#else
    return int64_t{x} * m + r;
#endif
}
// (x * m + r) >> s where it fits 32 bits, at any s: the lower word of a shift of 64 bits is one instruction,
// as the upper word's shift is.
IVIT_HD int32_t scale_word(int32_t x, int32_t m, int64_t r, int s) {
    return static_cast<int32_t>(multiply_add(x, m, r) >> s);
}
// Whether |(x * m + r) >> s| <= limit for every |x| <= most. Nothing here passes 64 bits where most <= 2^31.
inline bool word_fits(int64_t most, int32_t m, int64_t r, int s, int64_t limit) {
    const auto magnitude = [](int64_t v) {
        return v < 0 ? -static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
    };
    return (static_cast<uint64_t>(most) * magnitude(m) + magnitude(r)) >> s < static_cast<uint64_t>(limit);
}

// The four signed bytes of x, each >> by 1 <= by <= 7. What was saturated to 8 bits before is saturated to
// 8 - by bits after: coarse grids cost one instruction a byte, where clamping costs two.
IVIT_HD uint32_t shift_bytes(uint32_t x, int by) {
    const uint32_t ones = 0x01010101u, sign = 0x80u >> by;
    return (((x >> by & (0xffu >> by) * ones) ^ (sign | 0x80) * ones) - sign * ones) ^ 0x80808080u;
}

// The high word of a product, plus c: one instruction, where the host's line would become four.
IVIT_HD uint32_t high_word(uint32_t a, uint32_t b, uint32_t c = 0) {
#ifdef __CUDA_ARCH__
    uint32_t high;
    asm("mad.hi.u32 %0, %1, %2, %3;" : "=r"(high) : "r"(a), "r"(b), "r"(c));
    return high;
#else
    return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32) + c;
#endif
}
IVIT_HD int32_t high_word_signed(int32_t a, int32_t b) {
#ifdef __CUDA_ARCH__
    return __mulhi(a, b);
#else
    return static_cast<int32_t>(int64_t{a} * b >> 32);
#endif
}

// What follows is the longest chain of instructions that wait for each other in a kernel for few pictures. So
// it starts from polynomials of 1 - x, tests both neighbours at once and takes 32 bits where they are enough.

// 2^30 / x of x = 2^31 .. 2^32 - 1, a fraction of 1/2 .. 1: below 2^31, as Newton steps come from below. One
// step leaves an error of 2^-18, two of 2^-29.
template <int steps>
IVIT_HD uint32_t fraction_reciprocal(uint32_t x) {
    uint32_t r = high_word(high_word(high_word(0xe3293d73u, ~x, 0x40au), ~x, 0x46fce437u), ~x, 0x3fe39adcu);
    for (int i = 0; i < steps; ++i) r = high_word(r, 0x80000000u - high_word(r, x)) << 2;  // r (2 - r x)
    return r;
}

// arith::shift_reciprocal(d, M) for 1 <= d < 2^62 where the result is below 2^32.
IVIT_HD uint32_t quick_reciprocal(int64_t d, int M) {
    uint64_t numerator = uint64_t{1} << M;
    if (M == 31) {
        numerator = 0x7fffffff;
        if (d > 0x7fffffff) d = 0x7fffffff;
    }
    const uint64_t divisor = static_cast<uint64_t>(d);
    const int lead = 63 - arith::high_bit(divisor);
    const uint32_t r = fraction_reciprocal<2>(static_cast<uint32_t>(divisor << lead >> 32));
    // 2^M / d = r / 2^30 * 2^(M - 64 + lead), to 28 bits or so.
    const int shift = 94 - M - lead;
    uint32_t q = static_cast<uint32_t>(shift < 0 ? static_cast<uint64_t>(r) << -shift
                                                 : static_cast<uint64_t>(r) >> (shift < 63 ? shift : 63));
    // What is missing is below 2^5: the same reciprocal times the rest, and both neighbours.
    int64_t rest = static_cast<int64_t>(numerator - q * divisor);
    const int32_t part = static_cast<int32_t>((lead >= 6 ? rest << (lead - 6) : rest >> (6 - lead)) >> 32);
    const int32_t more = high_word_signed(part, static_cast<int32_t>(r)) >> 24;
    q += static_cast<uint32_t>(more);
    rest -= more * d;
    return q + (rest >= d ? 1 : 0) - (rest < 0 ? 1 : 0);
}

// arith::shift_reciprocal(max(arith::isqrt(v), 1), 31) for v < 2^50, I-LayerNorm's f.
IVIT_HD uint32_t quick_inverse_root(uint64_t v) {
    const int half = (63 - arith::high_bit(v | 1)) >> 1;            // the root's leading zeros in 32 bits
    const uint32_t x = static_cast<uint32_t>(v << 2 * half >> 32);  // v as a fraction of 1/4 .. 1
    // 2^30 / sqrt(x): an error of 2^-5, then Newton's y (3 - x y^2) / 2.
    uint32_t y = high_word(high_word(0x68de4463u, ~x, 0x0086b658u), ~x, 0x4189fa69u);
    for (int i = 0; i < 3; ++i) y = high_word(y, (0x30000000u - high_word(high_word(y, y), x)) << 2) << 1;
    uint32_t root = high_word(x, y) >> (half - 2);  // within 1 of it, so that the rest fits
    const int32_t over = static_cast<int32_t>(static_cast<uint32_t>(v) - root * root);
    root += (over > static_cast<int32_t>(2 * root) ? 1 : 0) - (over < 0 ? 1 : 0);
    const uint32_t r = fraction_reciprocal<1>(root << half);
    uint32_t q = r >> (31 - half);
    q += static_cast<uint32_t>(
        high_word_signed(static_cast<int32_t>(2 * (0x7fffffffu - q * root)), static_cast<int32_t>(r)) >>
        (31 - half));
    const auto left = static_cast<int32_t>(0x7fffffffu - q * root);
    q += (left >= static_cast<int32_t>(root) ? 1 : 0) - (left < 0 ? 1 : 0);
    return v ? q : 0x7fffffffu;
}

}  // namespace ivit::cuda
