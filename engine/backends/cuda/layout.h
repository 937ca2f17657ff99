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

IVIT_HD uint32_t high_word(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
    return __umulhi(a, b);  // one instruction, where the line below becomes four
#else
    return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32);
#endif
}

// arith::shift_reciprocal(d, M) for 1 <= d < 2^62 where the result is below 2^32: three Newton steps from
// below, then the last bits by subtraction, so that it is exact.
IVIT_HD uint32_t quick_reciprocal(int64_t d, int M) {
    uint64_t numerator = uint64_t{1} << M;
    if (M == 31) {
        numerator = 0x7fffffff;
        if (d > 0x7fffffff) d = 0x7fffffff;
    }
    const int lead = 63 - arith::high_bit(static_cast<uint64_t>(d));
    const uint32_t x =
        static_cast<uint32_t>(static_cast<uint64_t>(d) << lead >> 32);  // d as a fraction of 1/2 .. 1
    uint32_t r = 0xb4b4b4b4u - high_word(0x78787878u, x);               // 48/17 - 32/17 x, on 30 bits
    for (int i = 0; i < 3; ++i) r = high_word(r, 0x80000000u - high_word(r, x)) << 2;  // r (2 - r x)
    // 2^M / d = r / 2^30 * 2^(M - 64 + lead), to 24 bits or so; two less, lest it be too much.
    const int shift = 94 - M - lead;
    const uint64_t estimate = shift >= 0 ? (shift < 64 ? static_cast<uint64_t>(r) >> shift : 0)
                                         : static_cast<uint64_t>(r) << -shift;
    const uint64_t margin = (estimate >> 24) + 2;
    uint64_t q = estimate > margin ? estimate - margin : 0;
    uint64_t rest = numerator - q * static_cast<uint64_t>(d);
    // What is missing is below 2^10: the same reciprocal times the rest, a unit less, and three comparisons.
    const uint32_t t = static_cast<uint32_t>((lead >= 10 ? rest << (lead - 10) : rest >> (10 - lead)) >> 32);
    uint32_t more = high_word(t, r) >> 20;
    more -= more > 0 ? 1 : 0;
    rest -= more * static_cast<uint64_t>(d);
    // One after the other would be three waits.
    const uint64_t one = static_cast<uint64_t>(d);
    return static_cast<uint32_t>(q) + more + (rest >= one ? 1 : 0) + (rest >= 2 * one ? 1 : 0) +
           (rest >= 3 * one ? 1 : 0);
}

// arith::shift_reciprocal(d, 31) for 1 <= d < 2^25, which a root is: in 32 bits.
IVIT_HD uint32_t quick_reciprocal31(uint32_t d) {
    const int lead = 31 - arith::high_bit(d);
    const uint32_t x = d << lead;
    uint32_t r = 0xb4b4b4b4u - high_word(0x78787878u, x);
    for (int i = 0; i < 3; ++i) r = high_word(r, 0x80000000u - high_word(r, x)) << 2;
    // (2^31 - 1) / d = r / 2^30 * 2^(lead - 1), or little less.
    const uint64_t estimate = static_cast<uint64_t>(r) << lead >> 31;
    uint32_t q = static_cast<uint32_t>(estimate < 0x7fffffff ? estimate : 0x7fffffff);
    const uint32_t margin = (q >> 24) + 2;
    q = q > margin ? q - margin : 0;
    uint32_t rest = 0x7fffffff - q * d;
    const uint32_t more =
        high_word(rest << (lead > 10 ? lead - 10 : 0) >> (lead > 10 ? 0 : 10 - lead), r) >> 20;
    const uint32_t less = more > 0 ? more - 1 : 0;
    rest -= less * d;
    return q + less + (rest >= d ? 1 : 0) + (rest >= 2 * d ? 1 : 0) + (rest >= 3 * d ? 1 : 0);
}

// arith::isqrt(v) for v < 2^50: Newton on 1 / sqrt in fixed point, then the last bits by comparison, so that
// it is exact.
IVIT_HD uint32_t quick_root(uint64_t v) {
    if (v == 0) return 0;
    const int lead = (63 - arith::high_bit(v)) & ~1;
    const uint32_t x = static_cast<uint32_t>(v << lead >> 32);  // v as a fraction of 1/4 .. 1
    uint32_t y = 0x8ccccccdu - high_word(0x53333333u, x);       // 2.2 - 1.3 x, on 30 bits
    for (int i = 0; i < 4; ++i)                                 // y (3 - x y^2) / 2
        y = high_word(y, (0x30000000u - high_word(high_word(y, y), x)) << 2) << 1;
    uint32_t root = high_word(x, y) >> (lead / 2 - 2);  // within 1 of it
    root -= root > 0 ? 1 : 0;
    const auto within = [&](uint32_t r) { return static_cast<uint64_t>(r) * r <= v ? 1u : 0u; };
    return root + within(root + 1) + within(root + 2) + within(root + 3);
}

}  // namespace ivit::cuda
