// SPDX-License-Identifier: Apache-2.0
// The scalar functions of arithmetic.md, once, for every backend: plain C++ on the CPU, __host__ __device__
// under nvcc. Integers only; nothing here may touch a floating-point type (tests/integer_only_test proves it
// on the objects).
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define IVIT_HD __host__ __device__ __forceinline__
#else
#define IVIT_HD inline
#endif

namespace ivit {

// The operator parameters of Shiftmax and ShiftGELU (arithmetic.md, Shiftmax, ShiftGELU; I-ViT
// section 3.3, 3.4).
struct ShiftParams {
    int n = 15;              // how far the exponential reaches: 2^-n is the last value before zero; 1..30
    int k = 16;              // output bits (softmax: 4..16; sigmoid of GELU: 4..16)
    int M = 47;              // bits of the division 2^M / d; 16..62, 31 as published
    int t = 4;               // pre-shift of the logits; 0 (as published) .. 8
    bool row_pivot = false;  // ShiftGELU only: max over the row (as published) or max(0, x)
    bool operator==(const ShiftParams&) const = default;
};

namespace arith {

// (x + 2^(s-1)) >> s: half rounds up. |x| < 2^62, 1 <= s <= 62. arithmetic.md, Dyadic numbers.
IVIT_HD int64_t round_shift(int64_t x, int s) { return (x + (int64_t{1} << (s - 1))) >> s; }

IVIT_HD int64_t clamp(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : x > hi ? hi : x; }

// clamp(round_shift(x * m, s)) to b signed bits. arithmetic.md, Dyadic numbers.
IVIT_HD int32_t requant(int64_t x, int32_t m, int s, int b) {
    return static_cast<int32_t>(
        clamp(round_shift(x * m, s), -(int64_t{1} << (b - 1)), (int64_t{1} << (b - 1)) - 1));
}

// Index of the highest set bit of v > 0.
IVIT_HD int high_bit(uint64_t v) {
#ifdef __CUDA_ARCH__
    return 63 - __clzll(static_cast<long long>(v));
#else
    return 63 - __builtin_clzll(v);
#endif
}

// a / b by shifts and subtractions, b > 0. A GPU has no integer division: its compiler goes through a
// floating-point reciprocal, which has no place on an integer path.
IVIT_HD uint64_t divide_by_shifts(uint64_t a, uint64_t b) {
    uint64_t q = 0;
    if (a < b) return q;
    for (int i = high_bit(a) - high_bit(b); i >= 0; --i)
        if (a >> i >= b) {
            a -= b << i;
            q |= uint64_t{1} << i;
        }
    return q;
}

// a / b for a >= 0, b > 0: every division below.
IVIT_HD int64_t divide(int64_t a, int64_t b) {
#ifdef __CUDA_ARCH__
    return static_cast<int64_t>(divide_by_shifts(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
#else
    return a / b;
#endif
}

// i0 * 2^n * exp(x / i0), near enough, for x <= 0; at least 1. 1 <= i0 < 2^31, 1 <= n <= 30. arithmetic.md,
// Shiftmax.
IVIT_HD int64_t shift_exp(int64_t x, int64_t i0, int n) {
    x = x + (x >> 1) - (x >> 4);
    const int64_t least = -static_cast<int64_t>(n) * i0;
    if (x < least) x = least;
    const int64_t q = divide(-x, i0);
    const int64_t r = -x - q * i0;
    const int64_t v = 2 * i0 - r;
    const int64_t e = n - q;
    return e >= 1 ? v << (e - 1) : v >> 1;
}

// 2^M / d, with the published form for M = 31. d >= 1. arithmetic.md, Shiftmax.
IVIT_HD int64_t shift_reciprocal(int64_t d, int M) {
    if (M == 31) {
        const int64_t top = 0x7fffffff;
        return divide(top, d < top ? d : top);
    }
    return divide(int64_t{1} << M, d);
}

// The share of e in the sum whose reciprocal is f, on k bits: 0 .. 2^(k-1). The clamp only ever acts in the
// published form (M = 31) on sums past 2^31, where the division has run out of bits. arithmetic.md, Shiftmax.
IVIT_HD int64_t shift_share(int64_t e, int64_t f, int M, int k) {
    const int64_t p = (f * e) >> (M - k + 1), top = int64_t{1} << (k - 1);
    return p < top ? p : top;
}

// floor(sqrt(v)), exact for 0 <= v < 2^62: Newton from above, run until it stops falling. arithmetic.md,
// I-LayerNorm.
IVIT_HD int64_t isqrt(int64_t v) {
    if (v < 1) return 0;
    int bits = 0;
    for (int64_t w = v; w; w >>= 1) ++bits;
    int64_t x = int64_t{1} << ((bits + 1) / 2);
    for (;;) {
        const int64_t y = (x + divide(v, x)) >> 1;
        if (y >= x) return x;
        x = y;
    }
}

// Floor division by a positive number.
IVIT_HD int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? divide(a, b) : -divide(-a + b - 1, b); }

// A normalized value y (|y| <= 2^30) times gamma plus beta, on the output grid of b bits. arithmetic.md,
// I-LayerNorm.
IVIT_HD int32_t layernorm_out(int64_t y, int32_t m, int64_t B, int s, int b) {
    return static_cast<int32_t>(
        clamp(round_shift(y * m + B, s), -(int64_t{1} << (b - 1)), (int64_t{1} << (b - 1)) - 1));
}

}  // namespace arith
}  // namespace ivit
