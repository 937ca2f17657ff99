// SPDX-License-Identifier: Apache-2.0
// The float opponents on an NVIDIA GPU: the same graph in FP32, TF32 or FP16, products by cuBLASLt with bias
// and residual in the epilogue, one fused attention kernel, one captured CUDA graph per batch size.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/backend.h"

namespace ivit::cuda_float {

enum class Precision {
    fp32,  // FP32 products and attention, no tensor cores
    tf32,  // activations and weights FP32, products and attention on tensor cores in TF32
    fp16,  // activations and weights FP16, sums in FP32
};

// Empty when this opponent can run here, else why not, in one sentence.
std::string unavailable(Precision precision);

// Yields a network whose run() fills Trace::logits, ms and device_ms, and timings when asked. Throws Error
// when unavailable() says something, when the GPU fails, and from run() when a tap is asked for: taps come
// from the CPU's float network.
std::unique_ptr<Network> make_network(std::shared_ptr<const Model> model, Precision precision);

// Device time in ms of `runs` runs as cuda::device_ms measures it: pixels on the device to logits on the
// device, by CUDA events around the captured graph. Throws Error when `network` is not one of these.
std::vector<double> device_ms(Network& network, std::span<const uint8_t> pixels, int batch, int runs);

// GELU as cuBLASLt's epilogue has it, the tanh approximation, instead of the exact one in a kernel of its
// own: another function than the model's, so benchmarks alone use it, to say what the exact one costs.
void use_tanh_gelu(Network& network);

}  // namespace ivit::cuda_float
