// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

// arithmetic.md, Input.
void gather_patches(const Context& ctx, const int8_t* table, const uint8_t* pixels, int64_t batch,
                    int64_t side, int64_t p, uint8_t* out) {
    const int64_t across = side / p, total = batch * across;  // rows of patches
    uint8_t biased[3 * 256];
    for (int i = 0; i < 3 * 256; ++i) biased[i] = static_cast<uint8_t>(table[i] + 128);
    const auto job = [&](int i) {
        for (int64_t row = total * i / ctx.pool.size(); row < total * (i + 1) / ctx.pool.size(); ++row) {
            const uint8_t* from = pixels + (row / across * side + row % across * p) * side * 3;
            for (int64_t x = 0; x < across; ++x)
                ctx.kernels.patch(from + x * p * 3, side * 3, p, biased,
                                  out + (row * across + x) * 3 * p * p);
        }
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
