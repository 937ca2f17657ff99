// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// pixels u8 [batch, H, W, 3] -> [batch, 3, H, W]: (u / 255 - mean) / std.
void input(const FloatArgs& a) {
    float table[3][256];
    for (size_t c = 0; c < 3; ++c)
        for (int u = 0; u < 256; ++u)
            table[c][u] = static_cast<float>((u / 255.0 - a.model.info.mean[c]) / a.model.info.std[c]);

    const int64_t h = a.node.shape[1], w = a.node.shape[2];
    parallel(a.pool, a.batch * h, 16, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
            const uint8_t* from = a.pixels.data() + row * w * 3;
            float* to = a.out() + (row / h * 3 * h + row % h) * w;
            for (int64_t x = 0; x < w; ++x)
                for (int64_t c = 0; c < 3; ++c) to[c * h * w + x] = table[c][from[x * 3 + c]];
        }
    });
}

}  // namespace ivit::fp32
