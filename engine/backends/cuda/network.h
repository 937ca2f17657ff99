// SPDX-License-Identifier: Apache-2.0
// The integer network on an NVIDIA GPU (compute capability 7.5 and later), bit-equal to the reference
// backend.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/backend.h"

namespace ivit::cuda {

// Empty when there is a GPU that this backend can use, else why not, in one sentence.
std::string unavailable();

std::unique_ptr<Backend> make_backend();  // throws Error when unavailable() says something

// Device time of `runs` runs in ms, pixels on the device to logits on the device, by CUDA events around the
// captured network; for benchmarks. Throws Error when `network` was not loaded by this backend.
std::vector<double> device_ms(IntegerNetwork& network, std::span<const uint8_t> pixels, int batch, int runs);

// Device time of every fused step, by captured graphs of `repeats` runs of the step on
// pictures_at_once(batch) pictures.
std::vector<Timing> step_ms(IntegerNetwork& network, std::span<const uint8_t> pixels, int batch, int repeats);

// Halves of the network's blocks that run as one kernel each (block.h) when so many pictures go through it
// together; a run with taps or timings runs every step by itself. For tests and benchmarks.
struct FusedHalves {
    int attention = 0, mlp = 0;
    bool operator==(const FusedHalves&) const = default;
};
FusedHalves fused_halves(IntegerNetwork& network, int pictures);

// Pictures of a batch that go through the network together: the others follow them.
int pictures_at_once(IntegerNetwork& network, int batch);

// Pictures that go through the network together, 0: up to 256. For benchmarks.
void set_micro_batch(IntegerNetwork& network, int pictures);

// The kernel every matrix product that it fits goes through, by its name in tile_names (kernels.h); empty:
// the best for each. Bits do not depend on it. For tests and benchmarks. Throws Error for an unknown name.
void force_tile(IntegerNetwork& network, const std::string& name);

}  // namespace ivit::cuda
