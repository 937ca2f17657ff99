// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI kernels: 16 lanes of int32. Everything is static: see kernels.h.
// GCC 12 warns about its own intrinsics' undefined vectors (PR 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "engine/backends/cpu/kernels.h"

namespace ivit::cpu {
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

// ---- GEMM
// -----------------------------------------------------------------------------------------------------

// One function, so that the accumulators stay an array the compiler can take apart into registers.
template <int rows, int vectors>
void tile(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
          const int32_t* init, int32_t* out) {
    __m512i acc[rows][vectors];
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
            acc[r][v] = a_high ? _mm512_setzero_si512() : _mm512_loadu_si512(init + v * 16);
    for (const uint8_t* plane = a_high ? a_high : a;; plane = a) {
        const uint8_t* x = plane;
        const int8_t* y = b;
        for (int64_t k = 0; k < k4; ++k, y += vectors * 64, x += 4) {
            __m512i w[vectors];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(y + v * 64);
#pragma GCC unroll 6
            for (int r = 0; r < rows; ++r) {
                const __m512i four = broadcast4(x + r * lda);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], four, w[v]);
            }
        }
        if (plane == a) break;
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v)
                acc[r][v] =
                    _mm512_add_epi32(_mm512_slli_epi32(acc[r][v], 8), _mm512_loadu_si512(init + v * 16));
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) _mm512_store_si512(out + r * tile_cols + v * 16, acc[r][v]);
}

template <int vectors>
void tile_of(int rows, const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
             const int32_t* init, int32_t* acc) {
    switch (rows) {
        case 6:
            return tile<6, vectors>(a, a_high, lda, b, k4, init, acc);
        case 5:
            return tile<5, vectors>(a, a_high, lda, b, k4, init, acc);
        case 4:
            return tile<4, vectors>(a, a_high, lda, b, k4, init, acc);
        case 3:
            return tile<3, vectors>(a, a_high, lda, b, k4, init, acc);
        case 2:
            return tile<2, vectors>(a, a_high, lda, b, k4, init, acc);
        default:
            return tile<1, vectors>(a, a_high, lda, b, k4, init, acc);
    }
}

void gemm_tile(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc) {
    switch (width) {
        case 64:
            return tile_of<4>(rows, a, a_high, lda, b, k4, init, acc);
        case 48:
            return tile_of<3>(rows, a, a_high, lda, b, k4, init, acc);
        case 32:
            return tile_of<2>(rows, a, a_high, lda, b, k4, init, acc);
        default:
            return tile_of<1>(rows, a, a_high, lda, b, k4, init, acc);
    }
}

// ---- Requantization
// ---------------------------------------------------------------------------------------------

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

// A table of 256 bytes, looked up 64 at a time. `vbmi`: Zen 4, Ice Lake and later.
__attribute__((target("avx512vbmi"))) void lookup_vbmi(const uint8_t* table, uint8_t* x, int64_t n) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (int64_t i = 0; i < n; i += 64) {
        const __mmask64 valid = lanes64(n - i);
        const __m512i u = _mm512_maskz_loadu_epi8(valid, x + i);
        const __m512i low = _mm512_permutex2var_epi8(t0, u, t1), high = _mm512_permutex2var_epi8(t2, u, t3);
        _mm512_mask_storeu_epi8(x + i, valid, _mm512_mask_blend_epi8(_mm512_movepi8_mask(u), low, high));
    }
}

void lookup_plain(const uint8_t* table, uint8_t* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = table[x[i]];
}

bool has_vbmi() {
    static const bool vbmi = __builtin_cpu_supports("avx512vbmi");
    return vbmi;
}

void lookup(const uint8_t* table, uint8_t* x, int64_t n) {
    has_vbmi() ? lookup_vbmi(table, x, n) : lookup_plain(table, x, n);
}

template <int vectors>
void requant_u8_of(const int32_t* acc, int rows, int cols, const RequantView& q, uint8_t* out, int64_t ldo) {
    Columns k[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) k[v] = columns(q, v * 16);
    const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                  hi = _mm512_set1_epi8(static_cast<char>(q.hi));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    const __mmask64 valid = lanes64(cols);
    for (int r = 0; r < rows; ++r) {
        __m512i y[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v)
            y[v] = v < vectors
                       ? scaled(_mm512_load_si512(acc + r * tile_cols + v * 16), k[v < vectors ? v : 0])
                       : _mm512_setzero_si512();
        const __m512i bytes = _mm512_min_epi8(_mm512_max_epi8(pack_bytes(y), lo), hi);
        _mm512_mask_storeu_epi8(out + r * ldo, valid, _mm512_xor_si512(bytes, flip));
    }
}

void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_u8(acc, rows, cols, q, table, out, ldo);
    if (cols > 48)
        requant_u8_of<4>(acc, rows, cols, q, out, ldo);
    else if (cols > 32)
        requant_u8_of<3>(acc, rows, cols, q, out, ldo);
    else if (cols > 16)
        requant_u8_of<2>(acc, rows, cols, q, out, ldo);
    else
        requant_u8_of<1>(acc, rows, cols, q, out, ldo);
    if (table)
        for (int r = 0; r < rows; ++r) lookup(table, out + r * ldo, cols);
}

void requant_i16(const int32_t* acc, int rows, int cols, const RequantView& q, int16_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_i16(acc, rows, cols, q, out, ldo);
    const __m512i lo = _mm512_set1_epi32(q.lo), hi = _mm512_set1_epi32(q.hi);
    for (int c = 0; c < cols; c += 16) {
        const Columns k = columns(q, c);
        const __mmask16 valid = lanes16(cols - c);
        for (int r = 0; r < rows; ++r) {
            const __m512i y = scaled(_mm512_load_si512(acc + r * tile_cols + c), k);
            const __m512i clamped = _mm512_min_epi32(_mm512_max_epi32(y, lo), hi);
            _mm256_mask_storeu_epi16(out + r * ldo + c, valid, _mm512_cvtepi32_epi16(clamped));
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
    stream.m_even = stream.m_odd = _mm512_set1_epi32(old.m);
    stream.half = _mm512_set1_epi32(int32_t{1} << (s - 33));
    stream.shift = _mm512_set1_epi32(s - 32);
    const __m512i lo = _mm512_set1_epi32(q.lo), hi = _mm512_set1_epi32(q.hi);
    for (int c = 0; c < cols; c += 16) {
        const Columns k = columns(q, c);
        const __mmask16 valid = lanes16(cols - c);
        for (int r = 0; r < rows; ++r) {
            const __m512i branch = scaled(_mm512_load_si512(acc + r * tile_cols + c), k);
            const __m512i x = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(valid, t + r * ld + c));
            const __m512i sum = _mm512_add_epi32(branch, scaled(_mm512_sll_epi32(x, left), stream));
            const __m512i clamped = _mm512_min_epi32(_mm512_max_epi32(sum, lo), hi);
            _mm256_mask_storeu_epi16(out + r * ld + c, valid, _mm512_cvtepi32_epi16(clamped));
        }
    }
}

// ---- I-LayerNorm
// ------------------------------------------------------------------------------------------------

void layernorm_row(const int16_t* x, int64_t C, const LayernormView& q, uint8_t* out) {
    if (!q.upper) return scalar_kernels.layernorm_row(x, C, q, out);
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i sums = _mm512_setzero_si512(), squares = _mm512_setzero_si512();
    for (int64_t c = 0; c < C; c += 32) {
        const auto valid = static_cast<__mmask32>(lanes64(C - c));
        const __m512i v = _mm512_maskz_loadu_epi16(valid, x + c);
        sums = _mm512_add_epi32(sums, _mm512_madd_epi16(v, ones));
        const __m512i pairs = _mm512_madd_epi16(v, v);  // up to 2^31: unsigned
        squares = _mm512_add_epi64(squares, _mm512_srli_epi64(pairs, 32));
        squares = _mm512_add_epi64(squares, _mm512_and_si512(pairs, _mm512_set1_epi64(0xffffffff)));
    }
    int64_t mean = 0, f = 0;
    layernorm_moments(_mm512_reduce_add_epi32(sums), _mm512_reduce_add_epi64(squares), C, &mean, &f);
    const __m512i mu = _mm512_set1_epi32(static_cast<int32_t>(mean)),
                  factor = _mm512_set1_epi32(static_cast<int32_t>(f));
    const __m512i lo = _mm512_set1_epi32(q.lo + 128), hi = _mm512_set1_epi32(q.hi + 128),
                  bias = _mm512_set1_epi32(128);
    for (int64_t c = 0; c < C; c += 16) {
        const __mmask16 valid = lanes16(static_cast<int>(C - c));
        const __m512i d = _mm512_sub_epi32(_mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(valid, x + c)), mu);
        // y fits 32 bits, and vpmuldq reads no more: the logical shift is as good as the arithmetic one.
        const __m512i y_even = _mm512_srli_epi64(_mm512_mul_epi32(d, factor), 1);
        const __m512i y_odd = _mm512_srli_epi64(_mm512_mul_epi32(odd(d), factor), 1);
        const __m512i m = _mm512_loadu_si512(q.m + c);
        const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(y_even, m), _mm512_loadu_si512(q.B + c));
        const __m512i other =
            _mm512_add_epi64(_mm512_mul_epi32(y_odd, odd(m)), _mm512_loadu_si512(q.B + c + 8));
        const __m512i z = _mm512_srav_epi32(upper(even, other), _mm512_loadu_si512(q.shift + c));
        const __m512i biased = _mm512_min_epi32(_mm512_max_epi32(_mm512_add_epi32(z, bias), lo), hi);
        _mm_mask_storeu_epi8(out + c, valid, _mm512_cvtepi32_epi8(biased));
    }
}

// ---- Shiftmax
// ---------------------------------------------------------------------------------------------------

void shiftmax_row(const uint8_t* x, int64_t n, const ShiftmaxView& q, uint8_t* low, uint8_t* high) {
    scalar_kernels.shiftmax_row(x, n, q, low, high);
}

}  // namespace

const Kernels& avx512vnni_kernels() {
    static const Kernels k = {gemm_tile,     requant_u8,   requant_i16, residual_add,
                              layernorm_row, shiftmax_row, lookup};
    return k;
}

}  // namespace ivit::cpu
