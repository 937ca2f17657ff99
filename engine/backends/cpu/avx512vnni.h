// SPDX-License-Identifier: Apache-2.0
// What the AVX-512 VNNI kernels share. Everything is static, and declared nowhere else: see kernels.h.
#pragma once
// GCC 12 warns about its own intrinsics' undefined vectors (PR 105593), and not every file needs everything.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <immintrin.h>

#include "engine/backends/cpu/kernels.h"

namespace ivit::cpu {

// One set of kernels, a file for each operator.
namespace avx512 {
void gemm_tile(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc, const Finish& before);
void lift(int32_t* acc, int rows, int cols, const int32_t* lift);
void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo);
void requant_i16(const int32_t* acc, int rows, int cols, const RequantView& q, int16_t* out, int64_t ldo);
void residual_add(const int32_t* acc, int rows, int cols, const RequantView& q, const ResidualView& old,
                  const int16_t* t, int16_t* out, int64_t ld);
void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out);
bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* groups);
// For any shift and clamp. q has planes, and the processor VBMI.
bool shiftmax_any(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
                  uint8_t* high, uint64_t* groups);
void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init);
void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width);
void lookup(const uint8_t* table, uint8_t* x, int64_t n);
void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out);
void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi, int16_t* out);
int32_t multiply_only(int64_t rounds);
}  // namespace avx512

namespace {

// Odd lanes to even ones, where vpmuldq reads.
__m512i odd(__m512i x) { return _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(0xF5)); }

// The upper halves of the products of even and odd lanes, in lane order.
__m512i upper(__m512i even_products, __m512i odd_products) {
    return _mm512_mask_shuffle_epi32(odd_products, 0x5555, even_products, static_cast<_MM_PERM_ENUM>(0xF5));
}

__mmask16 lanes16(int count) {
    return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1u);
}
__mmask64 lanes64(int64_t count) { return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1; }

__m512i broadcast4(const uint8_t* a) {
    int32_t word;
    __builtin_memcpy(&word, a, 4);
    return _mm512_set1_epi32(word);
}

// 16 columns' constants.
struct Columns {
    __m512i m_even, m_odd, half, shift;
};

Columns columns(const RequantView& q, int c) {
    Columns k;
    k.m_even = _mm512_loadu_si512(q.m + c);
    k.m_odd = odd(k.m_even);
    k.half = _mm512_loadu_si512(q.half + c);
    k.shift = _mm512_loadu_si512(q.shift + c);
    return k;
}

// round_shift(x * m, s) for s >= 33: 2^(s-1) is a multiple of 2^32, so it can be added to the upper word.
__m512i scaled(__m512i x, const Columns& k) {
    const __m512i product = upper(_mm512_mul_epi32(x, k.m_even), _mm512_mul_epi32(odd(x), k.m_odd));
    return _mm512_srav_epi32(_mm512_add_epi32(product, k.half), k.shift);
}

// Four vectors of int32 (64 columns) to 64 bytes, saturated, in order.
__m512i pack_bytes(const __m512i (&x)[4]) {
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, bytes);
}

// A table of 256 bytes is looked up 64 at a time with `vbmi`: Zen 4, Ice Lake and later.
bool has_vbmi() { return __builtin_cpu_supports("avx512vbmi"); }

}  // namespace
}  // namespace ivit::cpu
