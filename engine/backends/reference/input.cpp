// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/reference/ops.h"

namespace ivit::reference {

// pixels u8 [H, W, 3] -> out [3, H, W]: a table of 256 entries per colour channel. arithmetic.md, Input.
void input(const Args& a) {
    const int64_t pixels = a.node.shape[1] * a.node.shape[2];
    for (int64_t c = 0; c < 3; ++c)
        for (int64_t i = 0; i < pixels; ++i)
            a.out[c * pixels + i] = a.quant.table[c * 256 + a.pixels[i * 3 + c]];
}

}  // namespace ivit::reference
