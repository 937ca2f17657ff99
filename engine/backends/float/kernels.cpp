// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu_info.h"

#define TILE_ROWS 4
#define TILE_VECTORS 1
#include "engine/backends/float/kernels_impl.h"

namespace ivit::fp32 {

const Kernels kernels_baseline = {gemm, softmax, gelu, layernorm, add};

const Kernels& kernels() {
    static const Kernels& best = best_isa() >= Isa::avx512vnni ? kernels_avx512
                                 : best_isa() >= Isa::avx2     ? kernels_avx2
                                                               : kernels_baseline;
    return best;
}

}  // namespace ivit::fp32
