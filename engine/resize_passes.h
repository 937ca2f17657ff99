// SPDX-License-Identifier: Apache-2.0
// The two passes of resize.cpp: weighted sums of bytes in fixed point, in vectors.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ivit {

// How output positions [first, first + count) of a side stretched from `in` to `out` pixels are made of input
// positions: output i is the sum over k < length[i] of weight[i * most + k] * input[start[i] + k], in units
// of 2^-22, rounded and clipped to a byte.
struct Taps {
    int count = 0, most = 0;
    std::vector<int> start, length;
    std::vector<int32_t> weight;

    // Input positions that any output needs: [begin, end).
    int begin() const;
    int end() const;
};

// Rows [0, rows) of `in` (RGB, `stride` bytes apart) to rows of `out` [rows, taps.count * 3]; tap positions
// count pixels from the start of a row. Bytes of `scratch`: horizontal_scratch(taps).
void horizontal_pass(const uint8_t* in, size_t stride, int rows, const Taps& taps, uint8_t* out,
                     uint8_t* scratch);
size_t horizontal_scratch(const Taps& taps);

// Output rows [from, to) of `width` bytes each out of rows of `in` [.., width]; in's row 0 is input position
// taps.begin(). Row 0 of `out` is output row 0.
void vertical_pass(const uint8_t* in, int width, const Taps& taps, int from, int to, uint8_t* out);

}  // namespace ivit
