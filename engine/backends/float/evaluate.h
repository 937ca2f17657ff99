// SPDX-License-Identifier: Apache-2.0
// One node in plain FP32, for nodes a person has taken out of integer arithmetic.
#pragma once
#include <span>

#include "engine/model.h"

namespace ivit {

// inputs: one per Node::inputs, shapes as in Graph (no batch). Yields Node::shape. The same bits on every CPU
// and for any thread count: plain loops, no contraction. For softmax, gelu and layernorm: the true function.
FloatTensor evaluate_node(const Model& model, int node, std::span<const FloatTensor* const> inputs);

}  // namespace ivit
