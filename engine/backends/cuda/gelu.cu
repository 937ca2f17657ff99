// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

// ShiftGELU with the published row pivot, one warp per row: y depends on x and on the row's pivot alone, and
// there are 128 x 256 of those pairs. (With the zero pivot it is part of the linear layer's epilogue.)
__global__ void __launch_bounds__(128) row_gelu_kernel(const RowGelu p) {
    const int row = blockIdx.x * 4 + (threadIdx.x >> 5), lane = lane_id();
    let_next_start();
    wait_for_inputs();
    if (row >= p.rows) return;
    const int8_t* const in = p.in + static_cast<int64_t>(row) * p.ld;
    int8_t* const out = p.out + static_cast<int64_t>(row) * p.ld;
    int pivot = 0;
    for (int c = lane * 4; c < p.cols; c += 128) {
        const uint32_t x = *reinterpret_cast<const uint32_t*>(in + c);
        for (int e = 0; e < 4; ++e) pivot = max(pivot, static_cast<int>(static_cast<int8_t>(x >> 8 * e)));
    }
    for (int i = 16; i; i >>= 1) pivot = max(pivot, __shfl_xor_sync(0xffffffff, pivot, i));
    const int8_t* const table = p.table + 256 * pivot + 128;
    for (int c = lane * 4; c < p.cols; c += 128) {
        const uint32_t x = *reinterpret_cast<const uint32_t*>(in + c);
        uint32_t y = 0;
        for (int e = 0; e < 4; ++e)
            y |= static_cast<uint32_t>(static_cast<uint8_t>(__ldg(table + static_cast<int8_t>(x >> 8 * e))))
                 << 8 * e;
        *reinterpret_cast<uint32_t*>(out + c) = y;
    }
}

}  // namespace

int compiled_for() {
    cudaFuncAttributes attributes;
    IVIT_CUDA_CHECK(cudaFuncGetAttributes(&attributes, row_gelu_kernel));
    return attributes.ptxVersion;
}

void prepare_row_gelu(const Launch& at) { allow_shared(row_gelu_kernel, 0, at); }

void row_gelu(const RowGelu& p, const Launch& at) {
    start<RowGelu>(row_gelu_kernel, p, dim3(static_cast<unsigned>((p.rows + 3) / 4)), dim3(128), 0, at);
}

}  // namespace ivit::cuda
