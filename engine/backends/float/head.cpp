// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// [batch, 1, C] -> [batch, 1, classes]: the logits.
void head(const FloatArgs& a) { linear(a); }

}  // namespace ivit::fp32
