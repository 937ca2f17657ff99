// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI: I-LayerNorm.
#include "engine/backends/cpu/avx512vnni.h"

namespace ivit::cpu::avx512 {
namespace {

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
        const auto add = [&](__m512i t) {
            sums = _mm512_dpwssd_epi32(sums, t, ones);
            const __m512i pairs = _mm512_madd_epi16(t, t);  // up to 2^31: unsigned
            even = _mm512_add_epi64(even, _mm512_and_si512(pairs, word));
            other = _mm512_add_epi64(other, _mm512_srli_epi64(pairs, 32));
        };
        int64_t c = 0;
        for (; c + 32 <= C; c += 32) add(_mm512_loadu_si512(x + c));
        if (c < C) add(_mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes64(C - c)), x + c));
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

}  // namespace

void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out) {
    if (!q.upper) return scalar_kernels.layernorm(x, ldx, rows, C, q, out);
    const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                  hi = _mm512_set1_epi8(static_cast<char>(q.hi));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    // Means and factors of eight rows, and of the next eight: a root takes long, and all of it waiting. The
    // rows before fill that time.
    int32_t means[2][8], factors[2][8];
    const auto count_at = [&](int64_t first) {
        return static_cast<int>(rows - first < 8 ? rows - first : 8);
    };
    layernorm_moments8(x, ldx, count_at(0), C, means[0], factors[0]);
    for (int64_t first = 0; first < rows; first += 8) {
        const int count = count_at(first), now = static_cast<int>(first / 8 % 2);
        if (first + 8 < rows)
            layernorm_moments8(x + (first + 8) * ldx, ldx, count_at(first + 8), C, means[1 - now],
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
