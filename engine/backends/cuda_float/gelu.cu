// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda_float/device.cuh"

namespace ivit::cuda_float {
namespace {

struct Args {
    void* x = nullptr;
    int64_t count = 0;
};

__device__ __forceinline__ float exact_gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

template <class T>
__global__ void __launch_bounds__(256) gelu_kernel(const Args a) {
    wait_for_inputs();
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t vectors = a.count / Vector<T>::size;
    T* const x = static_cast<T*>(a.x);
    if (i < vectors) {
        Vector<T> v = reinterpret_cast<Vector<T>*>(x)[i];
#pragma unroll
        for (T& e : v.v) e = from_float<T>(exact_gelu(to_float(e)));
        reinterpret_cast<Vector<T>*>(x)[i] = v;
    } else if (const int64_t rest = vectors * Vector<T>::size + (i - vectors); rest < a.count) {
        x[rest] = from_float<T>(exact_gelu(to_float(x[rest])));
    }
}

}  // namespace

void gelu(void* x, int64_t count, Type type, const Launch& at) {
    with_type(type, [&]<class T>(T) {
        const int64_t threads = count / Vector<T>::size + count % Vector<T>::size;
        start(gelu_kernel<T>, Args{x, count}, dim3(static_cast<unsigned>((threads + 255) / 256)), 256, 0, at);
    });
}

}  // namespace ivit::cuda_float
