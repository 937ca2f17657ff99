// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {

// arithmetic.md, Input.
void gather_patches(const Context& ctx, const int8_t* table, const uint8_t* pixels, int64_t batch,
                    int64_t side, int64_t p, uint8_t* out) {
    const int64_t across = side / p, total = batch * across;  // rows of patches
    uint8_t biased[3][256];
    for (int c = 0; c < 3; ++c)
        for (int u = 0; u < 256; ++u) biased[c][u] = static_cast<uint8_t>(table[c * 256 + u] + 128);
    const auto job = [&](int i) {
        for (int64_t row = total * i / ctx.pool.size(); row < total * (i + 1) / ctx.pool.size(); ++row) {
            const int64_t b = row / across, y0 = row % across * p;
            for (int64_t px = 0; px < across; ++px) {
                uint8_t* patch = out + (row * across + px) * 3 * p * p;
                for (int64_t y = 0; y < p; ++y) {
                    const uint8_t* from = pixels + ((b * side + y0 + y) * side + px * p) * 3;
                    uint8_t* to = patch + y * p;
                    for (int64_t x = 0; x < p; ++x)
                        for (int c = 0; c < 3; ++c) to[c * p * p + x] = biased[c][from[x * 3 + c]];
                }
            }
        }
    };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
