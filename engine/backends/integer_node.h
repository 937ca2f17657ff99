// SPDX-License-Identifier: Apache-2.0
// What every integer backend shares: nodes a person has taken out of integer arithmetic, and checks of what
// comes in.
#pragma once
#include <span>

#include "engine/quantized_model.h"

namespace ivit {

// Executes a node whose mode is `exact` or `float_ops`: inputs dequantized, evaluated in FP32 with the float
// model's weights, rounded to the node's output grid. inputs as in IntegerNetwork::run_node; for the input
// node there are none and `pixels` is read. The same bits on every machine and backend.
IntTensor run_non_integer(const QuantizedModel& model, int node, std::span<const IntTensor* const> inputs,
                          std::span<const uint8_t> pixels = {});

// Throws Error unless pixels holds batch pictures of the graph's size.
void check_pixels(const Graph& graph, std::span<const uint8_t> pixels, int batch);

}  // namespace ivit
