// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/copy_engine.h"

#include <string>

#include "engine/backends/cuda/check.h"

namespace ivit::cuda {
namespace {

// Whether the code that runs here was compiled for sm_90a.
struct Probe {
    int* out;
};
__global__ void probe_kernel(const Probe p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    *p.out = 1;
#else
    *p.out = 0;
#endif
}

// cuTensorMapEncodeTiled, asked for at run time: the program does not link the driver.
using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                            CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
Encode encode_tiled = nullptr;  // set by prepare_copy_engine

}  // namespace

void prepare_copy_engine(const Launch& at) {
    if (at.arch != 90 || encode_tiled) return;
    DeviceBuffer answer(sizeof(int));
    int compiled = 0;
    probe_kernel<<<1, 1>>>(Probe{answer.as<int>()});
    IVIT_CUDA_CHECK(cudaGetLastError());
    IVIT_CUDA_CHECK(cudaMemcpy(&compiled, answer.as<int>(), sizeof(int), cudaMemcpyDeviceToHost));
    if (!compiled) return;
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                         &result) == cudaSuccess &&
        result == cudaDriverEntryPointSuccess)
        encode_tiled = reinterpret_cast<Encode>(found);
}

bool copy_engine_ready() { return encode_tiled != nullptr; }

CUtensorMap boxes(const void* data, int32_t rows, int32_t k, int32_t stride, int32_t box_rows,
                  int32_t width) {
    CUtensorMap map;
    const cuuint64_t size[] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows)};
    const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride)};
    const cuuint32_t box[] = {static_cast<cuuint32_t>(width), static_cast<cuuint32_t>(box_rows)},
                     step[] = {1, 1};
    const CUresult code = encode_tiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(data), size,
                                       strides, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                       width == 64 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B,
                                       CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (code != CUDA_SUCCESS)
        throw Error("the GPU's driver refused a tensor map (code " + std::to_string(code) + ")", "cuda");
    return map;
}

}  // namespace ivit::cuda
