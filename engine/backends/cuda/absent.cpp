// SPDX-License-Identifier: Apache-2.0
// In place of the cuda backend when there was no nvcc to build it with.
#include "engine/backends/cuda/ceilings.h"
#include "engine/backends/cuda/network.h"
#include "engine/error.h"

namespace ivit::cuda {

std::string unavailable() { return "this program was built without CUDA"; }

std::unique_ptr<Backend> make_backend() { throw Error(unavailable(), "cuda"); }

std::vector<double> device_ms(IntegerNetwork&, std::span<const uint8_t>, int, int) {
    throw Error(unavailable(), "cuda");
}

std::vector<Timing> step_ms(IntegerNetwork&, std::span<const uint8_t>, int, int) {
    throw Error(unavailable(), "cuda");
}

FusedHalves fused_halves(IntegerNetwork&, int) { throw Error(unavailable(), "cuda"); }

int pictures_at_once(IntegerNetwork&, int) { throw Error(unavailable(), "cuda"); }

Ceilings measure_ceilings() { throw Error(unavailable(), "cuda"); }

void set_micro_batch(IntegerNetwork&, int) { throw Error(unavailable(), "cuda"); }

void force_tile(IntegerNetwork&, const std::string&) { throw Error(unavailable(), "cuda"); }

}  // namespace ivit::cuda
