// SPDX-License-Identifier: Apache-2.0
#include "engine/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/multiversion.h"

namespace ivit {

namespace {

// The greatest |x| as its bit pattern, which orders like the number and puts infinity and NaN above all
// others.
IVIT_CLONES uint32_t greatest_bits(const float* x, int64_t n) {
    uint32_t best = 0;
    for (int64_t i = 0; i < n; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
        best = bits > best ? bits : best;
    }
    return best;
}

// bin[i] = floor(|x[i]| * inverse)
IVIT_CLONES void bin_indices(const float* x, int64_t n, float inverse, int32_t* bin) {
    for (int64_t i = 0; i < n; ++i) bin[i] = static_cast<int32_t>((x[i] < 0 ? -x[i] : x[i]) * inverse);
}

// Sum over all edges j of weight[j] * G(j * width), where G(x) is the integral from 0 to x of the squared
// error of rounding to `step`, of which there are `top`: with k = min(round(x / step), top), G = k step^3 /
// 12 + (x - k step)^3 / 3.
IVIT_CLONES double integral_of_error(const double* weight, int n, double width, double step, double top) {
    const double inverse = 1 / step, cell = step * step * step / 12;
    Lanes8d sum = {}, edge = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int j = 0; j < n; j += 8, edge += 8.0) {
        const Lanes8d x = edge * width;
        Lanes8d k = (x * inverse + round_magic_d) - round_magic_d;
        k = k > top ? Lanes8d{} + top : k;
        const Lanes8d d = x - k * step;
        sum += *reinterpret_cast<const Lanes8d*>(weight + j) * (k * cell + d * d * d * (1.0 / 3));
    }
    double total = 0;
    for (int l = 0; l < 8; ++l) total += sum[l];
    return total;
}

}  // namespace

double MagnitudeHistogram::bin_width() const { return std::ldexp(1.0, exponent_) / bins; }

void MagnitudeHistogram::grow(int exponent) {
    const int shift = exponent - exponent_;
    if (shift <= 0) return;
    exponent_ = exponent;
    if (total_ == 0) return;
    std::vector<int64_t> merged(bins);
    for (int i = 0; i < bins; ++i)
        merged[static_cast<size_t>(shift < 31 ? i >> shift : 0)] += counts_[static_cast<size_t>(i)];
    counts_ = std::move(merged);
}

bool MagnitudeHistogram::add(const float* x, int64_t rows, int64_t cols, int64_t stride) {
    // One row when they touch: long runs vectorize better.
    if (stride == cols) {
        cols *= rows;
        rows = 1;
    }
    uint32_t most = 0;
    for (int64_t r = 0; r < rows; ++r) most = std::max(most, greatest_bits(x + r * stride, cols));
    const auto greatest = std::bit_cast<float>(most);
    if (!std::isfinite(greatest)) return false;
    greatest_ = std::max(greatest_, greatest);
    int exponent = 0;
    std::frexp(greatest, &exponent);  // greatest < 2^exponent
    grow(exponent);

    // Four tables, so that a run of equal values does not wait on one counter.
    constexpr int chunk = 1024;
    thread_local std::vector<int32_t> table;
    table.assign(size_t{4} * bins, 0);
    int32_t bin[chunk];
    const float inverse = std::ldexp(static_cast<float>(bins), -exponent_);
    int64_t in_tables = 0;
    const auto empty_tables = [&] {
        for (size_t i = 0; i < bins; ++i) {
            counts_[i] += int64_t{table[i]} + table[i + bins] + table[i + 2 * bins] + table[i + 3 * bins];
        }
        std::fill(table.begin(), table.end(), 0);
        in_tables = 0;
    };
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t start = 0; start < cols; start += chunk) {
            const auto n = static_cast<int>(std::min<int64_t>(chunk, cols - start));
            bin_indices(x + r * stride + start, n, inverse, bin);
            int i = 0;
            for (; i + 4 <= n; i += 4) {
                ++table[static_cast<size_t>(bin[i])];
                ++table[static_cast<size_t>(bin[i + 1] + bins)];
                ++table[static_cast<size_t>(bin[i + 2] + 2 * bins)];
                ++table[static_cast<size_t>(bin[i + 3] + 3 * bins)];
            }
            for (; i < n; ++i) ++table[static_cast<size_t>(bin[i])];
            in_tables += n;
            if (in_tables > (int64_t{1} << 30)) empty_tables();
        }
    }
    empty_tables();
    total_ += rows * cols;
    return true;
}

double MagnitudeHistogram::percentile(double share) const {
    const double wanted = share * static_cast<double>(total_);
    double seen = 0;
    for (size_t i = 0; i < bins; ++i) {
        const auto count = static_cast<double>(counts_[i]);
        if (count > 0 && seen + count >= wanted) {
            const double within = (wanted - seen) / count;
            return std::min<double>(greatest_, (static_cast<double>(i) + within) * bin_width());
        }
        seen += count;
    }
    return greatest_;
}

double MagnitudeHistogram::mse_clip(int bits) const {
    if (!(greatest_ > 0)) return 0;
    // The error is a sum over bins of count * (G(right edge) - G(left edge)): gathered by edge instead.
    std::vector<double> weight(bins + 8);  // bins + 1 edges, padded to whole groups of 8
    int edges = 0;
    for (size_t i = 0; i < bins; ++i) {
        const auto count = static_cast<double>(counts_[i]);
        weight[i] -= count;
        weight[i + 1] += count;
        if (count > 0) edges = static_cast<int>(i) + 2;
    }
    edges = (edges + 7) / 8 * 8;
    const double top = (1 << (bits - 1)) - 1;
    const auto error = [&](double clip) {
        return integral_of_error(weight.data(), edges, bin_width(), clip / top, top);
    };

    // Down from the greatest magnitude in steps of 12 %; the error falls, has its minimum and rises. Small
    // bumps are passed over, a rise to twice the least ends it.
    constexpr double ratio = 0.88;
    double best = greatest_, least = error(greatest_);
    for (double clip = best * ratio; clip > bin_width(); clip *= ratio) {
        const double e = error(clip);
        if (e < least) {
            least = e;
            best = clip;
        } else if (e > 2 * least) {
            break;
        }
    }
    // Then between the neighbours of the best.
    const double low = best * ratio, high = std::min<double>(best / ratio, greatest_);
    for (int i = 1; i < 8; ++i) {
        const double clip = low + (high - low) * i / 8;
        const double e = error(clip);
        if (e < least) {
            least = e;
            best = clip;
        }
    }
    return best;
}

}  // namespace ivit
