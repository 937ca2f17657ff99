// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI: the matrix product, and accumulators to 8 and 16 bits, also one inside the other.
#include <type_traits>

#include "engine/backends/cpu/shiftmax_avx512vnni.h"

namespace ivit::cpu::avx512 {
namespace {

#define inlined __attribute__((always_inline)) inline

// An instruction for each: the compiler would copy one zero into all accumulators, and the first products
// wait some 30 cycles for copies.
__m512i zeroed() {
    __m512i x;
    asm volatile("vpxord %0, %0, %0" : "=v"(x));
    return x;
}

// ---- One row of 64 accumulators ----

// round_shift(x * m, s) of columns c..c+15. The constants come from memory each time: inside a product all
// registers but a few hold accumulators. m of the odd columns is read where it stands, one entry on.
inlined __m512i scaled_at(const int32_t* acc, const RequantView& q, int c) {
    const __m512i x = _mm512_load_si512(acc + c);
    const __m512i even = _mm512_mul_epi32(x, _mm512_loadu_si512(q.m + c)),
                  other = _mm512_mul_epi32(odd(x), _mm512_loadu_si512(q.m + c + 1));
    return _mm512_srav_epi32(_mm512_add_epi32(upper(even, other), _mm512_loadu_si512(q.half + c)),
                             _mm512_loadu_si512(q.shift + c));
}

// To 64 bytes, clamped, without the + 128.
inlined __m512i row_s8(const int32_t* acc, const RequantView& q) {
    const __m512i y[4] = {scaled_at(acc, q, 0), scaled_at(acc, q, 16), scaled_at(acc, q, 32),
                          scaled_at(acc, q, 48)};
    __m512i bytes = pack_bytes(y);  // saturates to 8 bits
    if (q.lo != -128 || q.hi != 127) {
        const __m512i lo = _mm512_set1_epi8(static_cast<char>(q.lo)),
                      hi = _mm512_set1_epi8(static_cast<char>(q.hi));
        bytes = _mm512_min_epi8(_mm512_max_epi8(bytes, lo), hi);
    }
    return bytes;
}

inlined void row_u8(const int32_t* acc, const RequantView& q, uint8_t* out) {
    _mm512_storeu_si512(out, _mm512_xor_si512(row_s8(acc, q), _mm512_set1_epi8(static_cast<char>(0x80))));
}

// To 64 words, clamped.
inlined void row_i16(const int32_t* acc, const RequantView& q, int16_t* out) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i lo = _mm512_set1_epi16(static_cast<int16_t>(q.lo)),
                  hi = _mm512_set1_epi16(static_cast<int16_t>(q.hi));
#pragma GCC unroll 2
    for (int c = 0; c < tile_cols; c += 32) {
        const __m512i words = _mm512_permutexvar_epi64(
            order, _mm512_packs_epi32(scaled_at(acc, q, c), scaled_at(acc, q, c + 16)));
        _mm512_storeu_si512(out + c, _mm512_min_epi16(_mm512_max_epi16(words, lo), hi));
    }
}

// Through a table of 256 bytes. Without the + 128 the sign says which half of it, the other way round.
__attribute__((target("avx512vbmi"))) inlined void row_table(const int32_t* acc, const RequantView& q,
                                                             const uint8_t* table, uint8_t* out) {
    const __m512i x = row_s8(acc, q);
    const __m512i low =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(table), x, _mm512_loadu_si512(table + 64));
    const __m512i high =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), x, _mm512_loadu_si512(table + 192));
    _mm512_storeu_si512(out, _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), high, low));
}

__attribute__((target("avx512vbmi"))) void rows_table(const int32_t* acc, int rows, const RequantView& q,
                                                      const uint8_t* table, uint8_t* out, int64_t ldo) {
    for (int r = 0; r < rows; ++r) row_table(acc + r * tile_cols, q, table, out + r * ldo);
}

// The old residual stream in pieces of 16 bits: m = h * 2^16 + l with l signed, so that
// round_shift(t * m, s) = (t * h + 2^(s-17) + (t * l >> 16)) >> (s - 16), which never leaves 32 bits.
struct Stream {
    int32_t h_and_one;  // for vpmaddwd: t * h + (t * l >> 16) * 1
    int32_t l, half, shift;
};

// What it takes: t * h and the half below 2^31.
bool splits(const ResidualView& old) {
    return old.s >= 18 && old.s <= 46 && old.m >= 0 && old.m < 0x7fff8000;
}

Stream split(const ResidualView& old) {
    const auto l = static_cast<int16_t>(old.m & 0xffff);
    const int32_t h = (old.m - l) >> 16;
    return {h | 1 << 16, l, int32_t{1} << (old.s - 17), old.s - 16};
}

// 32 columns: branch and stream, added and clamped.
inlined void half_row_sum(const int32_t* acc, const RequantView& q, int c, const Stream& s,
                          const int16_t* old, int16_t* out) {
    const __m512i mix = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7),
                  back = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    // In such an order that the two unpacked halves are columns 0..15 and 16..31.
    const __m512i t = _mm512_permutexvar_epi64(mix, _mm512_loadu_si512(old + c));
    const __m512i low = _mm512_mulhi_epi16(t, _mm512_set1_epi16(static_cast<int16_t>(s.l)));
    const __m512i h = _mm512_set1_epi32(s.h_and_one), half = _mm512_set1_epi32(s.half);
    const __m128i shift = _mm_cvtsi32_si128(s.shift);
    __m512i y[2] = {_mm512_unpacklo_epi16(t, low), _mm512_unpackhi_epi16(t, low)};
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
        const __m512i stream = _mm512_sra_epi32(_mm512_add_epi32(_mm512_madd_epi16(y[v], h), half), shift);
        y[v] = _mm512_add_epi32(stream, scaled_at(acc, q, c + v * 16));
    }
    const __m512i lo = _mm512_set1_epi16(static_cast<int16_t>(q.lo)),
                  hi = _mm512_set1_epi16(static_cast<int16_t>(q.hi));
    const __m512i words = _mm512_permutexvar_epi64(back, _mm512_packs_epi32(y[0], y[1]));
    _mm512_storeu_si512(out + c, _mm512_min_epi16(_mm512_max_epi16(words, lo), hi));
}

// ---- Products ----

// One step over four k. Few pointers: the compiler keeps what it has no general register for in vector
// registers, from where it comes back only behind all the products that wait.
// Rows from `split` on are those of x3.
template <int split, int rows, int vectors>
inlined void multiply4(__m512i (&acc)[rows][vectors], const uint8_t* x, const uint8_t* x3, int64_t lda,
                       const int8_t* b) {
    __m512i w[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) w[v] = _mm512_loadu_si512(b + v * 64);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
        const __m512i four = broadcast4(r < split ? x + r * lda : x3 + (r - split) * lda);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], four, w[v]);
    }
}

// How far ahead of a product a panel from afar is fetched: 290 cycles of six rows.
constexpr int64_t fetch_distance = 6144;

// acc += a * b. afar: no product of this thread has read b.
template <int split, int rows, int vectors>
inlined void multiply(__m512i (&acc)[rows][vectors], const uint8_t* a, const uint8_t* a3, int64_t lda,
                      const int8_t* b, int64_t k4, bool afar) {
    const int8_t* const end = b + k4 * vectors * 64;
    if (afar)
        for (; b != end; b += vectors * 64, a += 4, a3 += 4) {
            for (int v = 0; v < vectors; ++v) _mm_prefetch(b + fetch_distance + v * 64, _MM_HINT_T0);
            multiply4<split>(acc, a, a3, lda, b);
        }
    else
        for (; b != end; b += vectors * 64, a += 4, a3 += 4) multiply4<split>(acc, a, a3, lda, b);
}

struct Nothing {};

// A sixth of the lines to fetch.
inlined void fetch(const Finish& f, int slot) {
    const int lines = (f.lines + 5) / 6;
    const int8_t* line = f.fetch + int64_t{64} * lines * slot;
    for (int i = 0; i < lines; ++i, line += 64) _mm_prefetch(line, _MM_HINT_T1);
}

// Or the compiler would copy accumulators between one loop and the next.
template <int rows, int vectors>
inlined void keep_in_place(__m512i (&acc)[rows][vectors]) {
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) asm volatile("" : "+v"(acc[r][v]));
}

// acc = a * b, from zero: that costs nothing, unlike loads of `init`. Unless Step is nothing,
// step(0..slots-1) are called on the way, spread over k.
template <int slots, int split, int rows, int vectors, typename Step>
inlined void multiply_and(__m512i (&acc)[rows][vectors], const uint8_t* a, const uint8_t* a3, int64_t lda,
                          const int8_t* b, int64_t k4, bool afar, const Step& step) {
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) acc[r][v] = zeroed();
    if constexpr (std::is_same_v<Step, Nothing>) {
        multiply<split>(acc, a, a3, lda, b, k4, afar);
    } else {
        const int64_t part = (k4 + slots / 2) / slots;
        for (int i = 0; i < slots; ++i) {
            const int64_t count = i < slots - 1 && part < k4 ? part : k4;
            multiply<split>(acc, a, a3, lda, b, count, afar);
            k4 -= count;
            a += count * 4;
            a3 += count * 4;
            b += count * vectors * 64;
            step(i);
            asm volatile("" ::: "memory");  // or its constants would be kept in registers there are not
        }
    }
}

// One function, so that the accumulators stay an array the compiler can take apart into registers. on_upper:
// to `out`'s 256-fold.
template <bool on_upper, int rows, int vectors, int slots = 6, typename Step>
inlined void tile(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4, const int32_t* init,
                  int32_t* out, bool afar, const Step& step) {
    __m512i acc[rows][vectors];
    multiply_and<slots, 3>(acc, a, a + 3 * lda, lda, b, k4, afar, step);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            int32_t* to = out + r * tile_cols + v * 16;
            if constexpr (on_upper)
                acc[r][v] = _mm512_add_epi32(acc[r][v], _mm512_slli_epi32(_mm512_load_si512(to), 8));
            _mm512_store_si512(to, _mm512_add_epi32(acc[r][v], _mm512_loadu_si512(init + v * 16)));
        }
}

// The same of a + 256 a_high: rows of a, then those of a_high.
template <int rows, int vectors, int slots = 4, typename Step>
inlined void tile_of_both(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
                          const int32_t* init, int32_t* out, const Step& step) {
    __m512i acc[2 * rows][vectors];
    multiply_and<slots, rows>(acc, a, a_high, lda, b, k4, false, step);
    keep_in_place(acc);
#pragma GCC unroll 3
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            const __m512i sum = _mm512_add_epi32(acc[r][v], _mm512_slli_epi32(acc[rows + r][v], 8));
            _mm512_store_si512(out + r * tile_cols + v * 16,
                               _mm512_add_epi32(sum, _mm512_loadu_si512(init + v * 16)));
        }
}

// The products with nothing inside.
template <bool on_upper, int rows, int vectors>
void plain(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4, const int32_t* init, int32_t* out,
           bool afar) {
    tile<on_upper, rows, vectors>(a, lda, b, k4, init, out, afar, Nothing{});
}

template <int rows, int vectors>
__attribute__((noinline)) void with_u8(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4,
                                       const int32_t* init, int32_t* out, const Finish& f) {
    tile<false, rows, vectors>(a, lda, b, k4, init, out, f.afar, [&](int r) {
        fetch(f, r);
        if (r < f.rows) row_u8(f.acc + r * tile_cols, f.q, f.u8 + r * f.ld);
    });
}

template <int rows, int vectors>
__attribute__((noinline)) void with_i16(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4,
                                        const int32_t* init, int32_t* out, const Finish& f) {
    tile<false, rows, vectors>(a, lda, b, k4, init, out, f.afar, [&](int r) {
        fetch(f, r);
        if (r < f.rows) row_i16(f.acc + r * tile_cols, f.q, f.i16 + r * f.ld);
    });
}

template <int rows, int vectors>
__attribute__((target("avx512vbmi"), noinline)) void with_table(const uint8_t* a, int64_t lda,
                                                                const int8_t* b, int64_t k4,
                                                                const int32_t* init, int32_t* out,
                                                                const Finish& f) {
    tile<false, rows, vectors>(
        a, lda, b, k4, init, out, f.afar, [&](int r) __attribute__((target("avx512vbmi"))) {
            fetch(f, r);
            if (r < f.rows) row_table(f.acc + r * tile_cols, f.q, f.table, f.u8 + r * f.ld);
        });
}

template <int rows, int vectors>
__attribute__((noinline)) void with_sum(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4,
                                        const int32_t* init, int32_t* out, const Finish& f) {
    const Stream s = split(f.stream);
    tile<false, rows, vectors>(a, lda, b, k4, init, out, f.afar, [&](int r) {
        fetch(f, r);
        if (r >= f.rows) return;
        half_row_sum(f.acc + r * tile_cols, f.q, 0, s, f.old + r * f.ld, f.i16 + r * f.ld);
        half_row_sum(f.acc + r * tile_cols, f.q, 32, s, f.old + r * f.ld, f.i16 + r * f.ld);
    });
}

// Shiftmax of rows that wait for another product, in tile_rows + 2 stages: the sum of one while the shares of
// the one before it are looked up.
template <Share share>
__attribute__((target("avx512vbmi"))) inlined void shiftmax_stage(const ShiftmaxRows& s, int stage,
                                                                  ShiftmaxStages* at) {
    const int r = stage - 1;
    if (stage == 0) return greatest_stage(s, at);
    if (r < s.rows) sum_stage(s, r, at);
    if (r > 0 && r <= s.rows) share_stage<share>(s, r - 1, *at);
}

template <bool on_upper, Share share, int rows, int vectors>
__attribute__((target("avx512vbmi"), noinline)) void with_shiftmax(const uint8_t* a, int64_t lda,
                                                                   const int8_t* b, int64_t k4,
                                                                   const int32_t* init, int32_t* out,
                                                                   ShiftmaxRows* s) {
    ShiftmaxStages at;
    tile<on_upper, rows, vectors, tile_rows + 2>(
        a, lda, b, k4, init, out, false, [&](int stage) __attribute__((target("avx512vbmi"))) {
            shiftmax_stage<share>(*s, stage, &at);
        });
    last_stage<share>(&at, s);
}

// As two tiles, each of half the rows twice. The rows that wait will have as many upper bytes.
template <int rows, int vectors>
__attribute__((target("avx512vbmi"), noinline)) void both_with_shiftmax(const uint8_t* a,
                                                                        const uint8_t* a_high, int64_t lda,
                                                                        const int8_t* b, int64_t k4,
                                                                        const int32_t* init, int32_t* out,
                                                                        ShiftmaxRows* s) {
    constexpr int first = (rows + 1) / 2;
    ShiftmaxStages at;
    tile_of_both<first, vectors>(
        a, a_high, lda, b, k4, init, out, [&](int stage) __attribute__((target("avx512vbmi"))) {
            shiftmax_stage<Share::direct>(*s, stage, &at);
        });
    tile_of_both<rows - first, vectors>(
        a + first * lda, a_high + first * lda, lda, b, k4, init,
        out + first * tile_cols, [&](int stage) __attribute__((target("avx512vbmi"))) {
            shiftmax_stage<Share::direct>(*s, stage + 4, &at);
        });
    last_stage<Share::direct>(&at, s);
}

template <int rows, int vectors>
void both(const uint8_t* a, const uint8_t* a_high, int64_t lda, const int8_t* b, int64_t k4,
          const int32_t* init, int32_t* out) {
    constexpr int first = rows > 3 ? (rows + 1) / 2 : rows;
    tile_of_both<first, vectors>(a, a_high, lda, b, k4, init, out, Nothing{});
    if constexpr (rows > first)
        tile_of_both<rows - first, vectors>(a + first * lda, a_high + first * lda, lda, b, k4, init,
                                            out + first * tile_cols, Nothing{});
}

// Up to so many groups of four k every one has an upper byte: 2^15 shared among up to 128.
constexpr int64_t dense_k4 = 32;

// acc += a * b of rows [first, rows), two at a time, over the groups of four k where either has any.
template <int first, int rows, int vectors>
inlined void multiply_groups(__m512i (&acc)[rows][vectors], const uint8_t* a, int64_t lda, const int8_t* b,
                             const uint64_t* groups, uint64_t valid) {
    constexpr bool two = first + 1 < rows;
    const int64_t words = group_words(lda);
    for (uint64_t left = (groups[0] | (two ? groups[words] : 0)) & valid; left; left &= left - 1) {
        const int64_t g = __builtin_ctzll(left);
        const __m512i x = broadcast4(a + 4 * g), y = two ? broadcast4(a + lda + 4 * g) : x;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            const __m512i w = _mm512_loadu_si512(b + (g * vectors + v) * 64);
            acc[first][v] = _mm512_dpbusd_epi32(acc[first][v], x, w);
            if constexpr (two) acc[first + 1][v] = _mm512_dpbusd_epi32(acc[first + 1][v], y, w);
        }
        keep_in_place(acc);
    }
    if constexpr (first + 2 < rows)
        multiply_groups<first + 2>(acc, a + 2 * lda, lda, b, groups + 2 * words, valid);
}

// The product of upper bytes: zeros but for a few probabilities. Their places are known from memory long
// before. Yields whether they are many.
template <int rows, int vectors>
bool upper_tile(const uint8_t* a, const uint64_t* groups, int64_t lda, const int8_t* b, int64_t k4,
                int32_t* out) {
    __m512i acc[rows][vectors];
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) acc[r][v] = zeroed();
    int64_t found = 0;
    for (int64_t at = 0; at < k4; at += 64, a += 256, b += 64 * vectors * 64, ++groups) {
        const uint64_t valid = k4 - at < 64 ? (uint64_t{1} << (k4 - at)) - 1 : ~uint64_t{0};
        multiply_groups<0>(acc, a, lda, b, groups, valid);
        for (int r = 0; r < rows; ++r) found += __builtin_popcountll(groups[r * group_words(lda)] & valid);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) _mm512_store_si512(out + r * tile_cols + v * 16, acc[r][v]);
    return 16 * found > rows * k4;
}

// Tiles that are not worth a way of their own, or have none. Out of line, so that the others are reached
// without a stack frame.
template <int rows, int vectors>
__attribute__((noinline)) void tile_after(const uint8_t* a, int64_t lda, const int8_t* b, int64_t k4,
                                          const int32_t* init, int32_t* acc, const Finish& f) {
    finish(avx512vnni_kernels(), f);
    plain<false, rows, vectors>(a, lda, b, k4, init, acc, f.afar);
}

// Tiles of 16-bit a's.
template <int rows, int vectors>
__attribute__((noinline)) void wide_tile(const uint8_t* a, const UpperBytes& high, int64_t lda,
                                         const int8_t* b, int64_t k4, const int32_t* init, int32_t* acc,
                                         const Finish& f) {
    const bool few = k4 <= dense_k4;
    if constexpr (rows >= 4 && vectors >= 2) {
        if (f.to == Finish::To::shiftmax && shiftmax_in_stages(f.logits->q) && (few || high.groups)) {
            ShiftmaxRows* const s = f.logits;
            if (few) return both_with_shiftmax<rows, vectors>(a, high.bytes, lda, b, k4, init, acc, s);
            // The rows that wait will have about as many upper bytes.
            return upper_tile<rows, vectors>(high.bytes, high.groups, lda, b, k4, acc)
                       ? with_shiftmax<true, Share::both, rows, vectors>(a, lda, b, k4, init, acc, s)
                       : with_shiftmax<true, Share::low, rows, vectors>(a, lda, b, k4, init, acc, s);
        }
    }
    finish(avx512vnni_kernels(), f);
    if (few || !high.groups) return both<rows, vectors>(a, high.bytes, lda, b, k4, init, acc);
    upper_tile<rows, vectors>(high.bytes, high.groups, lda, b, k4, acc);
    plain<true, rows, vectors>(a, lda, b, k4, init, acc, false);
}

template <int rows, int vectors>
inlined void tile_and(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
                      const int32_t* init, int32_t* acc, const Finish& f) {
    if (high) return wide_tile<rows, vectors>(a, *high, lda, b, k4, init, acc, f);
    // A few rows leave registers free for the plain way, and a narrow tile of the earlier ones is rare.
    if constexpr (rows >= 4) {
        if (f.cols == tile_cols && f.q.upper) {
            if (f.to == Finish::To::u8 && !f.table)
                return with_u8<rows, vectors>(a, lda, b, k4, init, acc, f);
            if (f.to == Finish::To::i16) return with_i16<rows, vectors>(a, lda, b, k4, init, acc, f);
            if (f.to == Finish::To::u8 && has_vbmi())
                return with_table<rows, vectors>(a, lda, b, k4, init, acc, f);
            if (f.to == Finish::To::sum && splits(f.stream))
                return with_sum<rows, vectors>(a, lda, b, k4, init, acc, f);
        }
    }
    if constexpr (rows >= 4 && vectors >= 2) {
        if (f.to == Finish::To::shiftmax && shiftmax_in_stages(f.logits->q))
            return shares_directly(*f.logits)
                       ? with_shiftmax<false, Share::direct, rows, vectors>(a, lda, b, k4, init, acc,
                                                                            f.logits)
                       : with_shiftmax<false, Share::low, rows, vectors>(a, lda, b, k4, init, acc, f.logits);
    }
    tile_after<rows, vectors>(a, lda, b, k4, init, acc, f);
}

template <int vectors>
inlined void tile_of(int rows, const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b,
                     int64_t k4, const int32_t* init, int32_t* acc, const Finish& f) {
    switch (rows) {
        case 6:
            return tile_and<6, vectors>(a, high, lda, b, k4, init, acc, f);
        case 5:
            return tile_and<5, vectors>(a, high, lda, b, k4, init, acc, f);
        case 4:
            return tile_and<4, vectors>(a, high, lda, b, k4, init, acc, f);
        case 3:
            return tile_and<3, vectors>(a, high, lda, b, k4, init, acc, f);
        case 2:
            return tile_and<2, vectors>(a, high, lda, b, k4, init, acc, f);
        default:
            return tile_and<1, vectors>(a, high, lda, b, k4, init, acc, f);
    }
}

}  // namespace

void gemm_tile(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc, const Finish& before) {
    switch (width) {
        case 64:
            return tile_of<4>(rows, a, high, lda, b, k4, init, acc, before);
        case 48:
            return tile_of<3>(rows, a, high, lda, b, k4, init, acc, before);
        case 32:
            return tile_of<2>(rows, a, high, lda, b, k4, init, acc, before);
        default:
            return tile_of<1>(rows, a, high, lda, b, k4, init, acc, before);
    }
}

// ---- Accumulators alone ----

namespace {

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

}  // namespace

void lift(int32_t* acc, int rows, int cols, const int32_t* lift) {
    for (int c = 0; c < cols; c += 16) {
        const __m512i left = _mm512_loadu_si512(lift + c),
                      most = _mm512_srlv_epi32(_mm512_set1_epi32(0x7fffffff), left),
                      least = _mm512_sub_epi32(_mm512_setzero_si512(), most);
        for (int r = 0; r < rows; ++r) {
            int32_t* const at = acc + r * tile_cols + c;
            const __m512i x = _mm512_min_epi32(_mm512_max_epi32(_mm512_load_si512(at), least), most);
            _mm512_store_si512(at, _mm512_sllv_epi32(x, left));
        }
    }
}

void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo) {
    if (!q.upper) return scalar_kernels.requant_u8(acc, rows, cols, q, table, out, ldo);
    if (cols == tile_cols && table && has_vbmi()) {
        return rows_table(acc, rows, q, table, out, ldo);
    }
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
    if (q.upper && cols % 32 == 0 && splits(old)) {
        const Stream s = split(old);
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < cols; c += 32)
                half_row_sum(acc + r * tile_cols, q, c, s, t + r * ld, out + r * ld);
        return;
    }
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

}  // namespace ivit::cpu::avx512
