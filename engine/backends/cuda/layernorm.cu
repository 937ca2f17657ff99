// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/layernorm.cuh"

namespace ivit::cuda {
namespace {

constexpr int warps = 4;

struct Args {
    LayerNorm p;
    int32_t rows;
    int8_t* out;
    int32_t ldo;
};

// L lanes a row, R rows after each other. out [rows, ldo]; channels past cols are written as zeros up to the
// next multiple of 8, those after that were zero from the start.
template <int L, int I, int R>
__global__ void __launch_bounds__(32 * warps) layernorm_kernel(const Args a) {
    constexpr int at_once = 32 / L;
    const int first = (blockIdx.x * warps + (threadIdx.x >> 5)) * at_once * R;
    let_next_start();
    wait_for_inputs();
    if (first >= a.rows) return;
    const int row0 = first + lane_id() / L;
    const int16_t* in[R];
    bool there[R];
#pragma unroll
    for (int i = 0; i < R; ++i) {
        there[i] = row0 + i * at_once < a.rows;
        in[i] = layernorm_input(a.p, min(row0 + i * at_once, a.rows - 1));
    }
    layernorm_rows<L, I, R>(a.p, in, there, [&](int i, int c, uint2 bytes) {
        *reinterpret_cast<uint2*>(a.out + static_cast<int64_t>(row0 + i * at_once) * a.ldo + c) = bytes;
    });
}

// Calls f with the kernel for rows of `cols` channels: of few rows, with more warps that are each done
// sooner, or many.
template <class F>
void with_kernel(int cols, bool few, const F& f) {
    if (cols <= 192) return f(few ? layernorm_kernel<8, 3, 1> : layernorm_kernel<8, 3, 2>, few ? 4 : 8);
    if (cols <= 384) return f(few ? layernorm_kernel<16, 3, 1> : layernorm_kernel<16, 3, 2>, few ? 2 : 4);
    if (cols <= 768) return f(few ? layernorm_kernel<32, 3, 1> : layernorm_kernel<32, 3, 2>, few ? 1 : 2);
    if (cols <= 1024) return f(few ? layernorm_kernel<32, 4, 1> : layernorm_kernel<32, 4, 2>, few ? 1 : 2);
    f(layernorm_kernel<32, 8, 1>, 1);  // up to 2048: see network.cpp
}

}  // namespace

void prepare_layernorm(const Launch& at) {
    for (const int cols : {192, 384, 768, 1024, 2048})
        for (const bool few : {false, true})
            with_kernel(cols, few, [&](auto kernel, int) { allow_shared(kernel, 0, at); });
}

void layernorm(const LayerNorm& p, int32_t rows, int8_t* out, int32_t ldo, const Launch& at) {
    const Args args{p, rows, out, ldo};
    with_kernel(p.cols, rows <= 8 * at.sms, [&](auto kernel, int rows_per_warp) {
        const int per_block = warps * rows_per_warp;
        start<Args>(kernel, args, dim3(static_cast<unsigned>((rows + per_block - 1) / per_block)),
                    dim3(32 * warps), 0, at);
    });
}

}  // namespace ivit::cuda
