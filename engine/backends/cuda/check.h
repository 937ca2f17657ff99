// SPDX-License-Identifier: Apache-2.0
// Checked CUDA calls and owned device resources. Host code only.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "engine/error.h"

namespace ivit::cuda {

// Throws Error with one sentence about what happened to the GPU; file, line and the expression are its hint.
[[noreturn]] void fail(cudaError_t code, const char* expression, const char* file, int line);

// Every CUDA call goes through this.
#define IVIT_CUDA_CHECK(expression)                                                                   \
    do {                                                                                              \
        const cudaError_t ivit_code = (expression);                                                   \
        if (ivit_code != cudaSuccess) ::ivit::cuda::fail(ivit_code, #expression, __FILE__, __LINE__); \
    } while (0)

// Owned memory: on the device, or page-locked on the host. Destructors ignore errors: a lost device cannot
// free.
template <bool on_device>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(size_t bytes) : bytes_(bytes) {
        if (bytes == 0) return;
        if constexpr (on_device)
            IVIT_CUDA_CHECK(cudaMalloc(&data_, bytes));
        else
            IVIT_CUDA_CHECK(cudaMallocHost(&data_, bytes));
    }
    Buffer(Buffer&& o) noexcept { swap(o); }
    Buffer& operator=(Buffer&& o) noexcept {
        Buffer(std::move(o)).swap(*this);
        return *this;
    }
    ~Buffer() {
        if (data_ == nullptr) return;
        if constexpr (on_device)
            cudaFree(data_);
        else
            cudaFreeHost(data_);
    }
    void swap(Buffer& o) noexcept {
        std::swap(data_, o.data_);
        std::swap(bytes_, o.bytes_);
    }
    template <class T = void>
    T* as() const {
        return static_cast<T*>(data_);
    }
    size_t bytes() const { return bytes_; }

  private:
    void* data_ = nullptr;
    size_t bytes_ = 0;
};
using DeviceBuffer = Buffer<true>;
using PinnedBuffer = Buffer<false>;

class Stream {
  public:
    Stream() { IVIT_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return stream_; }
    void wait() const { IVIT_CUDA_CHECK(cudaStreamSynchronize(stream_)); }

  private:
    cudaStream_t stream_ = nullptr;
};

class Event {
  public:
    Event() { IVIT_CUDA_CHECK(cudaEventCreate(&event_)); }
    ~Event() {
        if (event_) cudaEventDestroy(event_);
    }
    Event(Event&& o) noexcept : event_(std::exchange(o.event_, nullptr)) {}
    Event(const Event&) = delete;
    void record(cudaStream_t stream) const { IVIT_CUDA_CHECK(cudaEventRecord(event_, stream)); }
    // Milliseconds from `start` to this; both must have happened.
    double since(const Event& start) const {
        float ms = 0;
        IVIT_CUDA_CHECK(cudaEventElapsedTime(&ms, start.event_, event_));
        return ms;
    }

  private:
    cudaEvent_t event_ = nullptr;
};

// A captured graph, ready to launch.
class GraphExec {
  public:
    GraphExec() = default;
    explicit GraphExec(cudaGraphExec_t exec) : exec_(exec) {}
    GraphExec(GraphExec&& o) noexcept : exec_(std::exchange(o.exec_, nullptr)) {}
    GraphExec& operator=(GraphExec&& o) noexcept {
        std::swap(exec_, o.exec_);
        return *this;
    }
    ~GraphExec() {
        if (exec_) cudaGraphExecDestroy(exec_);
    }
    void launch(cudaStream_t stream) const { IVIT_CUDA_CHECK(cudaGraphLaunch(exec_, stream)); }

  private:
    cudaGraphExec_t exec_ = nullptr;
};

}  // namespace ivit::cuda
