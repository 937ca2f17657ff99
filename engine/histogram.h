// SPDX-License-Identifier: Apache-2.0
// How often which magnitude was seen at one site, and the ranges that follow from it.
#pragma once
#include <cstdint>
#include <vector>

namespace ivit {

// |x| in bins of equal width from 0 to a power of two that grows by doubling (neighbouring bins merge). So
// the counts depend on the values alone, not on their order, and nothing has to be known of them beforehand.
class MagnitudeHistogram {
  public:
    static constexpr int bins = 4096;

    // x: [rows, cols], rows `stride` apart. False, with nothing counted, when a value is NaN or infinite.
    bool add(const float* x, int64_t rows, int64_t cols, int64_t stride);

    double greatest() const { return greatest_; }  // 0 when nothing but zeros was seen
    // The magnitude that a share of 0..1 of all values does not pass; linear within its bin.
    double percentile(double share) const;
    // The clip c of a symmetric grid of `bits` (2..16) whose squared error is least: rounding to steps of
    // c / (2^(bits-1) - 1) below it, clipping above it, the values of a bin taken as evenly spread over it.
    double mse_clip(int bits) const;

  private:
    void grow(int exponent);
    double bin_width() const;

    std::vector<int64_t> counts_ = std::vector<int64_t>(bins);
    int64_t total_ = 0;
    int exponent_ = least_exponent;  // bins end at 2^exponent_
    float greatest_ = 0;
    // Keeps bins / range finite; activations that small are zeros.
    static constexpr int least_exponent = -100;
};

}  // namespace ivit
