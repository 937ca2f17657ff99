// SPDX-License-Identifier: Apache-2.0
#define TILE_ROWS 8
#define TILE_VECTORS 2
#include "engine/backends/float/kernels_impl.h"

namespace ivit::fp32 {

const Kernels kernels_avx512 = {gemm, softmax, gelu, layernorm, add};

}  // namespace ivit::fp32
