// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

void gelu_rows(const Context& ctx, const PackedNode& gelu, uint8_t* x, int64_t rows, int64_t C) {
    const bool row_pivot = gelu.quant->quant.shift.row_pivot;
    for (int64_t r = 0; r < rows; ++r) {
        uint8_t* row = x + r * C;
        const int64_t pivot = row_pivot ? std::max(0, *std::max_element(row, row + C) - 128) : 0;
        ctx.kernels.lookup(gelu.table.data() + pivot * 256, row, C);
    }
}

}  // namespace ivit::cpu
