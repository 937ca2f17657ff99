// SPDX-License-Identifier: Apache-2.0
// The AVX2 kernels that have a file of their own; AVX-VNNI shares them. And what the files of both have in
// common, static all of it: see kernels.h.
#pragma once
#pragma GCC diagnostic ignored "-Wunused-function"  // not every file needs everything
#include <immintrin.h>

#include "engine/backends/cpu/kernels.h"

namespace ivit::cpu::avx2 {

bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* groups);
void lookup(const uint8_t* table, uint8_t* x, int64_t n);
void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init);
void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out);
void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi, int16_t* out);
void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width);

}  // namespace ivit::cpu::avx2

namespace ivit::cpu {
namespace {

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

// The sum of four numbers.
int64_t sum64(__m256i x) {
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}

// Calls the one of tile<1>() .. tile<6>() that `rows` says.
template <typename Tile>
void tile_of_rows(int rows, const Tile& tile) {
    switch (rows) {
        case 6:
            return tile.template operator()<6>();
        case 5:
            return tile.template operator()<5>();
        case 4:
            return tile.template operator()<4>();
        case 3:
            return tile.template operator()<3>();
        case 2:
            return tile.template operator()<2>();
        default:
            return tile.template operator()<1>();
    }
}

// The limit: kernels.h, multiply_only. MULTIPLY("n") is the instruction for accumulator ymm<n>; they, and the
// ymm12 and ymm13 it multiplies, are whatever the registers hold. In so many words: the compiler keeps an
// array of accumulators in memory.
#define MULTIPLY_ONLY(MULTIPLY)                                                                        \
    int32_t multiply_only(int64_t rounds) {                                                            \
        int32_t word = 0;                                                                              \
        if (rounds < 1) return word;                                                                   \
        asm volatile("1:\n\t" MULTIPLY("0") MULTIPLY("1") MULTIPLY("2") MULTIPLY("3") MULTIPLY("4")    \
                         MULTIPLY("5") MULTIPLY("6") MULTIPLY("7") MULTIPLY("8") MULTIPLY("9")         \
                             MULTIPLY("10") MULTIPLY("11") "dec %0\n\tjnz 1b\n\tvmovd %%xmm0, %1"      \
                     : "+r"(rounds), "=r"(word)                                                        \
                     :                                                                                 \
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "cc");                             \
        return word;                                                                                   \
    }

}  // namespace
}  // namespace ivit::cpu
