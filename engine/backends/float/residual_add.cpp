// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// linear + residual stream, both [batch, tokens, C].
void residual_add(const FloatArgs& a) {
    parallel(a.pool, elements(a.output.shape), 4096, [&](int64_t begin, int64_t end) {
        kernels().add(end - begin, a.in(0) + begin, a.in(1) + begin, a.out() + begin);
    });
}

}  // namespace ivit::fp32
