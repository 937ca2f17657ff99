// SPDX-License-Identifier: Apache-2.0
// AVX-VNNI: the 256-bit vpdpbusd for the matrix product; the rest is AVX2's.
#include "engine/backends/cpu/avx2.h"

namespace ivit::cpu {
namespace {

// 16 of the panel's columns: 12 accumulators of the 16 vector registers.
template <int rows>
__attribute__((always_inline)) inline void multiply(const uint8_t* a, int64_t lda, const int8_t* b,
                                                    int64_t k4, int width, __m256i (&acc)[rows][2]) {
    for (int64_t k = 0; k < k4; ++k, b += width * 4, a += 4) {
        const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
        const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 32));
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) {
            int32_t word;
            __builtin_memcpy(&word, a + r * lda, 4);
            const __m256i x = _mm256_set1_epi32(word);
            acc[r][0] = _mm256_dpbusd_avx_epi32(acc[r][0], x, w0);
            acc[r][1] = _mm256_dpbusd_avx_epi32(acc[r][1], x, w1);
        }
    }
}

template <int rows>
void tile(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
          const int32_t* init, int width, int32_t* out) {
    for (int c = 0; c < width; c += 16) {
        __m256i acc[rows][2];
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
        if (a_high) {
            multiply<rows>(a_high, lda, b + c * 4, k4, width, acc);
#pragma GCC unroll 6
            for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
                for (int v = 0; v < 2; ++v) acc[r][v] = _mm256_slli_epi32(acc[r][v], 8);
        }
        multiply<rows>(a, lda, b + c * 4, k4, width, acc);
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
            for (int v = 0; v < 2; ++v) {
                const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(init + c + v * 8));
                _mm256_store_si256(reinterpret_cast<__m256i*>(out + r * tile_cols + c + v * 8),
                                   _mm256_add_epi32(acc[r][v], start));
            }
    }
}

void gemm_tile(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc, const Finish& before) {
    finish(avxvnni_kernels(), before);
    const uint8_t* const a_high = high ? high->bytes : nullptr;
    tile_of_rows(rows, [&]<int count>() { tile<count>(a, a_high, lda, b, k4, init, width, acc); });
}

#define MULTIPLY(n) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" n "\n\t"
MULTIPLY_ONLY(MULTIPLY)

}  // namespace

const Kernels& avxvnni_kernels() {
    static const Kernels k = [] {
        Kernels all = avx2_kernels();
        all.gemm_tile = gemm_tile;
        all.multiply_only = multiply_only;
        all.macs_per_round = 12 * 32;
        return all;
    }();
    return k;
}

}  // namespace ivit::cpu
