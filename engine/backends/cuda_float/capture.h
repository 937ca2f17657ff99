// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "engine/backends/cuda/check.h"

namespace ivit::cuda_float {

// What enqueue() puts on `stream`, as a graph. Whatever it throws ends the capture.
template <class F>
cuda::GraphExec capture(cudaStream_t stream, const F& enqueue) {
    IVIT_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
        enqueue();
    } catch (...) {
        cudaStreamEndCapture(stream, &graph);
        if (graph) cudaGraphDestroy(graph);
        throw;
    }
    IVIT_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    cudaGraphExec_t exec = nullptr;
    const cudaError_t code = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    IVIT_CUDA_CHECK(code);
    return cuda::GraphExec(exec);
}

}  // namespace ivit::cuda_float
