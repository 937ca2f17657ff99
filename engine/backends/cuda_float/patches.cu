// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda_float/device.cuh"

namespace ivit::cuda_float {
namespace {

// One block per token.
template <class T>
__global__ void __launch_bounds__(64) patches_kernel(const Patches p) {
    wait_for_inputs();
    const int token = blockIdx.x, picture = blockIdx.y, across = p.size / p.patch, area = p.patch * p.patch;
    const int64_t row = static_cast<int64_t>(picture) * p.tokens + token;
    T* const out = static_cast<T*>(p.out) + row * p.ld;
    const int y0 = token ? (token - 1) / across * p.patch : 0;
    const int x0 = token ? (token - 1) % across * p.patch : 0;
    const uint8_t* const pixels =
        p.pixels + (static_cast<int64_t>(picture) * p.size * p.size + y0 * p.size + x0) * 3;
    if (token > 0 && p.patch % 4 == 0) {
        // Four pixels at a time: three words in, four values out per colour channel.
        const int quads = p.patch / 4;
        for (int i = threadIdx.x; i < area / 4; i += blockDim.x) {
            const int dy = i / quads, dx = 4 * (i - dy * quads);
            const auto* const from = reinterpret_cast<const uint32_t*>(pixels + (dy * p.size + dx) * 3);
            const uint32_t words[3] = {from[0], from[1], from[2]};
#pragma unroll
            for (int channel = 0; channel < 3; ++channel) {
                struct alignas(4 * sizeof(T)) {
                    T v[4];
                } values;
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int at = 3 * e + channel;
                    values.v[e] =
                        from_float<T>(__ldg(p.table + 256 * channel + (words[at / 4] >> 8 * (at % 4) & 255)));
                }
                *reinterpret_cast<decltype(values)*>(out + channel * area + 4 * i) = values;
            }
        }
        for (int i = 3 * area + threadIdx.x; i < p.ld; i += blockDim.x) out[i] = from_float<T>(0);
    } else {
        for (int i = threadIdx.x; i < p.ld; i += blockDim.x) {
            float v = 0;
            if (token > 0 && i < 3 * area) {
                const int channel = i / area, dy = i % area / p.patch, dx = i % p.patch;
                v = __ldg(p.table + 256 * channel + pixels[(dy * p.size + dx) * 3 + channel]);
            }
            out[i] = from_float<T>(v);
        }
    }
    const T* const position = static_cast<const T*>(p.position) + static_cast<int64_t>(token) * p.width;
    T* const stream = static_cast<T*>(p.stream) + row * p.width;
    const int vectors = p.width % Vector<T>::size == 0 ? p.width / Vector<T>::size : 0;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x)
        reinterpret_cast<Vector<T>*>(stream)[i] = reinterpret_cast<const Vector<T>*>(position)[i];
    for (int i = vectors * Vector<T>::size + threadIdx.x; i < p.width; i += blockDim.x)
        stream[i] = position[i];
}

__global__ void narrow_kernel(const float* in, __half* out, int64_t count) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count) out[i] = __float2half_rn(in[i]);
}

}  // namespace

void patches(const Patches& p, Type type, const Launch& at) {
    with_type(type, [&]<class T>(T) {
        start(patches_kernel<T>, p, dim3(static_cast<unsigned>(p.tokens), static_cast<unsigned>(p.batch)), 64,
              0, at);
    });
}

void narrow(const float* in, void* out, int64_t count, const Launch& at) {
    if (count == 0) return;
    narrow_kernel<<<static_cast<unsigned>((count + 255) / 256), 256, 0, at.stream>>>(
        in, static_cast<__half*>(out), count);
    IVIT_CUDA_CHECK(cudaGetLastError());
}

}  // namespace ivit::cuda_float
