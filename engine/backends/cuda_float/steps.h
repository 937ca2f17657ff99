// SPDX-License-Identifier: Apache-2.0
// A graph as the steps that the float networks on the GPU run, and where their outputs lie.
#pragma once
#include <map>
#include <vector>

#include "engine/backends/cuda_float/kernels.h"
#include "engine/graph.h"

namespace ivit::cuda_float {

// What one step computes: nodes first .. last, of which only the last one's output leaves it.
enum class StepKind {
    patch_embed,  // input, patch_embed, pos_embed
    layernorm,
    linear,     // linear or head, with gelu or residual_add where they follow
    attention,  // attn_logits, softmax, attn_context
};
struct Step {
    StepKind kind{};
    int first = 0, last = 0;
    bool gelu = false, residual = false;
    int slot = 0;  // buffer of the output
};

// All of g's nodes, in order. Throws Error for an order of operators, or heads, that no step takes.
std::vector<Step> cut_into_steps(const Graph& g, Type type, const Launch& at);

// Buffers of the steps' outputs, shared once their last reader is done.
struct Slots {
    std::vector<int64_t> elements;  // of each, per picture
    std::map<int, int> of_node;     // for the last node of every step: its buffer
};
// Sets Step::slot as well.
Slots assign_slots(const Graph& g, std::vector<Step>& steps);

}  // namespace ivit::cuda_float
