// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// [batch, rows, K] -> [batch, rows, C]: x * weight[C, K]^T + bias.
void linear(const FloatArgs& a) {
    a.gemm.linear(a, a.in(0), a.node.rows(), a.in_cols(0), Epilogue::none, nullptr, a.out());
}

}  // namespace ivit::fp32
