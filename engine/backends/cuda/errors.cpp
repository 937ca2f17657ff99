// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/check.h"

#include <string_view>

namespace ivit::cuda {
namespace {

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

}  // namespace

void fail(cudaError_t code, const char* expression, const char* file, int line) {
    cudaGetLastError();  // an error that is not about the device itself must not be met again by the next
                         // call
    std::string what;
    switch (code) {
        case cudaErrorMemoryAllocation:
            what = std::string_view(expression).find("cudaMallocHost") != std::string_view::npos
                       ? "there is not enough free memory for what goes to the GPU and comes back"
                       : "the GPU has not enough free memory";
            break;
        case cudaErrorNoDevice:
            what = "there is no CUDA GPU on this machine";
            break;
        case cudaErrorInsufficientDriver:
        case cudaErrorCallRequiresNewerDriver:
        case cudaErrorUnsupportedPtxVersion: {
            int driver = 0;
            if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
                what = "there is no NVIDIA driver on this machine";
            else
                what = "the NVIDIA driver is too old: it knows CUDA " + version(driver) +
                       ", and this program needs " + version(CUDART_VERSION);
            break;
        }
        case cudaErrorStubLibrary:
            what = "the NVIDIA driver on this machine is only a stub";
            break;
        case cudaErrorSystemDriverMismatch:
            what = "the NVIDIA driver and its kernel module are of different versions: restart the machine";
            break;
        case cudaErrorSystemNotReady:
            what = "the GPU is not ready: a service of its driver does not run";
            break;
        case cudaErrorDevicesUnavailable:
            what = "the GPU is in use by another program";
            break;
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidDeviceFunction:
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
