// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/check.h"

namespace ivit::cuda {

void fail(cudaError_t code, const char* expression, const char* file, int line) {
    cudaGetLastError();  // an error that is not about the device itself must not be met again by the next
                         // call
    std::string what;
    switch (code) {
        case cudaErrorMemoryAllocation:
            what = "the GPU has not enough free memory";
            break;
        case cudaErrorNoDevice:
            what = "there is no CUDA GPU on this machine";
            break;
        case cudaErrorInsufficientDriver:
            what = "there is no NVIDIA driver on this machine, or it is too old for CUDA " +
                   std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
            break;
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidDeviceFunction:
        case cudaErrorUnsupportedPtxVersion:
        case cudaErrorInvalidKernelImage:
            what = "this program has no code for this GPU's architecture";
            break;
        default:
            what = std::string("the GPU failed (") + cudaGetErrorString(code) + ")";
    }
    std::string name = file;
    name = name.substr(name.find_last_of('/') + 1);
    throw Error(what, "cuda",
                name + ":" + std::to_string(line) + ": " + expression + ": " + cudaGetErrorName(code));
}

}  // namespace ivit::cuda
