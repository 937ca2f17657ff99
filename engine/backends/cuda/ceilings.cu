// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/ceilings.h"

#include <algorithm>

#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

constexpr int rounds = 2048;

// Three warpgroups a multiprocessor multiply what lies in shared memory, as linear_sm90.cu's greatest tiles
// do. Writes how many operations a block did, 0 where the code has no wgmma.
__global__ void __launch_bounds__(384, 1) wgmma_kernel(unsigned long long* operations, int* out) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) uint8_t tiles[];  // A [192, 128] and W [192, 128]
    for (int i = threadIdx.x; i < 2 * 192 * 128; i += blockDim.x)
        tiles[i] = static_cast<uint8_t>((i * 2654435761u) >> 24);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    const uint32_t a = shared_address(tiles) + (threadIdx.x >> 7) * 64 * 128,
                   w = shared_address(tiles) + 192 * 128;
    int d[96] = {};
    for (int i = 0; i < rounds; ++i) {
        keep_in_place(d);
        wgmma_fence();
#pragma unroll
        for (int kk = 0; kk < 4; ++kk) multiply(d, descriptor(a) + 2 * kk, descriptor(w) + 2 * kk, 1);
        wgmma_commit();
        wgmma_wait<0>();
    }
    keep_in_place(d);
    int sum = 0;
#pragma unroll
    for (const int v : d) sum ^= v;
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
    if (threadIdx.x == 0) *operations = 2ull * rounds * 192 * 192 * 128;
#else
    if (threadIdx.x == 0) *operations = 0;
#endif
}

// Sixteen warps a multiprocessor, eight independent sums each.
__global__ void __launch_bounds__(512, 1) mma_kernel(int* out) {
    uint32_t a[4], b[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = threadIdx.x * 2654435761u + i * 40503u;
    b[0] = a[0] ^ a[2], b[1] = a[1] ^ a[3];
    int d[8][4] = {};
    for (int i = 0; i < rounds; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) mma_s8(d[j], a, b[0], b[1]);
    int sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum ^= d[j][0] ^ d[j][1] ^ d[j][2] ^ d[j][3];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// Seconds of the fastest of five runs.
template <class F>
double seconds(const Stream& stream, const F& run) {
    const Event begin, end;
    double best = 1e9;
    for (int i = 0; i < 6; ++i) {  // the first one warms up
        begin.record(stream);
        run();
        IVIT_CUDA_CHECK(cudaGetLastError());
        end.record(stream);
        stream.wait();
        if (i > 0) best = std::min(best, 1e-3 * end.since(begin));
    }
    return best;
}

}  // namespace

Ceilings measure_ceilings() {
    cudaDeviceProp device{};
    IVIT_CUDA_CHECK(cudaSetDevice(0));
    IVIT_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
    const int sms = device.multiProcessorCount;
    const Stream stream;
    const DeviceBuffer out(static_cast<size_t>(sms) * 1024 * sizeof(int)),
        operations(sizeof(unsigned long long));
    Ceilings result;

    constexpr size_t tile_bytes = 2 * 192 * 128;
    if (tile_bytes <= device.sharedMemPerBlockOptin) {
        IVIT_CUDA_CHECK(
            cudaFuncSetAttribute(wgmma_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, tile_bytes));
        const double s = seconds(stream, [&] {
            wgmma_kernel<<<static_cast<unsigned>(sms), 384, tile_bytes, stream>>>(
                operations.as<unsigned long long>(), out.as<int>());
        });
        unsigned long long each = 0;
        IVIT_CUDA_CHECK(cudaMemcpy(&each, operations.as<>(), sizeof each, cudaMemcpyDeviceToHost));
        result.wgmma_tops = 1e-12 * static_cast<double>(each) * sms / s;
    }
    double s =
        seconds(stream, [&] { mma_kernel<<<static_cast<unsigned>(sms), 512, 0, stream>>>(out.as<int>()); });
    result.mma_tops = 1e-12 * 2.0 * rounds * 8 * 16 * 8 * 32 * 16 * sms / s;

    constexpr size_t half = size_t{512} << 20;
    const DeviceBuffer memory(2 * half);
    IVIT_CUDA_CHECK(cudaMemsetAsync(memory.as<>(), 1, 2 * half, stream));
    s = seconds(stream, [&] {
        IVIT_CUDA_CHECK(
            cudaMemcpyAsync(memory.as<char>() + half, memory.as<>(), half, cudaMemcpyDeviceToDevice, stream));
    });
    result.copy_tbs = 1e-12 * 2.0 * static_cast<double>(half) / s;
    return result;
}

}  // namespace ivit::cuda
