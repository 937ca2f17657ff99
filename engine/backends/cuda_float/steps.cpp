// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda_float/steps.h"

#include <string>

#include "engine/backends/shared_slots.h"
#include "engine/error.h"

namespace ivit::cuda_float {
namespace {

const Node& node(const Graph& g, int i) { return g.nodes[static_cast<size_t>(i)]; }

void check_head(const Node& logits, const Node& context, Type type, const Launch& launch) {
    Attention a;
    a.dim = static_cast<int32_t>(context.cols() / logits.heads);
    a.tokens = static_cast<int32_t>(logits.rows());
    a.heads = logits.heads;
    if (!attention_fits(a, type, launch))
        throw Error(
            "the float opponents on the GPU take heads of at most 128 channels, not " + std::to_string(a.dim),
            "cuda");
}

// The step that begins with node i.
Step step_at(const Graph& g, int i, Type type, const Launch& launch) {
    const Node& n = node(g, i);
    if (n.op == Op::layernorm) return {StepKind::layernorm, i, i};
    if (n.op == Op::input && g.follows(i + 1, Op::patch_embed) && g.follows(i + 2, Op::pos_embed))
        return {StepKind::patch_embed, i, i + 2};
    if (n.op == Op::linear || n.op == Op::head) {
        Step step{StepKind::linear, i, i};
        step.gelu = g.follows(i + 1, Op::gelu);
        step.residual = g.follows(i + 1, Op::residual_add);
        if (step.gelu || step.residual) ++step.last;
        return step;
    }
    if (n.op == Op::attn_logits && g.follows(i + 1, Op::softmax) && g.follows(i + 2, Op::attn_context) &&
        node(g, i + 2).inputs.back() == n.inputs[0]) {
        check_head(n, node(g, i + 2), type, launch);
        return {StepKind::attention, i, i + 2};
    }
    throw Error("the float opponents on the GPU do not know this order of operators", n.name);
}

}  // namespace

std::vector<Step> cut_into_steps(const Graph& g, Type type, const Launch& at) {
    std::vector<Step> steps;
    for (int i = 0; i < static_cast<int>(g.nodes.size()); i = steps.back().last + 1)
        steps.push_back(step_at(g, i, type, at));
    return steps;
}

Slots assign_slots(const Graph& g, std::vector<Step>& steps) {
    Slots slots;
    SharedSlots shared;
    for (Step& step : steps) {
        step.slot = shared.take(elements(node(g, step.last).shape), step.first, g.last_reader(step.last));
        slots.of_node[step.last] = step.slot;
    }
    slots.elements = shared.kinds();
    return slots;
}

}  // namespace ivit::cuda_float
