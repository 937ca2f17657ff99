// SPDX-License-Identifier: Apache-2.0
// In place of the float opponents on the GPU when there was no nvcc to build them with.
#include "engine/backends/cuda_float/network.h"
#include "engine/error.h"

namespace ivit::cuda_float {

std::string unavailable(Precision) { return "this program was built without CUDA"; }

std::unique_ptr<Network> make_network(std::shared_ptr<const Model>, Precision precision) {
    throw Error(unavailable(precision), "cuda");
}

std::vector<double> device_ms(Network&, std::span<const uint8_t>, int, int) {
    throw Error(unavailable(Precision::fp32), "cuda");
}

void use_tanh_gelu(Network&) { throw Error(unavailable(Precision::fp32), "cuda"); }

}  // namespace ivit::cuda_float
