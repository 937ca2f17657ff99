// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

// arithmetic.md, Positions.
void add_positions(const Context& ctx, const PackedNode& pos, const int16_t* patches, int64_t batch,
                   int64_t tokens, int64_t C, int16_t* out) {
    const auto lo = static_cast<int32_t>(pos.quant->out.low()),
               hi = static_cast<int32_t>(pos.quant->out.high());
    const int64_t total = batch * tokens;
    const auto job = [&](int i) {
        for (int64_t row = total * i / ctx.pool.size(); row < total * (i + 1) / ctx.pool.size(); ++row) {
            const int64_t token = row % tokens;
            const int32_t* constant = pos.constant.data() + token * C;
            int16_t* to = out + row * C;
            if (token == 0) {
                for (int64_t c = 0; c < C; ++c) to[c] = static_cast<int16_t>(std::clamp(constant[c], lo, hi));
                continue;
            }
            const int16_t* from = patches + (row - row / tokens - 1) * C;
            for (int64_t c = 0; c < C; ++c)
                to[c] = static_cast<int16_t>(std::clamp(from[c] + constant[c], lo, hi));
        }
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
