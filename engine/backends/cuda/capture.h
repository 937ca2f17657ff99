// SPDX-License-Identifier: Apache-2.0
// What the integers' and the floats' networks do alike with a captured graph and with pixels: host code.
#pragma once
#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "engine/backends/cuda/check.h"
#include "engine/clock.h"

namespace ivit::cuda {

// What enqueue() puts on `stream`, as a graph. Whatever it throws ends the capture.
template <class F>
GraphExec capture(cudaStream_t stream, const F& enqueue) {
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
    return GraphExec(exec);
}

// Device time of `runs` replays, ms each, once the clocks are up.
inline std::vector<double> replay_ms(const GraphExec& graph, const Stream& stream, int runs) {
    for (const double begin = now_ms(); now_ms() - begin < 300;) {
        graph.launch(stream);
        stream.wait();
    }
    const Event start, end;
    std::vector<double> ms;
    for (int i = 0; i < runs; ++i) {
        start.record(stream);
        graph.launch(stream);
        end.record(stream);
        stream.wait();
        ms.push_back(end.since(start));
    }
    return ms;
}

// Pixels to the device by way of `host`, part by part, so that the bus carries one while the processor copies
// the next. Both must hold them, and nothing may still be using either.
inline void upload(std::span<const uint8_t> pixels, const PinnedBuffer& host, const DeviceBuffer& device,
                   cudaStream_t stream) {
    constexpr size_t part = size_t{2} << 20;
    for (size_t at = 0; at < pixels.size(); at += part) {
        const size_t bytes = std::min(part, pixels.size() - at);
        std::memcpy(host.as<uint8_t>() + at, pixels.data() + at, bytes);
        IVIT_CUDA_CHECK(cudaMemcpyAsync(device.as<uint8_t>() + at, host.as<uint8_t>() + at, bytes,
                                        cudaMemcpyHostToDevice, stream));
    }
}

}  // namespace ivit::cuda
