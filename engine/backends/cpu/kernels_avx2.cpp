// SPDX-License-Identifier: Apache-2.0
// AVX2 kernels: 8 lanes of int32. vpmaddubsw saturates, so the matrix product widens both sides to 16 bits
// and uses vpmaddwd, which is exact.
#include "engine/backends/cpu/avx2.h"

namespace ivit::cpu {
namespace {

// ---- GEMM ----

constexpr int64_t k_chunk = 128;  // groups of four k whose a's are widened at once

// out += a * b, 8 of the panel's columns. acc[r][v] holds, for each of 4 columns, the sums over k = 0, 1 and
// over k = 2, 3 (mod 4). More than three rows at once, and the 16 vector registers no longer hold them.
template <int rows>
void eight(const int16_t (*a)[k_chunk * 4], const int8_t* b, int64_t k4, int width, int32_t* out) {
    __m256i acc[rows][2];
#pragma GCC unroll 3
    for (int r = 0; r < rows; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
    for (int64_t k = 0; k < k4; ++k, b += width * 4) {
        const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
        const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 16)));
#pragma GCC unroll 3
        for (int r = 0; r < rows; ++r) {
            int64_t four;
            __builtin_memcpy(&four, &a[r][4 * k], 8);
            const __m256i x = _mm256_set1_epi64x(four);
            acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(x, w0));
            acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(x, w1));
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; ++r) {
        const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[r][0], acc[r][1]), 0xD8);
        store(out + r * tile_cols, _mm256_add_epi32(sums, load(out + r * tile_cols)));
    }
}

// One plane of a: out += a * b.
template <int rows>
void plane(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4, int width, int32_t* out) {
    alignas(32) int16_t wide[tile_rows][k_chunk * 4];
    for (int64_t first = 0; first < k4; first += k_chunk) {
        const int64_t count = k4 - first < k_chunk ? k4 - first : k_chunk;
        for (int r = 0; r < rows; ++r) {
            const uint8_t* row = a + r * lda + first * 4;
            int64_t k = 0;
            for (; k + 4 <= count; k += 4)
                store(&wide[r][4 * k],
                      _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 4 * k))));
            for (k *= 4; k < 4 * count; ++k) wide[r][k] = row[k];
        }
        constexpr int upper = rows > 3 ? (rows + 1) / 2 : rows, lower = rows - upper;
        const int8_t* panel = b + first * width * 4;
        for (int c = 0; c < width; c += 8) {
            eight<upper>(wide, panel + c * 4, count, width, out + c);
            if constexpr (lower > 0)
                eight<lower>(wide + upper, panel + c * 4, count, width, out + upper * tile_cols + c);
        }
    }
}

template <int rows>
void tile(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
          const int32_t* init, int width, int32_t* out) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < width; c += 8)
            store(out + r * tile_cols + c, a_high ? _mm256_setzero_si256() : load(init + c));
    if (a_high) {
        plane<rows>(a_high, lda, b, k4, width, out);
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < width; c += 8) {
                int32_t* y = out + r * tile_cols + c;
                store(y, _mm256_add_epi32(_mm256_slli_epi32(load(y), 8), load(init + c)));
            }
    }
    plane<rows>(a, lda, b, k4, width, out);
}

void gemm_tile(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc, const Finish& before) {
    finish(avx2_kernels(), before);
    const uint8_t* const a_high = high ? high->bytes : nullptr;
    tile_of_rows(rows, [&]<int count>() { tile<count>(a, a_high, lda, b, k4, init, width, acc); });
}

// ---- Requantization ----

// Odd lanes to even ones, where vpmuldq reads.
__m256i odd(__m256i x) { return _mm256_shuffle_epi32(x, 0xF5); }

// The upper halves of the products of even and odd lanes, in lane order.
__m256i upper(__m256i even_products, __m256i odd_products) {
    return _mm256_blend_epi32(odd(even_products), odd_products, 0xAA);
}

// 8 columns' constants.
struct Columns {
    __m256i m_even, m_odd, half, shift;
};

Columns columns(const RequantView& q, int c) {
    Columns k;
    k.m_even = load(q.m + c);
    k.m_odd = odd(k.m_even);
    k.half = load(q.half + c);
    k.shift = load(q.shift + c);
    return k;
}

// round_shift(x * m, s) for s >= 33: 2^(s-1) is a multiple of 2^32, so it can be added to the upper word.
__m256i scaled(__m256i x, const Columns& k) {
    const __m256i product = upper(_mm256_mul_epi32(x, k.m_even), _mm256_mul_epi32(odd(x), k.m_odd));
    return _mm256_srav_epi32(_mm256_add_epi32(product, k.half), k.shift);
}

__m256i clamp(__m256i x, __m256i lo, __m256i hi) { return _mm256_min_epi32(_mm256_max_epi32(x, lo), hi); }

// 8 int32 to 8 int16, saturated, in order.
__m128i pack16(__m256i x) {
    return _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

// Eight results, or the `count` of them that there are. (A copy of any size is a call.)
template <typename From, typename To>
void put(const From* eight, To* out, int count) {
    static_assert(sizeof(From) == 8 * sizeof(To));
    if (count >= 8)
        __builtin_memcpy(out, eight, 8 * sizeof(To));
    else
        __builtin_memcpy(out, eight, static_cast<unsigned>(count) * sizeof(To));
}

void lift(int32_t* acc, int rows, int cols, const int32_t* lift) {
    for (int c = 0; c < cols; c += 8) {
        const __m256i left = load(lift + c), most = _mm256_srlv_epi32(_mm256_set1_epi32(0x7fffffff), left),
                      least = _mm256_sub_epi32(_mm256_setzero_si256(), most);
        for (int r = 0; r < rows; ++r) {
            int32_t* const at = acc + r * tile_cols + c;
            store(at, _mm256_sllv_epi32(clamp(load(at), least, most), left));
        }
    }
}

void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_u8(acc, rows, cols, q, table, out, ldo);
    const __m256i lo = _mm256_set1_epi32(q.lo), hi = _mm256_set1_epi32(q.hi), bias = _mm256_set1_epi32(128);
    for (int c = 0; c < cols; c += 8) {
        const Columns k = columns(q, c);
        for (int r = 0; r < rows; ++r) {
            const __m256i y = _mm256_add_epi32(clamp(scaled(load(acc + r * tile_cols + c), k), lo, hi), bias);
            const __m128i bytes = _mm_packus_epi16(pack16(y), _mm_setzero_si128());
            const int64_t eight = _mm_cvtsi128_si64(bytes);
            put(&eight, out + r * ldo + c, cols - c);
        }
    }
    if (table)
        for (int r = 0; r < rows; ++r) avx2::lookup(table, out + r * ldo, cols);
}

void requant_i16(const int32_t* acc, int rows, int cols, const RequantView& q, int16_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_i16(acc, rows, cols, q, out, ldo);
    const __m256i lo = _mm256_set1_epi32(q.lo), hi = _mm256_set1_epi32(q.hi);
    for (int c = 0; c < cols; c += 8) {
        const Columns k = columns(q, c);
        for (int r = 0; r < rows; ++r) {
            const __m128i y = pack16(clamp(scaled(load(acc + r * tile_cols + c), k), lo, hi));
            put(&y, out + r * ldo + c, cols - c);
        }
    }
}

void residual_add(const int32_t* acc, int rows, int cols, const RequantView& q, const ResidualView& old,
                  const int16_t* t, int16_t* out, int64_t ld) {
    // t has 16 bits: shifted left until 33 bits go off the product again, it still fits 32.
    if (!q.upper || old.s < 18) return scalar_kernels.residual_add(acc, rows, cols, q, old, t, out, ld);
    const __m128i left = _mm_cvtsi32_si128(old.s < 33 ? 33 - old.s : 0);
    const int s = old.s < 33 ? 33 : old.s;
    Columns stream;
    stream.m_even = stream.m_odd = _mm256_set1_epi32(old.m);
    stream.half = _mm256_set1_epi32(int32_t{1} << (s - 33));
    stream.shift = _mm256_set1_epi32(s - 32);
    const __m256i lo = _mm256_set1_epi32(q.lo), hi = _mm256_set1_epi32(q.hi);
    for (int c = 0; c < cols; c += 8) {
        const Columns k = columns(q, c);
        for (int r = 0; r < rows; ++r) {
            const __m256i branch = scaled(load(acc + r * tile_cols + c), k);
            __m128i x = _mm_setzero_si128();
            if (cols - c >= 8)
                x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(t + r * ld + c));
            else
                __builtin_memcpy(&x, t + r * ld + c, static_cast<unsigned>(cols - c) * sizeof *t);
            const __m256i shifted = _mm256_sll_epi32(_mm256_cvtepi16_epi32(x), left);
            const __m128i y = pack16(clamp(_mm256_add_epi32(branch, scaled(shifted, stream)), lo, hi));
            put(&y, out + r * ld + c, cols - c);
        }
    }
}

// ---- I-LayerNorm ----

void layernorm_row(const int16_t* x, int64_t C, const LayernormView& q, uint8_t* out) {
    const __m256i ones = _mm256_set1_epi16(1), word = _mm256_set1_epi64x(0xffffffff);
    __m256i sums = _mm256_setzero_si256(), squares = _mm256_setzero_si256();
    for (int64_t c = 0; c < C; c += 16) {
        const __m256i v = load(x + c);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(v, ones));
        const __m256i pairs = _mm256_madd_epi16(v, v);  // up to 2^31: unsigned
        squares = _mm256_add_epi64(squares, _mm256_srli_epi64(pairs, 32));
        squares = _mm256_add_epi64(squares, _mm256_and_si256(pairs, word));
    }
    const __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(sums)),
                                          _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sums, 1)));
    int64_t mean = 0, f = 0;
    layernorm_moments(sum64(wide), sum64(squares), C, &mean, &f);
    const __m256i mu = _mm256_set1_epi32(static_cast<int32_t>(mean)),
                  factor = _mm256_set1_epi32(static_cast<int32_t>(f));
    const __m256i lo = _mm256_set1_epi32(q.lo + 128), hi = _mm256_set1_epi32(q.hi + 128),
                  bias = _mm256_set1_epi32(128);
    for (int64_t c = 0; c < C; c += 16) {
        __m256i z[2];
        for (int half = 0; half < 2; ++half) {
            const int64_t at = c + half * 8;
            const __m256i d = _mm256_sub_epi32(
                _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + at))), mu);
            // y fits 32 bits, and vpmuldq reads no more: the logical shift is as good as the arithmetic one.
            const __m256i y_even = _mm256_srli_epi64(_mm256_mul_epi32(d, factor), 1);
            const __m256i y_odd = _mm256_srli_epi64(_mm256_mul_epi32(odd(d), factor), 1);
            const __m256i m = load(q.m + at);
            const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(y_even, m), load(q.B + c + half * 4));
            const __m256i other =
                _mm256_add_epi64(_mm256_mul_epi32(y_odd, odd(m)), load(q.B + c + 8 + half * 4));
            const __m256i y = _mm256_srav_epi32(upper(even, other), load(q.shift + at));
            z[half] = clamp(_mm256_add_epi32(y, bias), lo, hi);
        }
        const __m128i bytes = _mm_packus_epi16(pack16(z[0]), pack16(z[1]));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + c), bytes);
    }
}

void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out) {
    if (!q.upper || C % 16) return scalar_kernels.layernorm(x, ldx, rows, C, q, out);
    for (int64_t r = 0; r < rows; ++r) layernorm_row(x + r * ldx, C, q, out + r * C);
}

#define MULTIPLY(n) "vpmaddwd %%ymm12, %%ymm13, %%ymm14\n\tvpaddd %%ymm14, %%ymm" n ", %%ymm" n "\n\t"
MULTIPLY_ONLY(MULTIPLY)

}  // namespace

const Kernels& avx2_kernels() {
    static const Kernels k = {gemm_tile,     lift,         requant_u8,     requant_i16,
                              residual_add,  layernorm,    avx2::shiftmax, avx2::pack_k,
                              avx2::pack_v,  avx2::lookup, avx2::patch,    avx2::add_constant,
                              multiply_only, 12 * 16};
    return k;
}

}  // namespace ivit::cpu
