// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

void layernorm(const Context& ctx, const PackedNode& norm, const int16_t* t, int64_t ldt, int64_t rows,
               int64_t C, uint8_t* out) {
    const auto job = [&](int i) {
        const int64_t first = rows * i / ctx.pool.size(), last = rows * (i + 1) / ctx.pool.size();
        ctx.kernels.layernorm(t + first * ldt, ldt, last - first, C, norm.layernorm(), out + first * C);
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
