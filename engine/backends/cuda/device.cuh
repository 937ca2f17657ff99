// SPDX-License-Identifier: Apache-2.0
// The instructions the kernels are made of, one function each. Integers only.
#pragma once
#include <cstdint>

#include "engine/arithmetic.h"
#include "engine/backends/cuda/check.h"
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

// ---- Tensor cores. Fragments as the PTX manual draws them for m16n8k32: a thread is (g, t) = (lane / 4,
// lane % 4); a: rows g, g+8 at bytes 4t.., then the same at bytes 16+4t..; b: column g at bytes 4t.. and
// 16+4t..; c: row g, columns 2t, 2t+1, then row g+8. sm_75 knows m8n8k16 only: the same fragments, four
// products.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define IVIT_MMA_HALF(type, c0, c1, a, b)                                                    \
    asm("mma.sync.aligned.m8n8k16.row.col.s32." type ".s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" \
        : "+r"(c0), "+r"(c1)                                                                 \
        : "r"(a), "r"(b))
#define IVIT_MMA(type, c, a, b0, b1)           \
    IVIT_MMA_HALF(type, c[0], c[1], a[0], b0); \
    IVIT_MMA_HALF(type, c[2], c[3], a[1], b0); \
    IVIT_MMA_HALF(type, c[0], c[1], a[2], b1); \
    IVIT_MMA_HALF(type, c[2], c[3], a[3], b1)
#else
#define IVIT_MMA(type, c, a, b0, b1)                                    \
    asm("mma.sync.aligned.m16n8k32.row.col.s32." type                   \
        ".s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])                \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
#endif
__device__ __forceinline__ void mma_s8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    IVIT_MMA("s8", c, a, b0, b1);
}
__device__ __forceinline__ void mma_u8(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    IVIT_MMA("u8", c, a, b0, b1);
}

__device__ __forceinline__ uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Four 8x8 matrices of 16-bit pairs; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// ---- 16 bytes from global to shared memory, zeros where `valid` is false; asynchronous from sm_80 on.
__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
#else
    const uint4 v = valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
#endif
}
__device__ __forceinline__ void copy_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int pending>
__device__ __forceinline__ void copy_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// 16-byte chunk c of row r in a tile of 64-byte rows, so that eight rows of one chunk hit eight different
// banks.
__device__ __forceinline__ uint32_t swizzled(int r, int c) { return r * 64 + ((c ^ (r >> 1 & 3)) << 4); }

// ---- Programmatic dependent launch.
// Waits until every kernel before this one has finished and its writes can be read.
__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel may start; it still waits for our end where it reads. Long kernels say so at once. Short
// ones say it after wait_for_inputs, as blocks that start much too early take room and time from what is
// still at work.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Four bytes of what a kernel before has made. Asked for here, not where the compiler thinks best.
__device__ __forceinline__ uint32_t ask_word(const void* from) {
    uint32_t word;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(word) : "l"(from));
    return word;
}
__device__ __forceinline__ uint4 ask_four(const void* from) {
    uint4 v;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
}

// ---- Requantization.
__device__ __forceinline__ int clamp32(int x, int low, int top) { return min(max(x, low), top); }

// (x * m + r) >> s for s >= 33 and an r without a low word, given r >> 32 and s - 32.
__device__ __forceinline__ int scale_top(int x, int m, int r32, int s32) {
    int high;
    asm("mad.hi.s32 %0, %1, %2, %3;" : "=r"(high) : "r"(x), "r"(m), "r"(r32));
    return high >> s32;
}
__device__ __forceinline__ int64_t scale_any(int x, int m, int64_t r, int s) {
    return multiply_add(x, m, r) >> s;
}
// Of one ratio for a whole tensor, clamped.
__device__ __forceinline__ int scale_clamped(int x, int m, int64_t r, int s, int low, int top) {
    if (s >= 32) return clamp32(scale_word(x, m, r, s), low, top);
    return static_cast<int>(arith::clamp(scale_any(x, m, r, s), low, top));
}

// Four integers to four signed bytes, the first lowest. They must fit, or saturate.
__device__ __forceinline__ uint32_t pack4(int a, int b, int c, int d) {
    uint32_t upper, all;
    asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(d), "r"(c));
    asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(b), "r"(a), "r"(upper));
    return all;
}
__device__ __forceinline__ uint32_t pack2(int a, int b) { return __byte_perm(a, b, 0x5410); }

// Asks for all of a kernel's arguments, where there is time to wait for them: the first one to need a part
// waits for the cache of constants otherwise.
template <class Args>
__device__ __forceinline__ void touch(const Args& args) {
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(&args);
#pragma unroll
    for (size_t i = 0; i < sizeof(Args) / 4; i += 16) asm volatile("" ::"r"(words[i]));
}

// Until so many threads, whole warps, have come to this barrier of the block: 1 .. 15, as __syncthreads has
// the first.
__device__ __forceinline__ void named_barrier(int which, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(which), "r"(threads) : "memory");
}

// ---- Warp-wide.
__device__ __forceinline__ int lane_id() { return threadIdx.x & 31; }
// Over the L neighbouring lanes that a lane is among.
template <int L, class T>
__device__ __forceinline__ T shuffled_sum(T v) {
#pragma unroll
    for (int i = L / 2; i; i >>= 1) v += __shfl_xor_sync(0xffffffff, v, i);
    return v;
}
__device__ __forceinline__ int warp_sum(int v) {
#if __CUDA_ARCH__ >= 800
    return __reduce_add_sync(0xffffffff, v);
#else
    return shuffled_sum<32>(v);
#endif
}
// In pieces of 26 bits, whose sums over a warp fit 32; of v < 2^52 there are two.
__device__ __forceinline__ uint64_t warp_sum52(uint64_t v) {
#if __CUDA_ARCH__ >= 800
    const uint64_t low = __reduce_add_sync(0xffffffff, static_cast<uint32_t>(v) & 0x3ffffff);
    const uint64_t high = __reduce_add_sync(0xffffffff, static_cast<uint32_t>(v >> 26));
    return low + (high << 26);
#else
    return shuffled_sum<32>(v);
#endif
}
__device__ __forceinline__ uint64_t warp_sum64(uint64_t v) {
#if __CUDA_ARCH__ >= 800
    const uint64_t high = __reduce_add_sync(0xffffffff, static_cast<uint32_t>(v >> 52));
    return warp_sum52(v & ((uint64_t{1} << 52) - 1)) + (high << 52);
#else
    return shuffled_sum<32>(v);
#endif
}

// ---- Starting kernels.
// cluster: so many blocks, neighbours in x, run at the same time.
inline cudaLaunchAttribute cluster_of(unsigned blocks) {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = blocks;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    return attribute;
}
template <class Args>
void start(void (*kernel)(Args), const Args& args, dim3 grid, dim3 block, size_t shared, const Launch& at,
           unsigned cluster = 1) {
    cudaLaunchAttribute attributes[2] = {};
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = at.stream;
    config.attrs = attributes;
    if (at.overlap) {
        cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
        overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        overlap.val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) attributes[config.numAttrs++] = cluster_of(cluster);
    IVIT_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args));
}

// Clusters of `cluster` blocks that can run at the same time on an idle GPU; 0 where it cannot be told.
template <class Args>
int clusters_at_once(void (*kernel)(Args), unsigned cluster, unsigned block, size_t shared) {
    cudaLaunchAttribute attribute = cluster_of(cluster);
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(cluster);
    config.blockDim = dim3(block);
    config.dynamicSmemBytes = shared;
    config.attrs = &attribute;
    config.numAttrs = 1;
    int clusters = 0;
    if (cudaOccupancyMaxActiveClusters(&clusters, kernel, &config) != cudaSuccess) {
        cudaGetLastError();  // it stays otherwise, for the next check to find
        return 0;
    }
    return clusters;
}

// Lets a kernel have `bytes` of shared memory, or as much as there is, and loads it.
template <class Args>
void allow_shared(void (*kernel)(Args), size_t bytes, const Launch& at) {
    const size_t most = bytes < at.shared_limit ? bytes : at.shared_limit;
    if (most > 48 * 1024)
        IVIT_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             static_cast<int>(most)));
    // The same split between cache and shared memory for all, or a multiprocessor must run empty between two
    // kernels.
    IVIT_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                         cudaSharedmemCarveoutMaxShared));
    cudaFuncAttributes loaded;
    IVIT_CUDA_CHECK(cudaFuncGetAttributes(&loaded, kernel));
}

}  // namespace ivit::cuda
