// SPDX-License-Identifier: Apache-2.0
// One node of one picture, alone, with the kernels of the fused steps.
#pragma once
#include <span>

#include "engine/backends/cpu/ops.h"
#include "engine/quantized_model.h"
#include "engine/tensor.h"

namespace ivit::cpu {

// inputs: as in IntegerNetwork::run_node. pixels [image_size, image_size, 3]: of the input node alone.
IntTensor run_one_node(const Context& ctx, const QuantizedModel& model, int node, const PackedNode& packed,
                       std::span<const IntTensor* const> inputs, std::span<const uint8_t> pixels);

}  // namespace ivit::cpu
