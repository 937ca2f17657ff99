// SPDX-License-Identifier: Apache-2.0
// Dense row-major tensors, as plain values.
#pragma once
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace ivit {

using Shape = std::vector<int64_t>;

inline int64_t elements(const Shape& s) {
    return std::accumulate(s.begin(), s.end(), int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
}

std::string to_string(const Shape& s);  // "[197, 192]"

// A float tensor: weights, and the float network's taps.
struct FloatTensor {
    Shape shape;
    std::vector<float> data;
};

// The grid integers live on: real = scale * integer. `scale` holds G entries that split the last dimension
// into G equal groups: 1 per tensor, 3 for qkv (q, k and v), or one per channel (the int32 accumulators of a
// linear layer).
struct Grid {
    std::vector<double> scale;
    int bits = 8;              // width of the integers; 32 for accumulators and logits, which nothing clamps
    bool is_unsigned = false;  // softmax output: 0 .. 2^(bits-1) inclusive, scale 2^-(bits-1)

    // Scale of channel c of `channels`.
    double at(int64_t c, int64_t channels) const {
        return scale[static_cast<size_t>(c * static_cast<int64_t>(scale.size()) / channels)];
    }
    // Least and greatest representable integer; the clamp limits of requant (arithmetic.md, Dyadic numbers).
    int64_t low() const { return is_unsigned ? 0 : -(int64_t{1} << (bits - 1)); }
    int64_t high() const { return is_unsigned ? int64_t{1} << (bits - 1) : (int64_t{1} << (bits - 1)) - 1; }
};

// An integer tensor with its grid: what the reference backend computes with and what taps hold. Always int32
// in memory, whatever `grid.bits` says: taps are for people and metrics, the fast backends keep their own
// narrow buffers.
struct IntTensor {
    Shape shape;
    std::vector<int32_t> data;
    Grid grid;

    int64_t channels() const { return shape.empty() ? 1 : shape.back(); }
    // The real value of element i.
    double real(int64_t i) const {
        return data[static_cast<size_t>(i)] * grid.at(i % channels(), channels());
    }
};

// All real values of t, as float.
FloatTensor dequantize(const IntTensor& t);

// floor(x / scale + 0.5), clamped to the grid (arithmetic.md, Input).
IntTensor quantize(const FloatTensor& x, const Grid& grid);

}  // namespace ivit
