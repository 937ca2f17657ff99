// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

void residual_add(const Context& ctx, const PackedNode& add, const int32_t* acc, const int16_t* t,
                  int64_t rows, int64_t C, int16_t* out) {
    const QuantNode& q = *add.quant;
    const auto job = [&](int i) {
        alignas(64) int32_t tile[tile_cols];
        for (int64_t r = rows * i / ctx.pool.size(); r < rows * (i + 1) / ctx.pool.size(); ++r)
            for (int64_t c = 0; c < C; c += tile_cols) {
                const int64_t cols = std::min<int64_t>(tile_cols, C - c), at = r * C + c;
                std::copy_n(acc + at, cols, tile);
                const RequantView view = add.requant.at(c);
                if (view.lift) ctx.kernels.lift(tile, 1, static_cast<int>(cols), view.lift);
                ctx.kernels.residual_add(tile, 1, static_cast<int>(cols), view, {q.mt, q.st}, t + at,
                                         out + at, C);
            }
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
