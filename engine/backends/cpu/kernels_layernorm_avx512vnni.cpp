// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI: I-LayerNorm.
#include "engine/backends/cpu/avx512vnni.h"

namespace ivit::cpu::avx512 {
namespace {

// Integer square roots of 16 numbers below 4^digits, digit by digit: eight alone would mostly wait.
// arithmetic.md wants floor(sqrt(v)), exactly.
void isqrt16(__m512i (&v)[2], int digits, __m512i (&root)[2]) {
    root[0] = root[1] = _mm512_setzero_si512();
    __m512i digit = _mm512_set1_epi64(int64_t{1} << (2 * digits - 2));
    for (int i = digits; i > 0; --i) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
            const __m512i trial = _mm512_add_epi64(root[h], digit);
            const __mmask8 fits = _mm512_cmpge_epu64_mask(v[h], trial);
            v[h] = _mm512_mask_sub_epi64(v[h], fits, v[h], trial);
            root[h] = _mm512_srli_epi64(root[h], 1);
            root[h] = _mm512_mask_add_epi64(root[h], fits, root[h], digit);
        }
        digit = _mm512_srli_epi64(digit, 2);
    }
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

// The sums of x and of x^2 of up to eight rows, in a lane of 64 bits each; zero where there is no row.
void sums8(const int16_t* x, int64_t ldx, int rows, int64_t C, __m512i* sum, __m512i* squares) {
    const __m512i ones = _mm512_set1_epi16(1), word = _mm512_set1_epi64(0xffffffff);
    __m512i s[8], q[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) {
        s[r] = q[r] = _mm512_setzero_si512();
        if (r >= rows) continue;
        const int16_t* row = x + r * ldx;
        const auto add = [&](__m512i t) {
            s[r] = _mm512_dpwssd_epi32(s[r], t, ones);
            const __m512i pairs = _mm512_madd_epi16(t, t);  // up to 2^31: unsigned
            q[r] = _mm512_add_epi64(q[r], _mm512_and_si512(pairs, word));
            q[r] = _mm512_add_epi64(q[r], _mm512_srli_epi64(pairs, 32));
        };
        int64_t c = 0;
        for (; c + 32 <= C; c += 32) add(_mm512_loadu_si512(row + c));
        if (c < C) add(_mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes64(C - c)), row + c));
    }
    // Both as trees: pairs of rows side by side, then pairs of pairs.
    __m512i a[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
        a[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2 * i], s[2 * i + 1]),
                                _mm512_unpackhi_epi32(s[2 * i], s[2 * i + 1]));
    // Rows 0 1 2 3 (then 4 5 6 7) in every 128 bits.
    const __m512i low =
                      _mm512_add_epi32(_mm512_unpacklo_epi64(a[0], a[1]), _mm512_unpackhi_epi64(a[0], a[1])),
                  high =
                      _mm512_add_epi32(_mm512_unpacklo_epi64(a[2], a[3]), _mm512_unpackhi_epi64(a[2], a[3]));
    __m512i both =
        _mm512_add_epi32(_mm512_shuffle_i64x2(low, high, 0x88), _mm512_shuffle_i64x2(low, high, 0xDD));
    both = _mm512_add_epi32(both, _mm512_shuffle_i64x2(both, both, 0xB1));
    *sum = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(
        _mm512_permutex2var_epi64(both, _mm512_setr_epi64(0, 1, 4, 5, 0, 1, 4, 5), both)));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
        a[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(q[2 * i], q[2 * i + 1]),
                                _mm512_unpackhi_epi64(q[2 * i], q[2 * i + 1]));
    const auto halves = [](__m512i x, __m512i y) {
        return _mm512_add_epi64(_mm512_shuffle_i64x2(x, y, 0x88), _mm512_shuffle_i64x2(x, y, 0xDD));
    };
    *squares = halves(halves(a[0], a[1]), halves(a[2], a[3]));
}

// A division by 2C as a product: n / (2C) = n * factor >> shift for n < 2^17 * 2C, C <= 8192.
struct Divisor {
    int64_t factor;
    int shift;
};

Divisor divisor(int64_t C) {
    int bits = 1;
    while (int64_t{1} << bits < 2 * C) ++bits;
    return {((int64_t{1} << (31 + bits)) + 2 * C - 1) / (2 * C), 31 + bits};
}

// Mean and f of up to 16 rows. C <= 8192.
void layernorm_moments16(const int16_t* x, int64_t ldx, int rows, int64_t C, Divisor by, int32_t* mean,
                         int32_t* f) {
    __m512i v[2], root[2];
    const __m512i channels = _mm512_set1_epi64(C);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
        __m512i sum, squares;
        sums8(x + 8 * h * ldx, ldx, rows - 8 * h, C, &sum, &squares);
        // floor((2 sum + C) / (2C)), made positive by 2^15 on the way
        const __m512i n = _mm512_add_epi64(_mm512_add_epi64(sum, sum), _mm512_set1_epi64(C + (C << 16)));
        const __m512i quotient =
            _mm512_srl_epi64(_mm512_mul_epu32(n, _mm512_set1_epi64(by.factor)), _mm_cvtsi32_si128(by.shift));
        const __m512i mu = _mm512_sub_epi64(quotient, _mm512_set1_epi64(1 << 15));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(mean + 8 * h), _mm512_cvtepi64_epi32(mu));
        const __m512i twice = _mm512_slli_epi64(_mm512_mul_epi32(mu, sum), 1);
        v[h] = _mm512_add_epi64(_mm512_sub_epi64(squares, twice),
                                _mm512_mul_epu32(_mm512_mul_epi32(mu, mu), channels));
    }
    // v <= C * 2^30
    isqrt16(v, (30 + 64 - __builtin_clzll(static_cast<unsigned long long>(C)) + 1) / 2, root);
    alignas(64) int64_t roots[16];
    _mm512_store_si512(roots, root[0]);
    _mm512_store_si512(roots + 8, root[1]);
    for (int r = 0; r < rows; ++r)
        f[r] = static_cast<int32_t>(0x7fffffffu / static_cast<uint32_t>(roots[r] < 1 ? 1 : roots[r]));
}

}  // namespace

void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out) {
    if (!q.upper || C > 8192) return scalar_kernels.layernorm(x, ldx, rows, C, q, out);
    const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                  hi = _mm512_set1_epi8(static_cast<char>(q.hi));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    // Means and factors of 16 rows, and of the next 16: a root takes long, and all of it waiting. The rows
    // before fill that time.
    int32_t means[2][16], factors[2][16];
    const Divisor by = divisor(C);
    const auto count_at = [&](int64_t first) {
        return static_cast<int>(rows - first < 16 ? rows - first : 16);
    };
    layernorm_moments16(x, ldx, count_at(0), C, by, means[0], factors[0]);
    for (int64_t first = 0; first < rows; first += 16) {
        const int count = count_at(first), now = static_cast<int>(first / 16 % 2);
        if (first + 16 < rows)
            layernorm_moments16(x + (first + 16) * ldx, ldx, count_at(first + 16), C, by, means[1 - now],
                                factors[1 - now]);
        const int32_t *mean = means[now], *f = factors[now];
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

}  // namespace ivit::cpu::avx512
