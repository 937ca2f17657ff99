// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/plan.h"

#include <algorithm>

#include "engine/backends/shared_slots.h"

namespace ivit::cuda {
namespace {

// The step that starts at node i.
Step step_at(const Graph& graph, int i) {
    const auto& nodes = graph.nodes;
    const Node& node = nodes[static_cast<size_t>(i)];
    if (node.op == Op::input && graph.follows(i + 1, Op::patch_embed) && graph.follows(i + 2, Op::pos_embed))
        return {StepKind::patch_embed, i, i + 2, {}, 0};
    if (node.op == Op::layernorm && graph.follows(i + 1, Op::head)) return {StepKind::head, i, i + 1, {}, 0};
    if (node.op == Op::layernorm && graph.follows(i + 1, Op::linear) &&
        !nodes[static_cast<size_t>(i + 1)].to_residual)
        return {StepKind::linear, i, graph.follows(i + 2, Op::gelu) ? i + 2 : i + 1, {}, 0};
    if (node.op == Op::attn_logits && graph.follows(i + 1, Op::softmax) &&
        graph.follows(i + 2, Op::attn_context) &&
        nodes[static_cast<size_t>(i + 2)].inputs.back() == node.inputs[0])
        return {StepKind::attention, i, i + 2, {}, 0};
    if (node.op == Op::linear && node.to_residual && graph.follows(i + 1, Op::residual_add))
        return {StepKind::residual, i, i + 1, {}, 0};
    return {StepKind::single, i, i, {}, 0};
}

}  // namespace

Form form_of(const Graph& graph, int node) {
    const Node& n = graph.nodes[static_cast<size_t>(node)];
    Form form{Layout::flat(n.cols()), 4, elements(n.shape) / n.cols()};
    switch (n.op) {
        case Op::input:
        case Op::layernorm:
        case Op::gelu:
            form.bytes = 1;
            break;
        case Op::linear:
            if (n.to_residual) break;
            form.bytes = 1;
            for (const int reader : graph.readers(node)) {
                const Node& r = graph.nodes[static_cast<size_t>(reader)];
                if (r.op == Op::attn_logits) form.layout = Layout::heads(n.cols(), n.cols() / 3 / r.heads);
            }
            break;
        case Op::attn_context:
            form.bytes = 1;
            form.layout = Layout::heads(n.cols(), n.cols() / n.heads);
            break;
        case Op::pos_embed:
        case Op::patch_embed:
        case Op::residual_add:
            form.bytes = 2;
            break;
        default:
            break;  // logits, probabilities, accumulators: int32
    }
    return form;
}

Plan make_plan(const Graph& graph) {
    Plan plan;
    const int n = static_cast<int>(graph.nodes.size());
    plan.step_of.resize(graph.nodes.size());
    for (int i = 0; i < n;) {
        Step step = step_at(graph, i);
        step.out = form_of(graph, step.last);
        for (; i <= step.last; ++i)
            plan.step_of[static_cast<size_t>(i)] = static_cast<int>(plan.steps.size());
        plan.steps.push_back(step);
    }
    SharedSlots slots;
    for (Step& step : plan.steps)
        step.slot = slots.take(step.out.bytes_per_picture(), step.first, graph.last_reader(step.last));
    plan.slots = slots.kinds();
    return plan;
}

std::vector<size_t> find_blocks(const Graph& graph, const Plan& plan) {
    const auto node = [&](int i) -> const Node& { return graph.nodes[static_cast<size_t>(i)]; };
    std::vector<size_t> found;
    for (size_t k = 0; k + block_steps <= plan.steps.size(); ++k) {
        const Step* const s = &plan.steps[k];
        if (s[0].kind != StepKind::linear || s[1].kind != StepKind::attention ||
            s[2].kind != StepKind::residual || s[3].kind != StepKind::linear ||
            s[4].kind != StepKind::residual)
            continue;
        const auto only_reader = [&](int from, const Step& to) {
            const std::vector<int> readers = graph.readers(from);
            return std::all_of(readers.begin(), readers.end(),
                               [&](int i) { return i >= to.first && i <= to.last; }) &&
                   node(to.first).inputs[0] == from;
        };
        const int stream = node(s[0].first).inputs[0], middle = s[2].last;
        if (node(s[0].last).op == Op::linear && node(s[3].last).op == Op::gelu &&
            only_reader(s[0].last, s[1]) && only_reader(s[1].last, s[2]) && only_reader(s[3].last, s[4]) &&
            node(s[2].last).inputs[1] == stream && node(s[3].first).inputs[0] == middle &&
            node(s[4].last).inputs[1] == middle &&
            graph.readers(middle) == std::vector<int>{s[3].first, s[4].last})
            found.push_back(k);
    }
    return found;
}

}  // namespace ivit::cuda
