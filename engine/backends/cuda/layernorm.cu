// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/layernorm.cuh"

namespace ivit::cuda {
namespace {

constexpr int rows_per_warp = 2, warps = 4;

struct Args {
    LayerNorm p;
    int32_t rows;
    int8_t* out;
    int32_t ldo;
};

// One warp, two rows. out [rows, ldo]; channels past cols are written as zeros up to the next multiple of 8,
// those after that were zero from the start.
template <int I>
__global__ void __launch_bounds__(32 * warps) layernorm_kernel(const Args a) {
    const int first = (blockIdx.x * warps + (threadIdx.x >> 5)) * rows_per_warp;
    let_next_start();
    wait_for_inputs();
    if (first >= a.rows) return;
    const int count = min(rows_per_warp, a.rows - first);
    const int16_t* in[rows_per_warp];
#pragma unroll
    for (int i = 0; i < rows_per_warp; ++i) in[i] = layernorm_input(a.p, min(first + i, a.rows - 1));
    layernorm_rows<I, rows_per_warp>(a.p, in, count, [&](int i, int c, uint2 bytes) {
        *reinterpret_cast<uint2*>(a.out + static_cast<int64_t>(first + i) * a.ldo + c) = bytes;
    });
}

}  // namespace

void layernorm(const LayerNorm& p, int32_t rows, int8_t* out, int32_t ldo, const Launch& at) {
    const Args args{p, rows, out, ldo};
    const dim3 grid(static_cast<unsigned>((rows + rows_per_warp * warps - 1) / (rows_per_warp * warps)));
    const dim3 block(32 * warps);
    const auto run = [&](auto kernel) { start<Args>(kernel, args, grid, block, 0, at); };
    if (p.cols <= 256)
        run(layernorm_kernel<1>);
    else if (p.cols <= 512)
        run(layernorm_kernel<2>);
    else if (p.cols <= 768)
        run(layernorm_kernel<3>);
    else if (p.cols <= 1024)
        run(layernorm_kernel<4>);
    else
        run(layernorm_kernel<8>);  // up to 2048: see plan.cpp
}

}  // namespace ivit::cuda
