// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI: Shiftmax, and attention's right-hand matrices.
#include "engine/backends/cpu/shiftmax_avx512vnni.h"

namespace ivit::cpu::avx512 {
// ---- Shiftmax ----

namespace {

// p, computed once per value of e instead of once per element. f < 2^32. high may be null, then groups too.
__attribute__((target("avx512vbmi"))) void shares_of_e(const uint8_t* x, int64_t n, int max, uint64_t f,
                                                       const ShiftmaxView& q, uint8_t* low, uint8_t* high,
                                                       uint64_t* groups) {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(max));
    const __m512i factor = _mm512_set1_epi64(static_cast<int64_t>(f)),
                  limit = _mm512_set1_epi32(1 << (q.k - 1));
    const __m128i shift = _mm_cvtsi32_si128(q.M - q.k + 1);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i byte = _mm512_set1_epi16(0xff);
    __m512i p_low[4], p_high[4];
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
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
        const __m512i delta = _mm512_sub_epi8(top, _mm512_loadu_si512(x + i));
        _mm512_storeu_si512(low + i, look_up_in(p_low, delta));
        if (!high) continue;
        const __m512i p = look_up_in(p_high, delta);
        _mm512_storeu_si512(high + i, p);
        put_groups(p, i, groups);
    }
}

bool shiftmax_slowly(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
                     uint8_t* high, uint64_t* groups) {
    __builtin_memset(groups, 0xff, static_cast<size_t>(rows * group_words(ld)) * sizeof *groups);
    return scalar_kernels.shiftmax(x, ld, rows, n, q, low, high, groups);
}

// Stage by stage over all rows: each stage of one row waits long for the one before, those of other rows do
// not.
template <Share share>
__attribute__((target("avx512vbmi"))) bool in_stages(ShiftmaxRows s) {
    ShiftmaxStages at;
    greatest_stage(s, &at);
    for (int r = 0; r < s.rows; ++r) sum_stage(s, r, &at);
    for (int r = 0; r < s.rows; ++r) share_stage<share>(s, r, at);
    last_stage<share>(&at, &s);
    return s.upper;
}

}  // namespace

__attribute__((target("avx512vbmi"))) bool shiftmax_any(const uint8_t* x, int64_t ld, int rows, int64_t n,
                                                        const ShiftmaxView& q, uint8_t* low, uint8_t* high,
                                                        uint64_t* groups) {
    uint64_t f[tile_rows];
    uint8_t max[tile_rows];
    bool upper = false;
    for (int r = 0; r < rows; ++r) {
        max[r] = static_cast<uint8_t>(greatest(x + r * ld, n));
        f[r] = shiftmax_reciprocal(sum_row(x + r * ld, n, max + r, q.planes), q.M);
        if (f[r] >> 32) return shiftmax_slowly(x, ld, rows, n, q, low, high, groups);
        upper = upper || (f[r] * q.e[0]) >> (q.M - q.k + 1) > 255;
    }
    for (int r = 0; r < rows; ++r)
        shares_of_e(x + r * ld, n, max[r], f[r], q, low + r * ld, upper ? high + r * ld : nullptr,
                    groups + r * group_words(ld));
    return upper;
}

bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* groups) {
    if (q.planes.count == 0 || !has_vbmi()) return shiftmax_slowly(x, ld, rows, n, q, low, high, groups);
    const ShiftmaxRows s{x, ld, rows, n, q, low, high, groups};
    if (shiftmax_in_stages(q))
        return shares_directly(s) ? in_stages<Share::direct>(s) : in_stages<Share::low>(s);
    return shiftmax_any(x, ld, rows, n, q, low, high, groups);
}

// ---- Attention's right-hand matrices ----

void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init) {
    const __m512i ones = _mm512_set1_epi8(1);
    const __mmask16 there = lanes16(part.last), mine = lanes16(part.end) & ~lanes16(part.first);
    __m512i sums = _mm512_setzero_si512();
    for (int64_t c = 0; c < d; c += 64) {
        const __mmask64 valid = lanes64(d - c);
        const __m512i flip = _mm512_maskz_set1_epi8(valid, static_cast<char>(0x80));
        __m512i a[16], b[16];
        // Rows that are not there: any other in their place.
#pragma GCC unroll 16
        for (int j = 0; j < 16; ++j) {
            const int row = j < part.first ? part.first : j < part.last ? j : part.last - 1;
            a[j] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(valid, rows + row * ld + c), flip);
        }
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
            b[w] = _mm512_maskz_mov_epi32(there, b[w]);
            sums = _mm512_dpbusd_epi32(sums, ones, b[w]);
            if (c + 4 * w < d) _mm512_mask_storeu_epi32(panel + (c / 4 + w) * width * 4, mine, b[w]);
        }
    }
    _mm512_mask_storeu_epi32(init, mine,
                             _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sums, 7)));
}

void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width) {
    const __mmask64 valid = lanes64(cols);
    const __m512i flip = _mm512_maskz_set1_epi8(valid, static_cast<char>(0x80));
    __m512i a[4], b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
        a[j] = j >= part.first && j < part.last
                   ? _mm512_xor_si512(_mm512_maskz_loadu_epi8(valid, rows + j * ld), flip)
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
    if (part.first == 0 && part.end == 4) {
        for (int v = 0; v < width / 16; ++v) _mm512_storeu_si512(group + v * 64, b[v]);
        return;
    }
    const uint64_t mine = (uint64_t{1} << part.end) - (uint64_t{1} << part.first);
    for (int v = 0; v < width / 16; ++v)
        _mm512_mask_storeu_epi8(group + v * 64, mine * 0x1111111111111111, b[v]);
}

}  // namespace ivit::cpu::avx512
