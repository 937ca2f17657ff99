// SPDX-License-Identifier: Apache-2.0
// wgmma on int8 operands in shared memory: sm_90a alone.
#pragma once
#include <cstdint>

namespace ivit::cuda {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// What a product needs to know of a matrix in shared memory, rows of 128 bytes under the 128-byte swizzle,
// groups of eight rows 1024 bytes apart: the low word; the high one is the same for all. 16 bytes further on
// it is one more.
__device__ __forceinline__ uint32_t descriptor(uint32_t address) { return (address >> 4) + (1u << 16); }

// Sixteen accumulators at a time: as text of the instruction and as its operands.
// clang-format off
#define IVIT_TEXT_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define IVIT_TEXT_16 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define IVIT_TEXT_32 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define IVIT_TEXT_48 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define IVIT_TEXT_64 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define IVIT_TEXT_80 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define IVIT_D16(d, i) "+r"(d[i + 0]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), "+r"(d[i + 7]), "+r"(d[i + 8]), "+r"(d[i + 9]), "+r"(d[i + 10]), "+r"(d[i + 11]), "+r"(d[i + 12]), "+r"(d[i + 13]), "+r"(d[i + 14]), "+r"(d[i + 15])
#define IVIT_WGMMA(width, text, d_operands, a_at, w_at, accumulate_at)                               \
    asm volatile("{\n.reg .pred p;\n.reg .b64 a, w;\nsetp.ne.b32 p, %" accumulate_at ", 0;\n"                 \
                 "mov.b64 a, {%" a_at ", 0x40000040};\nmov.b64 w, {%" w_at ", 0x40000040};\n"             \
                 "wgmma.mma_async.sync.aligned.m64n" width "k32.s32.s8.s8 {" text "}, a, w, p;\n}"                                                                             \
                 : d_operands                                                                          \
                 : "r"(a), "r"(w), "r"(accumulate))
#define IVIT_AND ,
// clang-format on

// d = A [64, 32] . W [N, 32]^T, plus what is in d where `accumulate`; N = 2 x the accumulators. d[4j + {0,
// 1}]: row g, columns 8j + 2t, + 1; d[4j + {2, 3}]: row g + 8.
__device__ __forceinline__ void multiply(int (&d)[16], uint32_t a, uint32_t w, int accumulate) {
    IVIT_WGMMA("32", IVIT_TEXT_0, IVIT_D16(d, 0), "16", "17", "18");
}
__device__ __forceinline__ void multiply(int (&d)[32], uint32_t a, uint32_t w, int accumulate) {
    IVIT_WGMMA("64", IVIT_TEXT_0 ", " IVIT_TEXT_16, IVIT_D16(d, 0) IVIT_AND IVIT_D16(d, 16), "32", "33",
               "34");
}
__device__ __forceinline__ void multiply(int (&d)[48], uint32_t a, uint32_t w, int accumulate) {
    IVIT_WGMMA("96", IVIT_TEXT_0 ", " IVIT_TEXT_16 ", " IVIT_TEXT_32,
               IVIT_D16(d, 0) IVIT_AND IVIT_D16(d, 16) IVIT_AND IVIT_D16(d, 32), "48", "49", "50");
}
__device__ __forceinline__ void multiply(int (&d)[64], uint32_t a, uint32_t w, int accumulate) {
    IVIT_WGMMA("128", IVIT_TEXT_0 ", " IVIT_TEXT_16 ", " IVIT_TEXT_32 ", " IVIT_TEXT_48,
               IVIT_D16(d, 0) IVIT_AND IVIT_D16(d, 16) IVIT_AND IVIT_D16(d, 32) IVIT_AND IVIT_D16(d, 48),
               "64", "65", "66");
}
__device__ __forceinline__ void multiply(int (&d)[96], uint32_t a, uint32_t w, int accumulate) {
    IVIT_WGMMA("192",
               IVIT_TEXT_0 ", " IVIT_TEXT_16 ", " IVIT_TEXT_32 ", " IVIT_TEXT_48 ", " IVIT_TEXT_64
                           ", " IVIT_TEXT_80,
               IVIT_D16(d, 0) IVIT_AND IVIT_D16(d, 16) IVIT_AND IVIT_D16(d, 32) IVIT_AND IVIT_D16(d, 48)
                   IVIT_AND IVIT_D16(d, 64) IVIT_AND IVIT_D16(d, 80),
               "96", "97", "98");
}
#undef IVIT_AND
#undef IVIT_WGMMA
#undef IVIT_D16
#undef IVIT_TEXT_80
#undef IVIT_TEXT_64
#undef IVIT_TEXT_48
#undef IVIT_TEXT_32
#undef IVIT_TEXT_16
#undef IVIT_TEXT_0
// Nothing moves the accumulators across this.
template <int N>
__device__ __forceinline__ void keep_in_place(int (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+r"(d[i])::"memory");
}
// Accumulators of no matter what, for a product that does not add to them.
template <int N>
__device__ __forceinline__ void take_any(int (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "=r"(d[i]));
}
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most `pending` groups of products are not yet done.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// Four 8 x 8 matrices of 16-bit pairs, turned on their way: lane l gives the address of row l % 8 of matrix l
// / 8, and this thread holds rows 2t and 2t + 1 of column g.
__device__ __forceinline__ void store_matrices_transposed(uint32_t address, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

#endif

}  // namespace ivit::cuda
