// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

void layernorm(const Context& ctx, const PackedNode& norm, const int16_t* t, int64_t ldt, int64_t rows,
               int64_t C, uint8_t* out) {
    const auto job = [&](int i) {
        for (int64_t r = rows * i / ctx.pool.size(); r < rows * (i + 1) / ctx.pool.size(); ++r)
            ctx.kernels.layernorm_row(t + r * ldt, C, norm.layernorm(), out + r * C);
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
