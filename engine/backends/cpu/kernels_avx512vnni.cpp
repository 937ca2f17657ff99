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

// ---- GEMM ----

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

// ---- Requantization ----

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

// 64 columns through the table before they are stored.
__attribute__((target("avx512vbmi"))) void requant_table_vbmi(const int32_t* acc, int rows,
                                                              const RequantView& q, const uint8_t* table,
                                                              uint8_t* out, int64_t ldo) {
    const Columns k[4] = {columns(q, 0), columns(q, 16), columns(q, 32), columns(q, 48)};
    const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                  hi = _mm512_set1_epi8(static_cast<char>(q.hi));
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (int r = 0; r < rows; ++r, acc += tile_cols) {
        const __m512i y[4] = {scaled(_mm512_load_si512(acc), k[0]), scaled(_mm512_load_si512(acc + 16), k[1]),
                              scaled(_mm512_load_si512(acc + 32), k[2]),
                              scaled(_mm512_load_si512(acc + 48), k[3])};
        // Without the + 128: the sign then says which half of the table, the other way round.
        const __m512i x = _mm512_min_epi8(_mm512_max_epi8(pack_bytes(y), lo), hi);
        const __m512i low = _mm512_permutex2var_epi8(t0, x, t1), high = _mm512_permutex2var_epi8(t2, x, t3);
        _mm512_storeu_si512(out + r * ldo, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), high, low));
    }
}

void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_u8(acc, rows, cols, q, table, out, ldo);
    if (cols == 64 && table && has_vbmi()) return requant_table_vbmi(acc, rows, q, table, out, ldo);
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

// ---- I-LayerNorm ----

// Integer square roots of eight numbers below 2^62, digit by digit. arithmetic.md wants floor(sqrt(v)),
// exactly.
__m512i isqrt8(__m512i v) {
    const int bits = 64 - __builtin_clzll(static_cast<unsigned long long>(_mm512_reduce_max_epu64(v)) | 1);
    __m512i root = _mm512_setzero_si512();
    __m512i digit = _mm512_set1_epi64(int64_t{1} << ((bits - 1) & ~1));
    for (int i = (bits + 1) / 2; i > 0; --i) {
        const __m512i trial = _mm512_add_epi64(root, digit);
        const __mmask8 fits = _mm512_cmpge_epu64_mask(v, trial);
        v = _mm512_mask_sub_epi64(v, fits, v, trial);
        root = _mm512_srli_epi64(root, 1);
        root = _mm512_mask_add_epi64(root, fits, root, digit);
        digit = _mm512_srli_epi64(digit, 2);
    }
    return root;
}

// 16 channels: (y * m + B) >> s with y = (d * f) >> 1. y fits 32 bits, and vpmuldq reads no more of it: the
// logical shift is as good as the arithmetic one.
__m512i normalized(__m256i x, __m512i mean, __m512i f, const LayernormView& q, int64_t c) {
    const __m512i d = _mm512_sub_epi32(_mm512_cvtepi16_epi32(x), mean);
    const __m512i y_even = _mm512_srli_epi64(_mm512_mul_epi32(d, f), 1);
    const __m512i y_odd = _mm512_srli_epi64(_mm512_mul_epi32(odd(d), f), 1);
    const __m512i m = _mm512_loadu_si512(q.m + c);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(y_even, m), _mm512_loadu_si512(q.B + c));
    const __m512i other = _mm512_add_epi64(_mm512_mul_epi32(y_odd, odd(m)), _mm512_loadu_si512(q.B + c + 8));
    return _mm512_srav_epi32(upper(even, other), _mm512_loadu_si512(q.shift + c));
}

void layernorm_moments8(const int16_t* x, int64_t ldx, int rows, int64_t C, int32_t* mean, int32_t* f) {
    const __m512i ones = _mm512_set1_epi16(1), word = _mm512_set1_epi64(0xffffffff);
    alignas(64) int64_t v[8] = {};
    for (int r = 0; r < rows; ++r, x += ldx) {
        __m512i sums = _mm512_setzero_si512(), even = sums, other = sums;
        for (int64_t c = 0; c < C; c += 32) {
            const __m512i t = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes64(C - c)), x + c);
            sums = _mm512_add_epi32(sums, _mm512_madd_epi16(t, ones));
            const __m512i pairs = _mm512_madd_epi16(t, t);  // up to 2^31: unsigned
            even = _mm512_add_epi64(even, _mm512_and_si512(pairs, word));
            other = _mm512_add_epi64(other, _mm512_srli_epi64(pairs, 32));
        }
        const int64_t sum = _mm512_reduce_add_epi32(sums), doubled = 2 * sum + C;
        const int64_t mu = doubled >= 0 ? doubled / (2 * C) : -((2 * C - 1 - doubled) / (2 * C));
        mean[r] = static_cast<int32_t>(mu);
        v[r] = _mm512_reduce_add_epi64(_mm512_add_epi64(even, other)) - 2 * mu * sum + C * mu * mu;
    }
    alignas(64) int64_t root[8];
    _mm512_store_si512(root, isqrt8(_mm512_load_si512(v)));
    for (int r = 0; r < rows; ++r)
        f[r] = static_cast<int32_t>(0x7fffffffu / static_cast<uint32_t>(root[r] < 1 ? 1 : root[r]));
}

void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out) {
    if (!q.upper) return scalar_kernels.layernorm(x, ldx, rows, C, q, out);
    const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                  hi = _mm512_set1_epi8(static_cast<char>(q.hi));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    for (int64_t first = 0; first < rows; first += 8) {
        const int count = static_cast<int>(rows - first < 8 ? rows - first : 8);
        int32_t mean[8], f[8];
        layernorm_moments8(x + first * ldx, ldx, count, C, mean, f);
        for (int r = 0; r < count; ++r) {
            const int16_t* row = x + (first + r) * ldx;
            uint8_t* to = out + (first + r) * C;
            const __m512i mu = _mm512_set1_epi32(mean[r]), factor = _mm512_set1_epi32(f[r]);
            int64_t c = 0;
            for (; c + 64 <= C; c += 64) {
                __m512i z[4];
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v)
                    z[v] = normalized(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + c + v * 16)),
                                      mu, factor, q, c + v * 16);
                const __m512i bytes = _mm512_min_epi8(_mm512_max_epi8(pack_bytes(z), lo), hi);
                _mm512_storeu_si512(to + c, _mm512_xor_si512(bytes, flip));
            }
            for (; c < C; c += 16) {
                const __mmask16 valid = lanes16(static_cast<int>(C - c));
                const __m512i z[4] = {normalized(_mm256_maskz_loadu_epi16(valid, row + c), mu, factor, q, c)};
                const __m512i bytes = _mm512_min_epi8(_mm512_max_epi8(pack_bytes(z), lo), hi);
                _mm_mask_storeu_epi8(to + c, valid, _mm512_castsi512_si128(_mm512_xor_si512(bytes, flip)));
            }
        }
    }
}

// ---- Shiftmax ----

// A table of 64 * blocks bytes (blocks 1, 2 or 4) in registers.
template <int blocks>
__attribute__((target("avx512vbmi"))) __m512i look_up(const __m512i (&table)[4], __m512i index) {
    if constexpr (blocks == 1) return _mm512_permutexvar_epi8(index, table[0]);
    const __m512i low = _mm512_permutex2var_epi8(table[0], index, table[1]);
    if constexpr (blocks == 2) return low;
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low,
                                  _mm512_permutex2var_epi8(table[2], index, table[3]));
}

// The sum of e over a row whose distances from its maximum are below 64 * blocks: e has that many values, so
// it goes byte plane by byte plane through a table.
template <int blocks>
__attribute__((target("avx512vbmi"))) uint64_t sum_of_e(const uint8_t* x, int64_t n, int max,
                                                        const ShiftmaxView& q) {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(max)), zero = _mm512_setzero_si512();
    __m512i sums = zero;
    for (int plane = q.planes - 1; plane >= 0; --plane) {
        __m512i table[4];
#pragma GCC unroll 4
        for (int b = 0; b < blocks; ++b) table[b] = _mm512_loadu_si512(q.e_planes + plane * 256 + b * 64);
        sums = _mm512_slli_epi64(sums, 8);
        int64_t i = 0;
        for (; i + 64 <= n; i += 64) {
            const __m512i delta = _mm512_sub_epi8(top, _mm512_loadu_si512(x + i));
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(look_up<blocks>(table, delta), zero));
        }
        if (i < n) {
            const __mmask64 valid = lanes64(n - i);
            const __m512i delta = _mm512_sub_epi8(top, _mm512_mask_loadu_epi8(top, valid, x + i));
            const __m512i e = _mm512_maskz_mov_epi8(valid, look_up<blocks>(table, delta));
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(e, zero));
        }
    }
    return static_cast<uint64_t>(_mm512_reduce_add_epi64(sums));
}

// p, computed once per value of e instead of once per element. f < 2^32.
template <int blocks>
__attribute__((target("avx512vbmi"))) void shares_of_e(const uint8_t* x, int64_t n, int max, uint64_t f,
                                                       const ShiftmaxView& q, uint8_t* low, uint8_t* high) {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(max));
    const __m512i factor = _mm512_set1_epi64(static_cast<int64_t>(f)),
                  limit = _mm512_set1_epi32(1 << (q.k - 1));
    const __m128i shift = _mm_cvtsi32_si128(q.M - q.k + 1);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i byte = _mm512_set1_epi16(0xff);
    __m512i p_low[4], p_high[4];
#pragma GCC unroll 4
    for (int b = 0; b < blocks; ++b) {
        __m512i p[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
            // Eight values of e in 64 bits each; p has 16 bits.
            const uint64_t* e = q.e + b * 64 + v * 16;
            const __m512i first = _mm512_srl_epi64(_mm512_mul_epu32(_mm512_loadu_si512(e), factor), shift);
            const __m512i second =
                _mm512_srl_epi64(_mm512_mul_epu32(_mm512_loadu_si512(e + 8), factor), shift);
            p[v] = _mm512_min_epu32(_mm512_permutex2var_epi32(first, even, second), limit);
        }
        const __m512i a = _mm512_packus_epi32(p[0], p[1]), c = _mm512_packus_epi32(p[2], p[3]);
        p_low[b] = _mm512_permutexvar_epi32(
            order, _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(c, byte)));
        p_high[b] = _mm512_permutexvar_epi32(
            order, _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(c, 8)));
    }
    for (int64_t i = 0; i < n; i += 64) {
        const __mmask64 valid = lanes64(n - i);
        const __m512i delta = _mm512_sub_epi8(top, _mm512_maskz_loadu_epi8(valid, x + i));
        _mm512_mask_storeu_epi8(low + i, valid, look_up<blocks>(p_low, delta));
        if (q.k > 8) _mm512_mask_storeu_epi8(high + i, valid, look_up<blocks>(p_high, delta));
    }
}

int horizontal_max(__m512i x) {
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i q = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    // vphminposuw finds the least of eight words: both bytes of each folded into one, upside down.
    q = _mm_max_epu8(q, _mm_srli_epi16(q, 8));
    q = _mm_xor_si128(_mm_and_si128(q, _mm_set1_epi16(0xff)), _mm_set1_epi16(0xff));
    return 255 - (_mm_cvtsi128_si32(_mm_minpos_epu16(q)) & 0xff);
}

// Stage by stage over all rows: each stage of one row waits long for the one before, those of other rows do
// not.
void shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high) {
    if (q.planes == 0 || !has_vbmi()) return scalar_kernels.shiftmax(x, ld, rows, n, q, low, high);
    int max[tile_rows], blocks[tile_rows];
    for (int r = 0; r < rows; ++r) {
        const uint8_t* row = x + r * ld;
        __m512i most = _mm512_setzero_si512(), least = _mm512_set1_epi8(-1);
        for (int64_t i = 0; i < n; i += 64) {
            const __mmask64 valid = lanes64(n - i);
            most = _mm512_max_epu8(most, _mm512_maskz_loadu_epi8(valid, row + i));
            least = _mm512_min_epu8(least, _mm512_mask_loadu_epi8(least, valid, row + i));
        }
        max[r] = horizontal_max(most);
        const int range = max[r] - 255 + horizontal_max(_mm512_xor_si512(least, _mm512_set1_epi8(-1)));
        blocks[r] = range < 64 ? 1 : range < 128 ? 2 : 4;
    }
    uint64_t d[tile_rows], f[tile_rows];
    for (int r = 0; r < rows; ++r)
        d[r] = blocks[r] == 1   ? sum_of_e<1>(x + r * ld, n, max[r], q)
               : blocks[r] == 2 ? sum_of_e<2>(x + r * ld, n, max[r], q)
                                : sum_of_e<4>(x + r * ld, n, max[r], q);
    for (int r = 0; r < rows; ++r) f[r] = shiftmax_reciprocal(d[r], q.M);
    for (int r = 0; r < rows; ++r) {
        const int64_t at = r * ld;
        if (f[r] >> 32)
            scalar_kernels.shiftmax(x + at, ld, 1, n, q, low + at, high + at);
        else if (blocks[r] == 1)
            shares_of_e<1>(x + at, n, max[r], f[r], q, low + at, high + at);
        else if (blocks[r] == 2)
            shares_of_e<2>(x + at, n, max[r], f[r], q, low + at, high + at);
        else
            shares_of_e<4>(x + at, n, max[r], f[r], q, low + at, high + at);
    }
}

// ---- Attention's right-hand matrices ----

void pack_k(const uint8_t* rows, int64_t ld, int count, int64_t d, int8_t* panel, int width, int32_t* init) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80)), ones = _mm512_set1_epi8(1);
    __m512i sums = _mm512_setzero_si512();
    for (int64_t c = 0; c < d; c += 64) {
        const __mmask64 valid = lanes64(d - c);
        __m512i a[16], b[16];
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j)
            a[j] = j < count
                       ? _mm512_maskz_mov_epi8(
                             valid, _mm512_xor_si512(_mm512_maskz_loadu_epi8(valid, rows + j * ld + c), flip))
                       : _mm512_setzero_si512();
            // The transpose of 16 x 16 words: rows of k become columns of the panel.
#pragma GCC unroll 8
        for (int j = 0; j < 16; j += 2) {
            b[j] = _mm512_unpacklo_epi32(a[j], a[j + 1]);
            b[j + 1] = _mm512_unpackhi_epi32(a[j], a[j + 1]);
        }
#pragma GCC unroll 4
        for (int j = 0; j < 16; j += 4) {
            a[j] = _mm512_unpacklo_epi64(b[j], b[j + 2]);
            a[j + 1] = _mm512_unpackhi_epi64(b[j], b[j + 2]);
            a[j + 2] = _mm512_unpacklo_epi64(b[j + 1], b[j + 3]);
            a[j + 3] = _mm512_unpackhi_epi64(b[j + 1], b[j + 3]);
        }
        // a[4 * g + i], lane L: word 4 * L + i of rows 4g..4g+3.
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m512i r0 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x44),
                          r1 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xEE);
            const __m512i r2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x44),
                          r3 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xEE);
            b[i] = _mm512_shuffle_i32x4(r0, r2, 0x88);
            b[4 + i] = _mm512_shuffle_i32x4(r0, r2, 0xDD);
            b[8 + i] = _mm512_shuffle_i32x4(r1, r3, 0x88);
            b[12 + i] = _mm512_shuffle_i32x4(r1, r3, 0xDD);
        }
#pragma GCC unroll 16
        for (int w = 0; w < 16; ++w) {
            sums = _mm512_dpbusd_epi32(sums, ones, b[w]);
            if (c + 4 * w < d) _mm512_storeu_si512(panel + (c / 4 + w) * width * 4, b[w]);
        }
    }
    _mm512_storeu_si512(init, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sums, 7)));
}

void pack_v(const uint8_t* rows, int64_t ld, int count, int cols, int8_t* group, int width) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    const __mmask64 valid = lanes64(cols);
    __m512i a[4], b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
        a[j] = j < count ? _mm512_maskz_mov_epi8(
                               valid, _mm512_xor_si512(_mm512_maskz_loadu_epi8(valid, rows + j * ld), flip))
                         : _mm512_setzero_si512();
    b[0] = _mm512_unpacklo_epi8(a[0], a[1]);
    b[1] = _mm512_unpackhi_epi8(a[0], a[1]);
    b[2] = _mm512_unpacklo_epi8(a[2], a[3]);
    b[3] = _mm512_unpackhi_epi8(a[2], a[3]);
    // a[i], lane L: columns 16 * L + 4 * i ..
    a[0] = _mm512_unpacklo_epi16(b[0], b[2]);
    a[1] = _mm512_unpackhi_epi16(b[0], b[2]);
    a[2] = _mm512_unpacklo_epi16(b[1], b[3]);
    a[3] = _mm512_unpackhi_epi16(b[1], b[3]);
    const __m512i r0 = _mm512_shuffle_i32x4(a[0], a[1], 0x44), r1 = _mm512_shuffle_i32x4(a[0], a[1], 0xEE);
    const __m512i r2 = _mm512_shuffle_i32x4(a[2], a[3], 0x44), r3 = _mm512_shuffle_i32x4(a[2], a[3], 0xEE);
    b[0] = _mm512_shuffle_i32x4(r0, r2, 0x88);
    b[1] = _mm512_shuffle_i32x4(r0, r2, 0xDD);
    b[2] = _mm512_shuffle_i32x4(r1, r3, 0x88);
    b[3] = _mm512_shuffle_i32x4(r1, r3, 0xDD);
    for (int v = 0; v < width / 16; ++v) _mm512_storeu_si512(group + v * 64, b[v]);
}

// ---- Patches ----

// Four rows of 16 pixels at a time: 48 interleaved bytes to 16 of each colour, then through the colour's
// table.
__attribute__((target("avx512vbmi"))) void patch16_vbmi(const uint8_t* pixels, int64_t stride,
                                                        const uint8_t* tables, uint8_t* out) {
    alignas(64) uint8_t order[64] = {};
    for (int c = 0; c < 3; ++c)
        for (int x = 0; x < 16; ++x) order[c * 16 + x] = static_cast<uint8_t>(3 * x + c);
    const __m512i planar = _mm512_load_si512(order);
    const __mmask64 valid = (__mmask64{1} << 48) - 1;
    for (int y = 0; y < 16; y += 4) {
        __m512i r[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            r[i] = _mm512_permutexvar_epi8(planar, _mm512_maskz_loadu_epi8(valid, pixels + (y + i) * stride));
        const __m512i r0 = _mm512_shuffle_i32x4(r[0], r[1], 0x44),
                      r1 = _mm512_shuffle_i32x4(r[0], r[1], 0xEE);
        const __m512i r2 = _mm512_shuffle_i32x4(r[2], r[3], 0x44),
                      r3 = _mm512_shuffle_i32x4(r[2], r[3], 0xEE);
        const __m512i colour[3] = {_mm512_shuffle_i32x4(r0, r2, 0x88), _mm512_shuffle_i32x4(r0, r2, 0xDD),
                                   _mm512_shuffle_i32x4(r1, r3, 0x88)};
#pragma GCC unroll 3
        for (int c = 0; c < 3; ++c) {
            const uint8_t* t = tables + c * 256;
            const __m512i low =
                _mm512_permutex2var_epi8(_mm512_loadu_si512(t), colour[c], _mm512_loadu_si512(t + 64));
            const __m512i high =
                _mm512_permutex2var_epi8(_mm512_loadu_si512(t + 128), colour[c], _mm512_loadu_si512(t + 192));
            _mm512_storeu_si512(out + c * 256 + y * 16,
                                _mm512_mask_blend_epi8(_mm512_movepi8_mask(colour[c]), low, high));
        }
    }
}

void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out) {
    if (p != 16 || !has_vbmi()) return scalar_kernels.patch(pixels, stride, p, tables, out);
    patch16_vbmi(pixels, stride, tables, out);
}

// ---- The limit ----

int32_t multiply_only(int64_t rounds) {
    __m512i acc[12];
    const __m512i a = _mm512_set1_epi32(static_cast<int32_t>(rounds)), b = _mm512_set1_epi32(0x01020304);
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_epi32(i);  // all different, or one would do for all
    for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
        for (__m512i& x : acc) x = _mm512_dpbusd_epi32(x, a, b);
    for (const __m512i& x : acc) acc[0] = _mm512_xor_si512(_mm512_slli_epi32(acc[0], 1), x);
    alignas(64) int32_t words[16];
    _mm512_store_si512(words, acc[0]);
    return words[0] ^ words[13];
}

}  // namespace

const Kernels& avx512vnni_kernels() {
    static const Kernels k = {gemm_tile, requant_u8, requant_i16, residual_add, layernorm,     shiftmax,
                              pack_k,    pack_v,     lookup,      patch,        multiply_only, 12 * 64};
    return k;
}

}  // namespace ivit::cpu
