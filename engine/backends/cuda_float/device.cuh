// SPDX-License-Identifier: Apache-2.0
// What the float kernels share on the device.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda_float/kernels.h"

namespace ivit::cuda_float {

using cuda::copy16;
using cuda::copy_commit;
using cuda::copy_wait;
using cuda::lane_id;
using cuda::shared_address;
using cuda::wait_for_inputs;  // first thing in every kernel: it may start while the one before it ends

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
template <class T>
__device__ __forceinline__ T from_float(float v) {
    if constexpr (std::is_same_v<T, float>)
        return v;
    else
        return __float2half_rn(v);
}

// 16 bytes of T as they lie in memory.
template <class T>
struct alignas(16) Vector {
    static constexpr int size = 16 / sizeof(T);
    T v[size];
};

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int i = 16; i; i >>= 1) v += __shfl_xor_sync(0xffffffff, v, i);
    return v;
}

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Calls f with a value of the C++ type that `type` names.
template <class F>
void with_type(Type type, const F& f) {
    if (type == Type::f16)
        f(__half{});
    else
        f(float{});
}

template <class Args>
void start(void (*kernel)(Args), const Args& args, dim3 grid, int threads, size_t shared, const Launch& at) {
    cuda::start<Args>(kernel, args, grid, dim3(static_cast<unsigned>(threads)), shared, at);
}

}  // namespace ivit::cuda_float
