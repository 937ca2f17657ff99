// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/arithmetic.h"
#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

void shiftmax_wide(const int16_t* x, int64_t n, const PackedNode& softmax, uint8_t* low, uint8_t* high) {
    const ShiftParams& q = softmax.quant->quant.shift;
    const int64_t max = *std::max_element(x, x + n);
    const auto exponential = [&](int64_t v) {
        return softmax.e.size() > max - v
                   ? static_cast<int64_t>(softmax.e[max - v])
                   : arith::shift_exp((v - max) * (int64_t{1} << q.t), softmax.quant->i0, q.n);
    };
    int64_t d = 0;
    for (int64_t j = 0; j < n; ++j) d += exponential(x[j]);
    const int64_t f = arith::shift_reciprocal(d, q.M);
    for (int64_t j = 0; j < n; ++j) {
        const int64_t p = arith::shift_share(exponential(x[j]), f, q.M, q.k);
        low[j] = static_cast<uint8_t>(p);
        high[j] = static_cast<uint8_t>(p >> 8);
    }
}

}  // namespace ivit::cpu
