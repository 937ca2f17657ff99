// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda_float/device.cuh"

namespace ivit::cuda_float {
namespace {

constexpr int warps = 4;

__device__ __forceinline__ int64_t input_row(const LayerNorm& p, int64_t r) {
    return r / p.rows * p.tokens + r % p.rows;
}

// A warp per row, the row in registers: N times 16 bytes a lane.
template <class T, int N>
__global__ void __launch_bounds__(32 * warps) layernorm_kernel(const LayerNorm p) {
    wait_for_inputs();
    constexpr int S = Vector<T>::size;
    const int64_t r = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
    if (r >= static_cast<int64_t>(p.batch) * p.rows) return;
    const auto* const in =
        reinterpret_cast<const Vector<T>*>(static_cast<const T*>(p.in) + input_row(p, r) * p.cols);
    auto* const out = reinterpret_cast<Vector<T>*>(static_cast<T*>(p.out) + r * p.cols);
    const int vectors = p.cols / S;
    float x[N][S], sum = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const int at = lane_id() + 32 * i;
        Vector<T> v{};
        if (at < vectors) v = in[at];
#pragma unroll
        for (int e = 0; e < S; ++e) sum += x[i][e] = to_float(v.v[e]);
    }
    const float mean = warp_sum(sum) / p.cols;
    float square = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (lane_id() + 32 * i < vectors)
#pragma unroll
            for (int e = 0; e < S; ++e) square += (x[i][e] - mean) * (x[i][e] - mean);
    const float inverse = rsqrtf(warp_sum(square) / p.cols + p.eps);
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const int at = lane_id() + 32 * i;
        if (at >= vectors) continue;
        const Vector<T> gamma = static_cast<const Vector<T>*>(p.gamma)[at],
                        beta = static_cast<const Vector<T>*>(p.beta)[at];
        Vector<T> v;
#pragma unroll
        for (int e = 0; e < S; ++e)
            v.v[e] = from_float<T>((x[i][e] - mean) * inverse * to_float(gamma.v[e]) + to_float(beta.v[e]));
        out[at] = v;
    }
}

// Any width.
template <class T>
__global__ void __launch_bounds__(32 * warps) layernorm_any_kernel(const LayerNorm p) {
    wait_for_inputs();
    const int64_t r = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
    if (r >= static_cast<int64_t>(p.batch) * p.rows) return;
    const T* const in = static_cast<const T*>(p.in) + input_row(p, r) * p.cols;
    T* const out = static_cast<T*>(p.out) + r * p.cols;
    float sum = 0, square = 0;
    for (int i = lane_id(); i < p.cols; i += 32) sum += to_float(in[i]);
    const float mean = warp_sum(sum) / p.cols;
    for (int i = lane_id(); i < p.cols; i += 32)
        square += (to_float(in[i]) - mean) * (to_float(in[i]) - mean);
    const float inverse = rsqrtf(warp_sum(square) / p.cols + p.eps);
    for (int i = lane_id(); i < p.cols; i += 32)
        out[i] =
            from_float<T>((to_float(in[i]) - mean) * inverse * to_float(static_cast<const T*>(p.gamma)[i]) +
                          to_float(static_cast<const T*>(p.beta)[i]));
}

}  // namespace

void layernorm(const LayerNorm& p, Type type, const Launch& at) {
    const int64_t rows = static_cast<int64_t>(p.batch) * p.rows;
    const dim3 grid(static_cast<unsigned>((rows + warps - 1) / warps));
    with_type(type, [&]<class T>(T) {
        const auto attempt = [&]<int N>(std::integral_constant<int, N>) {
            return p.cols % Vector<T>::size == 0 && p.cols <= 32 * N * Vector<T>::size &&
                   (start(layernorm_kernel<T, N>, p, grid, 32 * warps, 0, at), true);
        };
        if (!attempt(std::integral_constant<int, 1>{}) && !attempt(std::integral_constant<int, 2>{}) &&
            !attempt(std::integral_constant<int, 3>{}) && !attempt(std::integral_constant<int, 4>{}) &&
            !attempt(std::integral_constant<int, 6>{}) && !attempt(std::integral_constant<int, 8>{}))
            start(layernorm_any_kernel<T>, p, grid, 32 * warps, 0, at);
    });
}

}  // namespace ivit::cuda_float
