// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ivit {

std::string to_string(const Shape& s) {
    std::string text = "[";
    for (size_t i = 0; i < s.size(); ++i) text += (i ? ", " : "") + std::to_string(s[i]);
    return text + "]";
}

FloatTensor dequantize(const IntTensor& t) {
    FloatTensor x{t.shape, std::vector<float>(t.data.size())};
    const size_t groups = t.grid.scale.size();
    // Runs of elements that share a scale: the last dimension falls into `groups` equal parts.
    const size_t run = static_cast<size_t>(t.channels()) / groups;
    if (run == 0) return x;
    for (size_t i = 0, g = 0; i < x.data.size(); g = g + 1 == groups ? 0 : g + 1)
        for (const size_t end = i + run; i < end; ++i)
            x.data[i] = static_cast<float>(t.data[i] * t.grid.scale[g]);
    return x;
}

IntTensor quantize(const FloatTensor& x, const Grid& grid) {
    IntTensor t{x.shape, std::vector<int32_t>(x.data.size()), grid};
    const size_t groups = grid.scale.size();
    const size_t run = static_cast<size_t>(t.channels()) / groups;
    if (run == 0) return t;
    // Clamped as doubles first, so that the conversion to an integer is always defined. Every limit is exact
    // in both.
    const double low =
        static_cast<double>(std::max<int64_t>(grid.low(), std::numeric_limits<int32_t>::min()));
    const double high =
        static_cast<double>(std::min<int64_t>(grid.high(), std::numeric_limits<int32_t>::max()));
    for (size_t i = 0, g = 0; i < t.data.size(); g = g + 1 == groups ? 0 : g + 1)
        for (const size_t end = i + run; i < end; ++i) {
            const double q = std::floor(x.data[i] / grid.scale[g] + 0.5);
            // A NaN (0 / 0 on a grid of scale 0) compares false and becomes 0.
            t.data[i] = q == q ? static_cast<int32_t>(std::clamp(q, low, high)) : 0;
        }
    return t;
}

}  // namespace ivit
