// SPDX-License-Identifier: Apache-2.0
#include "engine/resize_passes.h"

#include <algorithm>
#include <cstring>

#include "engine/multiversion.h"

namespace ivit {

namespace {

// A function that stays on its own would be compiled for the oldest processor.
#define IVIT_INLINE inline __attribute__((always_inline))

constexpr int lanes = 16;
typedef uint8_t Bytes __attribute__((vector_size(lanes)));
// Eight sums make a vector of AVX2; sixteen in one would be taken apart through memory there.
typedef uint8_t Bytes8 __attribute__((vector_size(8)));
typedef uint16_t Shorts8 __attribute__((vector_size(16)));
typedef int32_t Ints8 __attribute__((vector_size(32)));

constexpr int32_t half = 1 << 21;  // weights have 22 fraction bits

// Vectors go by reference: by value their calling convention depends on the processor.
IVIT_INLINE void load(Bytes& v, const uint8_t* p) { std::memcpy(&v, p, lanes); }

// Sixteen sums of weighted bytes.
struct Sums {
    Ints8 part[2] = {Ints8{} + half, Ints8{} + half};

    IVIT_INLINE void add(const uint8_t* p, int32_t weight) {
        for (int i = 0; i < 2; ++i) {
            Bytes8 v;
            std::memcpy(&v, p + 8 * i, 8);
            // By way of 16 bits: GCC takes a fourfold widening apart byte by byte.
            part[i] += __builtin_convertvector(__builtin_convertvector(v, Shorts8), Ints8) * weight;
        }
    }
    IVIT_INLINE void store(uint8_t* p) const {
        for (int i = 0; i < 2; ++i) {
            Ints8 v = part[i] >> 22;
            v = v < 0 ? Ints8{} : v;
            v = v > 255 ? Ints8{} + 255 : v;
            const Bytes8 b = __builtin_convertvector(__builtin_convertvector(v, Shorts8), Bytes8);
            std::memcpy(p + 8 * i, &b, 8);
        }
    }
};

// 16 x 16 bytes, rows to columns: four rounds that each interleave row i with row i + 8.
IVIT_INLINE void transpose(Bytes (&m)[lanes]) {
    for (int round = 0; round < 4; ++round) {
        Bytes t[lanes];
        for (int i = 0; i < lanes / 2; ++i) {
            const Bytes a = m[i], b = m[i + 8];
            t[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            t[2 * i + 1] =
                __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        for (int i = 0; i < lanes; ++i) m[i] = t[i];
    }
}

// Bytes [0, count) of 16 rows to columns [count rounded up to 16][16].
IVIT_INLINE void rows_to_columns(const uint8_t* const (&row)[lanes], size_t count, uint8_t* columns) {
    for (size_t x = 0; x < count; x += lanes) {
        Bytes m[lanes];
        const size_t left = std::min<size_t>(lanes, count - x);
        for (int i = 0; i < lanes; ++i) {
            if (left == lanes) {
                load(m[i], row[i] + x);
            } else {
                m[i] = Bytes{};
                std::memcpy(&m[i], row[i] + x, left);
            }
        }
        transpose(m);
        std::memcpy(columns + x * lanes, m, sizeof m);
    }
}

size_t rounded_up(size_t n) { return (n + lanes - 1) / lanes * lanes; }

// Sixteen rows at once, one per lane: the sum over a row's pixels then needs no shuffling, and a tap's weight
// is the same for all lanes.
IVIT_CLONES void horizontal_rows(const uint8_t* in, size_t stride, int rows, const Taps& taps, int begin,
                                 int end, uint8_t* out, uint8_t* columns) {
    const uint8_t* row[lanes];
    for (int i = 0; i < lanes; ++i)  // lanes without a row of their own repeat the last
        row[i] = in + static_cast<size_t>(std::min(i, rows - 1)) * stride + static_cast<size_t>(begin) * 3;
    const size_t needed = static_cast<size_t>(end - begin) * 3, made = static_cast<size_t>(taps.count) * 3;
    rows_to_columns(row, needed, columns);
    uint8_t* result = columns + rounded_up(needed) * lanes;
    for (int x = 0; x < taps.count; ++x) {
        const int32_t* weight = taps.weight.data() + static_cast<size_t>(x) * static_cast<size_t>(taps.most);
        const uint8_t* pixel = columns + static_cast<size_t>(taps.start[x] - begin) * 3 * lanes;
        Sums red, green, blue;
        for (int k = 0; k < taps.length[x]; ++k, pixel += 3 * lanes) {
            red.add(pixel, weight[k]);
            green.add(pixel + lanes, weight[k]);
            blue.add(pixel + 2 * lanes, weight[k]);
        }
        uint8_t* to = result + static_cast<size_t>(x) * 3 * lanes;
        red.store(to);
        green.store(to + lanes);
        blue.store(to + 2 * lanes);
    }
    for (size_t x = 0; x < made; x += lanes) {  // back to rows
        Bytes m[lanes];
        std::memcpy(m, result + x * lanes, sizeof m);
        transpose(m);
        const size_t left = std::min<size_t>(lanes, made - x);
        for (int i = 0; i < rows; ++i) {
            uint8_t* to = out + static_cast<size_t>(i) * made + x;
            if (left == lanes)
                std::memcpy(to, &m[i], lanes);
            else
                std::memcpy(to, &m[i], left);
        }
    }
}

// 64 neighbouring bytes at a time, then what is left of the row.
IVIT_CLONES void vertical_row(const uint8_t* in, int width, const int32_t* weight, int length, uint8_t* out) {
    const size_t stride = static_cast<size_t>(width);
    int x = 0;
    for (; x + 4 * lanes <= width; x += 4 * lanes) {
        Sums sum[4];
        const uint8_t* p = in + x;
        for (int k = 0; k < length; ++k, p += stride)
            for (int i = 0; i < 4; ++i) sum[i].add(p + i * lanes, weight[k]);
        for (int i = 0; i < 4; ++i) sum[i].store(out + x + i * lanes);
    }
    for (; x < width; ++x) {
        int32_t sum = half;
        for (int k = 0; k < length; ++k)
            sum += in[static_cast<size_t>(k) * stride + static_cast<size_t>(x)] * weight[k];
        out[x] = static_cast<uint8_t>(std::clamp(sum >> 22, 0, 255));
    }
}

}  // namespace

int Taps::begin() const { return *std::min_element(start.begin(), start.end()); }

int Taps::end() const {
    int last = 0;
    for (int i = 0; i < count; ++i) last = std::max(last, start[i] + length[i]);
    return last;
}

size_t horizontal_scratch(const Taps& taps) {
    const size_t needed = static_cast<size_t>(taps.end() - taps.begin()) * 3;
    return (rounded_up(needed) + rounded_up(static_cast<size_t>(taps.count) * 3)) * lanes;
}

void horizontal_pass(const uint8_t* in, size_t stride, int rows, const Taps& taps, uint8_t* out,
                     uint8_t* scratch) {
    const int begin = taps.begin(), end = taps.end();
    for (int y = 0; y < rows; y += lanes) {
        const size_t at = static_cast<size_t>(y);
        horizontal_rows(in + at * stride, stride, std::min(lanes, rows - y), taps, begin, end,
                        out + at * static_cast<size_t>(taps.count) * 3, scratch);
    }
}

void vertical_pass(const uint8_t* in, int width, const Taps& taps, int from, int to, uint8_t* out) {
    const int begin = taps.begin();
    for (int y = from; y < to; ++y)
        vertical_row(in + static_cast<size_t>(taps.start[y] - begin) * static_cast<size_t>(width), width,
                     taps.weight.data() + static_cast<size_t>(y) * static_cast<size_t>(taps.most),
                     taps.length[y], out + static_cast<size_t>(y) * static_cast<size_t>(width));
}

}  // namespace ivit
