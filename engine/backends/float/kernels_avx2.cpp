// SPDX-License-Identifier: Apache-2.0
#define TILE_ROWS 6
#define TILE_VECTORS 1
#include "engine/backends/float/kernels_impl.h"

namespace ivit::fp32 {

const Kernels kernels_avx2 = {gemm, softmax, gelu, layernorm, add};

}  // namespace ivit::fp32
