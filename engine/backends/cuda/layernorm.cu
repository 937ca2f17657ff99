// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

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

// L lanes a row, R rows at once; a block goes on with the next rows while there are any, which are on their
// way meanwhile. out [rows, ldo]; channels past cols are written as zeros up to the next multiple of 8, those
// after that were zero from the start.
template <int L, int I, int R>
__global__ void __launch_bounds__(32 * warps, R* I <= 6 ? 4 : 2)
    layernorm_kernel(const __grid_constant__ Args a) {
    constexpr int at_once = 32 / L, rows = warps * at_once * R;
    __shared__ NormParameters<L * I> parameters;
    const int mine = (threadIdx.x >> 5) * at_once * R + lane_id() / L;
    uint4 x[R][I], next_x[R][I];
    bool there[R], next_there[R];
    const auto load = [&](int first, uint4(&to)[R][I], bool(&is)[R]) {
        const int16_t* in[R];
#pragma unroll
        for (int i = 0; i < R; ++i) {
            const int row = first + mine + i * at_once;
            is[i] = row < a.rows;
            in[i] = layernorm_input(a.p, min(row, a.rows - 1));
        }
        load_rows<L, I, R>(a.p, in, is, to);
    };
    let_next_start();
    for (int i = threadIdx.x; i < (a.p.cols + 7) / 8; i += blockDim.x)
        parameters.put(i, Columns8(a.p.columns, 8 * i));
    wait_for_inputs();
    load(blockIdx.x * rows, x, there);
    __syncthreads();
    for (int first = blockIdx.x * rows; first < a.rows; first += gridDim.x * rows) {
        load(first + gridDim.x * rows, next_x, next_there);
        const Deviations<R> by = deviations<L, I, R>(a.p, x);
        const auto put = [&]<bool fits>() {
#pragma unroll
            for (int j = 0; j < I; ++j)
                normalize_eights<L, I, R, fits, false>(
                    a.p, x, j, by, [&](int c) { return parameters.at(c); },
                    [&](int i, int c, uint2 bytes) {
                        if (there[i])
                            *reinterpret_cast<uint2*>(
                                a.out + static_cast<int64_t>(first + mine + i * at_once) * a.ldo + c) = bytes;
                    });
        };
        if (a.p.columns.fits)
            put.template operator()<true>();
        else
            put.template operator()<false>();
#pragma unroll
        for (int i = 0; i < R; ++i) {
            there[i] = next_there[i];
#pragma unroll
            for (int j = 0; j < I; ++j) x[i][j] = next_x[i][j];
        }
    }
}

// Few short rows: each thread has eight channels of one, whose W warps add up over shared memory. What counts
// is the way from the first instruction to the last.
template <int W>
__global__ void __launch_bounds__(32 * warps) layernorm_few_kernel(const __grid_constant__ Args a) {
    constexpr int rows = warps / W;  // of a block
    __shared__ unsigned long long all_squares[warps];
    __shared__ int all_sums[warps];
    const int warp = threadIdx.x >> 5, row = blockIdx.x * rows + warp / W, c = 8 * (threadIdx.x % (32 * W));
    const bool there = row < a.rows && c < a.p.cols;
    Columns8 q;
    if (there) q = Columns8::ask(a.p.columns, c);
    wait_for_inputs();
    let_next_start();
    const uint4 x =
        there ? *reinterpret_cast<const uint4*>(layernorm_input(a.p, row) + c) : make_uint4(0, 0, 0, 0);
    const uint32_t two[4] = {x.x, x.y, x.z, x.w};
    int sum = 0;
    int64_t squares = 0;
#pragma unroll
    for (int e = 0; e < 4; ++e) add_up(two[e], sum, squares);
    sum = warp_sum(sum);
    uint64_t all = warp_sum52(static_cast<uint64_t>(squares));
    if constexpr (W > 1) {
        if (lane_id() == 0) {
            all_sums[warp] = sum;
            all_squares[warp] = all;
        }
        __syncthreads();
        sum = 0;
        all = 0;
#pragma unroll
        for (int w = 0; w < W; ++w) {
            sum += all_sums[warp / W * W + w];
            all += all_squares[warp / W * W + w];
        }
    }
    const int mean = layernorm_mean(a.p, sum);
    const uint32_t f = inverse_deviation(a.p.cols, sum, static_cast<int64_t>(all), mean);
    if (there)
        *reinterpret_cast<uint2*>(a.out + static_cast<int64_t>(row) * a.ldo + c) =
            a.p.columns.fits ? normalize8<true>(a.p, q, x, mean, f) : normalize8<false>(a.p, q, x, mean, f);
}

// Calls f with the kernel for rows of `cols` channels and what a block has at once.
template <class F>
void with_kernel(int cols, bool few, const F& f) {
    if (few && cols <= 256) return f(layernorm_few_kernel<1>, warps);
    if (few && cols <= 512) return f(layernorm_few_kernel<2>, warps / 2);
    if (few && cols <= 768) return f(layernorm_kernel<32, 3, 1>, 4);
    if (few && cols <= 1024) return f(layernorm_kernel<32, 4, 1>, 4);
    if (cols <= 192) return f(layernorm_kernel<8, 3, 2>, 32);
    if (cols <= 384) return f(layernorm_kernel<16, 3, 2>, 16);
    if (cols <= 768) return f(layernorm_kernel<32, 3, 2>, 8);
    if (cols <= 1024) return f(layernorm_kernel<32, 4, 2>, 8);
    f(layernorm_kernel<32, 8, 1>, 4);  // up to 2048: see network.cpp
}

}  // namespace

void prepare_layernorm(const Launch& at) {
    for (const int cols : {192, 256, 384, 512, 768, 1024, 2048})
        for (const bool few : {false, true})
            with_kernel(cols, few, [&](auto kernel, int) { allow_shared(kernel, 0, at); });
}

void layernorm(const LayerNorm& p, int32_t rows, int8_t* out, int32_t ldo, const Launch& at) {
    const Args args{p, rows, out, ldo};
    const bool few = rows <= 8 * at.sms;
    with_kernel(p.cols, few, [&](auto kernel, int at_once) {
        const int blocks = (rows + at_once - 1) / at_once;
        start<Args>(kernel, args, dim3(static_cast<unsigned>(few ? blocks : std::min(blocks, 4 * at.sms))),
                    dim3(32 * warps), 0, at);
    });
}

}  // namespace ivit::cuda
