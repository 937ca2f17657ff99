// SPDX-License-Identifier: Apache-2.0
// AVX2: tables of bytes, 16 entries at a time; Shiftmax and patches, which live on them, attention's
// right-hand matrices, and positions.
#include "engine/backends/cpu/avx2.h"

namespace ivit::cpu::avx2 {
namespace {

// ---- Shiftmax ----

// table[delta] for `tables` tables of 16 bytes, `planes` times over; the tables of a plane are `stride`
// apart. Outside its 16 a table yields zero: 0x70 is added with saturation, and vpshufb looks at the upper
// bit.
template <int planes>
void look_up(const uint8_t* tables, int64_t stride, int count, __m256i delta, __m256i (&out)[planes]) {
    const __m256i sixteen = _mm256_set1_epi8(16), to_sign = _mm256_set1_epi8(0x70);
    for (__m256i& o : out) o = _mm256_setzero_si256();
    for (int t = 0; t < count; ++t) {
        const __m256i index = _mm256_adds_epu8(delta, to_sign);
#pragma GCC unroll 4
        for (int p = 0; p < planes; ++p) {
            const __m128i* table = reinterpret_cast<const __m128i*>(tables + p * stride + t * 16);
            const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
            out[p] = _mm256_or_si256(out[p], _mm256_shuffle_epi8(both, index));
        }
        delta = _mm256_sub_epi8(delta, sixteen);
    }
}

// The sum of e over a row, byte plane by byte plane.
template <int planes>
uint64_t sum_of_e(const uint8_t* x, int64_t n, int max, int tables, const ShiftmaxView& q) {
    const __m256i top = _mm256_set1_epi8(static_cast<char>(max)), zero = _mm256_setzero_si256();
    __m256i sums[planes];
    for (__m256i& s : sums) s = zero;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i e[planes];
        look_up<planes>(q.planes.bytes, 256, tables, _mm256_sub_epi8(top, load(x + i)), e);
        for (int p = 0; p < planes; ++p) sums[p] = _mm256_add_epi64(sums[p], _mm256_sad_epu8(e[p], zero));
    }
    uint64_t d = 0;
    for (int p = 0; p < planes; ++p) d += static_cast<uint64_t>(sum64(sums[p])) << (8 * p + q.planes.shift);
    for (; i < n; ++i) d += q.e[max - x[i]];
    return d;
}

uint64_t sum_of_e(const uint8_t* x, int64_t n, int max, int tables, const ShiftmaxView& q) {
    switch (q.planes.count) {
        case 1:
            return sum_of_e<1>(x, n, max, tables, q);
        case 2:
            return sum_of_e<2>(x, n, max, tables, q);
        case 3:
            return sum_of_e<3>(x, n, max, tables, q);
        default:
            return sum_of_e<4>(x, n, max, tables, q);
    }
}

// p once per value of e, f < 2^32: 16 low bytes to p, 16 high ones to p + 256.
void share16(const uint64_t* e, uint64_t f, const ShiftmaxView& q, uint8_t* p) {
    const __m256i factor = _mm256_set1_epi64x(static_cast<int64_t>(f)),
                  limit = _mm256_set1_epi32(1 << (q.k - 1));
    const __m128i shift = _mm_cvtsi32_si128(q.M - q.k + 1);
    __m256i y[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) y[v] = _mm256_srl_epi64(_mm256_mul_epu32(load(e + 4 * v), factor), shift);
    // Words 0 4 1 5 2 6 3 7, and so on: the last shuffle puts all 16 in order.
    const __m256i a = _mm256_min_epu32(_mm256_blend_epi32(y[0], _mm256_slli_epi64(y[1], 32), 0xAA), limit);
    const __m256i b = _mm256_min_epu32(_mm256_blend_epi32(y[2], _mm256_slli_epi64(y[3], 32), 0xAA), limit);
    const __m256i w = _mm256_packus_epi32(a, b);
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_and_si256(w, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(w, 8));
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15));
    const __m256i sorted = _mm256_shuffle_epi8(_mm256_permute4x64_epi64(bytes, 0xD8), order);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(sorted));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 256), _mm256_extracti128_si256(sorted, 1));
}

// The greatest and the least of a row.
void range_of(const uint8_t* x, int64_t n, int* max, int* min) {
    __m256i most = _mm256_setzero_si256(), least = _mm256_set1_epi8(-1);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        most = _mm256_max_epu8(most, load(x + i));
        least = _mm256_min_epu8(least, load(x + i));
    }
    alignas(32) uint8_t up[32], down[32];
    store(up, most);
    store(down, least);
    uint8_t top = 0, bottom = 255;
    for (int j = 0; j < 32; ++j) {
        top = up[j] > top ? up[j] : top;
        bottom = down[j] < bottom ? down[j] : bottom;
    }
    for (; i < n; ++i) {
        top = x[i] > top ? x[i] : top;
        bottom = x[i] < bottom ? x[i] : bottom;
    }
    *max = top;
    *min = bottom;
}

// ---- Attention's right-hand matrices ----

// Eight rows of eight words: rows become columns.
void transpose8(__m256i (&a)[8]) {
    __m256i b[8];
#pragma GCC unroll 4
    for (int j = 0; j < 8; j += 2) {
        b[j] = _mm256_unpacklo_epi32(a[j], a[j + 1]);
        b[j + 1] = _mm256_unpackhi_epi32(a[j], a[j + 1]);
    }
#pragma GCC unroll 2
    for (int j = 0; j < 8; j += 4) {
        a[j] = _mm256_unpacklo_epi64(b[j], b[j + 2]);
        a[j + 1] = _mm256_unpackhi_epi64(b[j], b[j + 2]);
        a[j + 2] = _mm256_unpacklo_epi64(b[j + 1], b[j + 3]);
        a[j + 3] = _mm256_unpackhi_epi64(b[j + 1], b[j + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        b[j] = _mm256_permute2x128_si256(a[j], a[j + 4], 0x20);
        b[j + 4] = _mm256_permute2x128_si256(a[j], a[j + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) a[j] = b[j];
}

}  // namespace

bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* groups) {
    if (q.planes.count == 0) return scalar_kernels.shiftmax(x, ld, rows, n, q, low, high, groups);
    int max[tile_rows], tables[tile_rows];
    uint64_t f[tile_rows];
    bool upper = false;
    for (int r = 0; r < rows; ++r) {
        int min = 0;
        range_of(x + r * ld, n, &max[r], &min);
        tables[r] = (max[r] - min) / 16 + 1;
        f[r] = shiftmax_reciprocal(sum_of_e(x + r * ld, n, max[r], tables[r], q), q.M);
        if (f[r] >> 32) return scalar_kernels.shiftmax(x, ld, rows, n, q, low, high, groups);
        // The greatest logit has the greatest share.
        upper = upper || (f[r] * q.e[0]) >> (q.M - q.k + 1) > 255;
    }
    for (int r = 0; r < rows; ++r) {
        alignas(32) uint8_t p[512];
        for (int t = 0; t < tables[r]; ++t) share16(q.e + 16 * t, f[r], q, p + 16 * t);
        const uint8_t* row = x + r * ld;
        uint8_t *to = low + r * ld, *to_high = high + r * ld;
        const __m256i top = _mm256_set1_epi8(static_cast<char>(max[r]));
        int64_t i = 0;
        for (; i + 32 <= n; i += 32) {
            const __m256i delta = _mm256_sub_epi8(top, load(row + i));
            if (upper) {
                __m256i both[2];
                look_up<2>(p, 256, tables[r], delta, both);
                store(to + i, both[0]);
                store(to_high + i, both[1]);
            } else {
                __m256i one[1];
                look_up<1>(p, 256, tables[r], delta, one);
                store(to + i, one[0]);
            }
        }
        for (; i < n; ++i) {
            to[i] = p[max[r] - row[i]];
            if (upper) to_high[i] = p[256 + max[r] - row[i]];
        }
    }
    return upper;
}

void lookup(const uint8_t* table, uint8_t* x, int64_t n) {
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i y[1];
        look_up<1>(table, 0, 16, load(x + i), y);
        store(x + i, y[0]);
    }
    for (; i < n; ++i) x[i] = table[x[i]];
}

void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init) {
    if (d % 32) return scalar_kernels.pack_k(rows, ld, part, d, panel, width, init);
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
    const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    for (int half = 0; half < 16; half += 8) {
        const __m256i columns = _mm256_setr_epi32(half, half + 1, half + 2, half + 3, half + 4, half + 5,
                                                  half + 6, half + 7),
                      mine = _mm256_and_si256(_mm256_cmpgt_epi32(columns, _mm256_set1_epi32(part.first - 1)),
                                              _mm256_cmpgt_epi32(_mm256_set1_epi32(part.end), columns));
        const auto put = [&](void* to, __m256i x) { _mm256_maskstore_epi32(static_cast<int*>(to), mine, x); };
        __m256i sums = _mm256_setzero_si256();
        for (int64_t c = 0; c < d; c += 32) {
            __m256i a[8];
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j)
                a[j] = part.first <= half + j && half + j < part.last
                           ? _mm256_xor_si256(load(rows + (half + j) * ld + c), flip)
                           : _mm256_setzero_si256();
            transpose8(a);
#pragma GCC unroll 8
            for (int w = 0; w < 8; ++w) {
                put(panel + ((c / 4 + w) * width + half) * 4, a[w]);
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(ones8, a[w]), ones16));
            }
        }
        put(init + half, _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(sums, 7)));
    }
}

void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width) {
    if (cols % 32 || part.first > 0 || part.end < 4)
        return scalar_kernels.pack_v(rows, ld, part, cols, group, width);
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
    for (int c = 0; c < cols; c += 32, group += 128) {
        __m256i a[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j)
            a[j] = j < part.last ? _mm256_xor_si256(load(rows + j * ld + c), flip) : _mm256_setzero_si256();
        const __m256i b0 = _mm256_unpacklo_epi8(a[0], a[1]), b1 = _mm256_unpackhi_epi8(a[0], a[1]);
        const __m256i b2 = _mm256_unpacklo_epi8(a[2], a[3]), b3 = _mm256_unpackhi_epi8(a[2], a[3]);
        const __m256i r0 = _mm256_unpacklo_epi16(b0, b2), r1 = _mm256_unpackhi_epi16(b0, b2);
        const __m256i r2 = _mm256_unpacklo_epi16(b1, b3), r3 = _mm256_unpackhi_epi16(b1, b3);
        store(group, _mm256_permute2x128_si256(r0, r1, 0x20));
        store(group + 32, _mm256_permute2x128_si256(r2, r3, 0x20));
        store(group + 64, _mm256_permute2x128_si256(r0, r1, 0x31));
        store(group + 96, _mm256_permute2x128_si256(r2, r3, 0x31));
    }
}

// ---- Patches ----

namespace {

// Which of 48 interleaved bytes are colour c of 16 pixels, for each 16 of them: [3][3][16].
struct Planar {
    alignas(16) uint8_t from[3][3][16];
    constexpr Planar() : from() {
        for (int c = 0; c < 3; ++c)
            for (int x = 0; x < 16; ++x)
                for (int part = 0; part < 3; ++part) {
                    const int at = 3 * x + c - 16 * part;
                    from[c][part][x] = static_cast<uint8_t>(at >= 0 && at < 16 ? at : 0x80);
                }
    }
};
constexpr Planar planar;

__m128i colour(const uint8_t* row, int c) {
    __m128i all = _mm_setzero_si128();
#pragma GCC unroll 3
    for (int part = 0; part < 3; ++part) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 16 * part));
        const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(planar.from[c][part]));
        all = _mm_or_si128(all, _mm_shuffle_epi8(bytes, order));
    }
    return all;
}

}  // namespace

void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out) {
    if (p != 16) return scalar_kernels.patch(pixels, stride, p, tables, out);
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < 16; y += 2, out += 32) {
            const uint8_t* row = pixels + y * stride;
            __m256i through[1];
            look_up<1>(tables + 256 * c, 0, 16, _mm256_set_m128i(colour(row + stride, c), colour(row, c)),
                       through);
            store(out, through[0]);
        }
}

void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi,
                  int16_t* out) {
    const __m256i low = _mm256_set1_epi16(static_cast<int16_t>(lo)),
                  high = _mm256_set1_epi16(static_cast<int16_t>(hi));
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i y = x ? _mm256_adds_epi16(load(x + i), load(constant + i)) : load(constant + i);
        store(out + i, _mm256_min_epi16(_mm256_max_epi16(y, low), high));
    }
    scalar_kernels.add_constant(x ? x + i : nullptr, constant + i, n - i, lo, hi, out + i);
}

}  // namespace ivit::cpu::avx2
