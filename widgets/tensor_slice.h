// SPDX-License-Identifier: GPL-3.0-or-later
// The two-dimensional part of a node's output that the lens shows, from the taps of both networks.
#pragma once
#include <QString>
#include <cstdint>
#include <vector>

#include "engine/trace.h"

// Values are copied out of the taps: at most a few megabytes, and the slice outlives any result.
struct TensorSlice {
    enum What { integer, floating, difference };  // as shaders/tensor.frag counts them

    int rows = 0, cols = 0;
    std::vector<int32_t> integers;  // [rows, cols]; empty when there is no integer network
    std::vector<float> floats;      // [rows, cols]; empty when there is no float network
    std::vector<float> scales;      // [cols]: real = scale * integer
    ivit::Grid grid;
    bool attention = false;     // rows and columns are both tokens: one head
    int planes = 1, plane = 0;  // heads, or the colour planes of the input
    int side = 0, first = 0;    // patches: side of the square and index of the first; side 0: none
    bool empty() const { return rows == 0 || cols == 0; }

    float real(int r, int c) const {
        const size_t i = static_cast<size_t>(r) * static_cast<size_t>(cols) + static_cast<size_t>(c);
        return integers.empty() ? 0.0f : static_cast<float>(integers[i]) * scales[static_cast<size_t>(c)];
    }
    float float_at(int r, int c) const {
        const size_t i = static_cast<size_t>(r) * static_cast<size_t>(cols) + static_cast<size_t>(c);
        return floats.empty() ? 0.0f : floats[i];
    }
    // Root mean square of integer - float, by row and by column; empty without both.
    std::vector<float> error_by_row() const;
    std::vector<float> error_by_column() const;
    // The q-th quantile of |value|, q in 0..1; integers as reals.
    double magnitude(What what, double q) const;
};

// head: which plane of [heads, tokens, tokens]; of the input [3, H, W]: plane = channel % 3.
TensorSlice tensor_slice(const ivit::Trace* integers, const ivit::Trace* floats, int node, int head,
                         int channel);
