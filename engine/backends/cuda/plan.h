// SPDX-License-Identifier: Apache-2.0
// How a graph is cut into fused steps, from its nodes alone: no CUDA here.
#pragma once
#include <cstddef>
#include <vector>

#include "engine/backends/cuda/layout.h"
#include "engine/graph.h"

namespace ivit::cuda {

// What one step computes; in brackets what it is made of.
enum class StepKind {
    patch_embed,  // [input, patch_embed, pos_embed]
    linear,       // [layernorm, linear] or [layernorm, linear, gelu]
    attention,    // [attn_logits, softmax, attn_context]
    residual,     // [linear, residual_add]
    head,         // [layernorm, head]
    single,       // any node on its own, with the plain kernels
};

// How a node's output lies in memory between two steps.
struct Form {
    Layout layout;
    int bytes = 4;     // of an integer
    int64_t rows = 1;  // per picture
    int64_t bytes_per_picture() const { return rows * layout.stride * bytes; }
};

struct Step {
    StepKind kind{};
    int first = 0, last = 0;  // nodes, inclusive; only the last one's output leaves the step
    Form out;
    int slot = 0;  // buffer the output goes to; another step may reuse it after this one's last reader
};

struct Plan {
    std::vector<Step> steps;
    std::vector<int> step_of;    // per node: the step it belongs to
    std::vector<int64_t> slots;  // bytes per picture of each buffer
};

Form form_of(const Graph& graph, int node);
Plan make_plan(const Graph& graph);

// The steps at which a ViT's block starts: [norm, qkv], attention, [proj, add], [norm, fc1, gelu], [fc2,
// add], five steps, each of which only the next one reads, but for the residual stream.
constexpr size_t block_steps = 5, attention_steps = 2;
std::vector<size_t> find_blocks(const Graph& graph, const Plan& plan);

}  // namespace ivit::cuda
