// SPDX-License-Identifier: Apache-2.0
// AVX-512 with VBMI: Shiftmax of one row in three stages, which may run inside a matrix product: few
// registers, tables from memory, no calls. For a shift of 32 bits (M - k + 1), where nothing has to be
// clamped.
#pragma once
#include "engine/backends/cpu/avx512vnni.h"

namespace ivit::cpu {
namespace {

#define vbmi_inlined __attribute__((target("avx512vbmi"), always_inline)) inline

bool shiftmax_in_stages(const ShiftmaxView& q) {
    return q.planes.count > 0 && q.M - q.k + 1 == 32 && has_vbmi();
}

vbmi_inlined int horizontal_max(__m512i x) {
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i q = _mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    // vphminposuw finds the least of eight words: both bytes of each folded into one, upside down.
    q = _mm_max_epu8(q, _mm_srli_epi16(q, 8));
    q = _mm_xor_si128(_mm_and_si128(q, _mm_set1_epi16(0xff)), _mm_set1_epi16(0xff));
    return 255 - (_mm_cvtsi128_si32(_mm_minpos_epu16(q)) & 0xff);
}

vbmi_inlined __m512i broadcast_byte(const uint8_t* x) { return _mm512_set1_epi8(static_cast<char>(*x)); }

vbmi_inlined int greatest(const uint8_t* x, int64_t n) {
    __m512i most = _mm512_setzero_si512();
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) most = _mm512_max_epu8(most, _mm512_loadu_si512(x + i));
    if (i < n) most = _mm512_max_epu8(most, _mm512_maskz_loadu_epi8(lanes64(n - i), x + i));
    return horizontal_max(most);
}

// table[index] for a table of 256 bytes in memory.
vbmi_inlined __m512i look_up_at(const uint8_t* table, __m512i index) {
    const __m512i low =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(table), index, _mm512_loadu_si512(table + 64));
    const __m512i high =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), index, _mm512_loadu_si512(table + 192));
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

// The same in registers.
vbmi_inlined __m512i look_up_in(const __m512i (&table)[4], __m512i index) {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index),
                                  _mm512_permutex2var_epi8(table[0], index, table[1]),
                                  _mm512_permutex2var_epi8(table[2], index, table[3]));
}

// The sum of e over a row.
vbmi_inlined uint64_t sum_row(const uint8_t* x, int64_t n, const uint8_t* max, const EPlanes& e) {
    const __m512i top = broadcast_byte(max), ones = _mm512_set1_epi8(1);
    const auto index_at = [&](int64_t i, __mmask64 valid)
        __attribute__((target("avx512vbmi"), always_inline)) {
        return _mm512_maskz_sub_epi8(valid, top, _mm512_loadu_si512(x + i));
    };
    uint64_t sum = 0;
    if (e.count == 2 && n <= 8192) {
        __m512i low = _mm512_setzero_si512(), high = low;
        const uint8_t* table = e.bytes;
        const auto add = [&](__m512i index, __m512i one)
            __attribute__((target("avx512vbmi"), always_inline)) {
            asm volatile("" : "+r"(table));  // not to be kept in registers
            low = _mm512_dpbusd_epi32(low, look_up_at(table, index), one);
            high = _mm512_dpbusd_epi32(high, look_up_at(table + 256, index), one);
        };
        int64_t i = 0;
        for (; i + 64 <= n; i += 64) add(index_at(i, ~__mmask64{0}), ones);
        if (i < n) add(index_at(i, lanes64(n - i)), _mm512_maskz_mov_epi8(lanes64(n - i), ones));
        const __m512i sums = _mm512_add_epi32(low, _mm512_slli_epi32(high, 8));
        sum = static_cast<uint32_t>(_mm512_reduce_add_epi32(sums));
    } else {
        __m512i sums = _mm512_setzero_si512();
        const uint8_t* table = e.bytes + e.count * 256;
        for (int p = 0; p < e.count; ++p) {
            table -= 256;
            sums = _mm512_slli_epi64(sums, 8);
            for (int64_t i = 0; i < n; i += 64) {
                asm volatile("" : "+r"(table));
                const __mmask64 valid = lanes64(n - i);
                const __m512i y = _mm512_maskz_mov_epi8(valid, look_up_at(table, index_at(i, valid)));
                sums = _mm512_add_epi64(sums, _mm512_sad_epu8(y, _mm512_setzero_si512()));
            }
        }
        sum = static_cast<uint64_t>(_mm512_reduce_add_epi64(sums));
    }
    return sum << e.shift;
}

// Where the bytes of p of distance v lie among the words two packs of four products leave.
struct ByteOrder {
    alignas(64) uint8_t low[64], high[64];
    constexpr ByteOrder() : low(), high() {
        for (int v = 0; v < 64; ++v) {
            // Two vectors of products, upper halves side by side: values 0 8 1 9 ..; packed in each 128 bits
            // with those of the next two.
            const int lane = v % 8 * 2 + v / 8 % 2, word = lane / 4 * 8 + v / 16 % 2 * 4 + lane % 4;
            low[v] = static_cast<uint8_t>(v / 32 * 64 + word * 2);
            high[v] = static_cast<uint8_t>(low[v] + 1);
        }
    }
};
constexpr ByteOrder byte_order;

// p of 64 distances from e on, two packs of 32 words as ByteOrder knows them. f < 2^32.
vbmi_inlined void words(const uint64_t* e, const uint64_t* f, __m512i* first, __m512i* second) {
    const __m512i factor = _mm512_set1_epi64(static_cast<long long>(*f));
    const auto pair = [&](const uint64_t* at) __attribute__((target("avx512vbmi"), always_inline)) {
        const __m512i even = _mm512_mul_epu32(_mm512_loadu_si512(at), factor);
        return upper(even, _mm512_mul_epu32(_mm512_loadu_si512(at + 8), factor));
    };
    *first = _mm512_packus_epi32(pair(e), pair(e + 16));
    *second = _mm512_packus_epi32(pair(e + 32), pair(e + 48));
}

// p by distance: its low bytes in registers, its high ones, unless null, in memory. Beside a product there
// are no registers for both.
vbmi_inlined void share_tables(const uint64_t* e, const uint64_t* f, __m512i (&low)[4], uint8_t* high) {
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
        __m512i first, second;
        words(e + b * 64, f, &first, &second);
        if (high)
            _mm512_store_si512(high + b * 64,
                               _mm512_permutex2var_epi8(first, _mm512_load_si512(byte_order.high), second));
        low[b] = _mm512_permutex2var_epi8(first, _mm512_load_si512(byte_order.low), second);
        asm volatile("" : "+v"(low[b]));  // one after the other: registers are few
    }
}

// The low bytes of a row's p.
vbmi_inlined void low_shares(const uint8_t* x, int64_t n, const uint8_t* max, const __m512i (&table)[4],
                             uint8_t* out) {
    const __m512i top = broadcast_byte(max);
    const auto at = [&](int64_t i) __attribute__((target("avx512vbmi"), always_inline)) {
        return look_up_in(table, _mm512_sub_epi8(top, _mm512_loadu_si512(x + i)));
    };
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) _mm512_storeu_si512(out + i, at(i));
    if (i < n) _mm512_mask_storeu_epi8(out + i, lanes64(n - i), at(i));
}

// The groups of four of 64 numbers of a row from i on, of upper bytes x.
vbmi_inlined void put_groups(__m512i x, int64_t i, uint64_t* groups) {
    const __mmask16 any = _mm512_test_epi32_mask(x, x);
    __builtin_memcpy(reinterpret_cast<char*>(groups) + i / 32, &any, sizeof any);
}

// The high bytes of a row's p.
vbmi_inlined void high_shares(const uint8_t* x, int64_t n, const uint8_t* max, const uint8_t* table,
                              uint8_t* out, uint64_t* groups) {
    const __m512i top = broadcast_byte(max);
    const auto at = [&](int64_t i) __attribute__((target("avx512vbmi"), always_inline)) {
        return look_up_at(table, _mm512_sub_epi8(top, _mm512_loadu_si512(x + i)));
    };
    const auto put = [&](int64_t i, __m512i p) __attribute__((target("avx512vbmi"), always_inline)) {
        _mm512_storeu_si512(out + i, p);
        put_groups(p, i, groups);
    };
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) put(i, at(i));
    if (i < n) put(i, _mm512_maskz_mov_epi8(lanes64(n - i), at(i)));
}

// p of 16 numbers e, each (e * g) >> 32, g in every other lane.
vbmi_inlined __m512i shares16(__m512i e, __m512i g) {
    const __m512i even = _mm512_mul_epu32(e, g);
    return upper(even, _mm512_mul_epu32(odd(e), g));
}

// Both bytes of p for a row's distances, each from its own e: less work than a table of all distances where a
// row is short. With the planes' shift in it, f must not pass 32 bits.
vbmi_inlined void both_shares(const uint8_t* x, int64_t n, const uint8_t* max, const EPlanes& e,
                              const uint64_t* f, uint8_t* low, uint8_t* high) {
    for (int64_t i = 0; i < n; i += 64) {
        const uint8_t* table = e.bytes;
        asm volatile("" : "+r"(table));
        const __m512i index = _mm512_sub_epi8(broadcast_byte(max), _mm512_loadu_si512(x + i));
        const __m512i zero = _mm512_setzero_si512(),
                      factor = _mm512_set1_epi64(static_cast<long long>(*f << e.shift));
        const auto plane_at = [&](int p) __attribute__((target("avx512vbmi"), always_inline)) {
            return e.count > p ? look_up_at(table + p * 256, index) : zero;
        };
        // Words, then pairs of words, in each 128 bits; the packs below bring them back into order.
        const __m512i b0 = plane_at(0), b1 = plane_at(1), b2 = plane_at(2), b3 = plane_at(3);
        const __m512i l = _mm512_unpacklo_epi8(b0, b1), h = _mm512_unpackhi_epi8(b0, b1);
        const __m512i l2 = _mm512_unpacklo_epi8(b2, b3), h2 = _mm512_unpackhi_epi8(b2, b3);
        const __m512i first = _mm512_packus_epi32(shares16(_mm512_unpacklo_epi16(l, l2), factor),
                                                  shares16(_mm512_unpackhi_epi16(l, l2), factor));
        const __m512i second = _mm512_packus_epi32(shares16(_mm512_unpacklo_epi16(h, h2), factor),
                                                   shares16(_mm512_unpackhi_epi16(h, h2), factor));
        const __m512i byte = _mm512_set1_epi16(0xff);
        _mm512_storeu_si512(
            low + i, _mm512_packus_epi16(_mm512_and_si512(first, byte), _mm512_and_si512(second, byte)));
        _mm512_storeu_si512(high + i,
                            _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8)));
    }
}

// Six rows on their way.
struct ShiftmaxStages {
    uint64_t f[tile_rows];  // 2^M / sum
    uint8_t max[tile_rows];
    bool upper[tile_rows];
    bool apart[tile_rows];  // its f is out of reach
};

vbmi_inlined void greatest_stage(const ShiftmaxRows& s, ShiftmaxStages* at) {
    for (int r = 0; r < s.rows; ++r) at->max[r] = static_cast<uint8_t>(greatest(s.x + r * s.ld, s.n));
}

vbmi_inlined void sum_stage(const ShiftmaxRows& s, int r, ShiftmaxStages* at) {
    const uint64_t f = (uint64_t{1} << s.q.M) / sum_row(s.x + r * s.ld, s.n, at->max + r, s.q.planes);
    at->f[r] = f;
    at->apart[r] = f >> (32 - s.q.planes.shift);
    // The greatest logit has the greatest share.
    at->upper[r] = (f * s.q.e[0]) >> 32 > 255;
}

// What a stage finds of p: its low bytes; both; or both the direct way, for short rows, of which nearly all
// have upper bytes: 2^15 among so few.
enum class Share { low, both, direct };
bool shares_directly(const ShiftmaxRows& s) { return s.n <= 128; }

template <Share share>
vbmi_inlined void share_stage(const ShiftmaxRows& s, int r, const ShiftmaxStages& at) {
    const uint8_t *x = s.x + r * s.ld, *max = at.max + r;
    uint8_t *low = s.low + r * s.ld, *high = s.high + r * s.ld;
    if constexpr (share == Share::direct) return both_shares(x, s.n, max, s.q.planes, at.f + r, low, high);
    __m512i table[4];
    alignas(64) uint8_t high_table[256];
    share_tables(s.q.e, at.f + r, table, share == Share::both ? high_table : nullptr);
    low_shares(x, s.n, max, table, low);
    if constexpr (share == Share::both)
        high_shares(x, s.n, max, high_table, high, s.groups + r * group_words(s.ld));
}

// The rows that go another way, and the upper bytes, where any row has one and share_stage has not found
// them.
template <Share share>
vbmi_inlined void last_stage(ShiftmaxStages* at, ShiftmaxRows* s) {
    s->upper = false;
    for (int r = 0; r < s->rows; ++r) {
        const int64_t row = r * s->ld;
        if (at->apart[r])
            at->upper[r] = avx512::shiftmax_any(s->x + row, s->ld, 1, s->n, s->q, s->low + row, s->high + row,
                                                s->groups + r * group_words(s->ld));
        s->upper = s->upper || at->upper[r];
    }
    for (int r = 0; r < s->rows && s->upper; ++r) {
        uint8_t* const high = s->high + r * s->ld;
        uint64_t* const groups = s->groups + r * group_words(s->ld);
        if (!at->upper[r]) {
            for (int64_t i = 0; i < s->n; i += 64) {
                _mm512_storeu_si512(high + i, _mm512_setzero_si512());
                if (share != Share::direct) put_groups(_mm512_setzero_si512(), i, groups);
            }
        } else if (share == Share::low && !at->apart[r]) {
            __m512i table[4];
            alignas(64) uint8_t high_table[256];
            share_tables(s->q.e, at->f + r, table, high_table);
            high_shares(s->x + r * s->ld, s->n, at->max + r, high_table, high, groups);
        }
    }
}

}  // namespace
}  // namespace ivit::cpu
