// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// x (1 + erf(x / sqrt 2)) / 2, any shape.
void gelu(const FloatArgs& a) {
    parallel(a.pool, elements(a.output.shape), 4096, [&](int64_t begin, int64_t end) {
        kernels().gelu(end - begin, a.in(0) + begin, a.out() + begin);
    });
}

}  // namespace ivit::fp32
