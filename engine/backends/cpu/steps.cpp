// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cpu/steps.h"

#include <algorithm>

#include "engine/backends/shared_slots.h"

namespace ivit::cpu {
namespace {

std::vector<Step> find_steps(const Graph& graph) {
    const int count = static_cast<int>(graph.nodes.size());
    const auto node = [&](int i) -> const Node& { return graph.nodes[static_cast<size_t>(i)]; };
    std::vector<Step> steps;
    for (int i = 0; i < count; i = steps.back().last + 1) {
        const Op op = node(i).op;
        Step step{Fused::none, i, i};
        if (op == Op::input && graph.follows(i + 1, Op::patch_embed) && graph.follows(i + 2, Op::pos_embed))
            step = {Fused::patches, i, i + 2};
        else if (op == Op::layernorm && graph.follows(i + 1, Op::linear) && !node(i + 1).to_residual)
            step = {Fused::norm_linear, i, graph.follows(i + 2, Op::gelu) ? i + 2 : i + 1};
        else if (op == Op::layernorm && graph.follows(i + 1, Op::head))
            step = {Fused::norm_linear, i, i + 1};
        else if (op == Op::attn_logits && graph.follows(i + 1, Op::softmax) &&
                 graph.follows(i + 2, Op::attn_context) && node(i).inputs[0] == node(i + 2).inputs[1])
            step = {Fused::attention, i, i + 2};
        else if (op == Op::linear && node(i).to_residual && graph.follows(i + 1, Op::residual_add))
            step = {Fused::linear_add, i, i + 1};
        steps.push_back(step);
    }
    return steps;
}

}  // namespace

// A slot per step output, free again after the step that reads it last, for outputs of the same shape only:
// so a thread's own rows lie at the same place for all who use the slot. A residual_add may write over the
// old residual stream: it reads each element just before.
Plan make_plan(const Graph& graph) {
    Plan plan;
    plan.steps = find_steps(graph);
    plan.slot_index.assign(graph.nodes.size(), -1);
    SharedSlots shared;
    for (Step& step : plan.steps) {
        const int i = step.last;
        const Node& n = graph.nodes[static_cast<size_t>(i)];
        const int64_t count = elements(n.shape);
        const bool in_place = step.fused == Fused::linear_add;
        const int s = shared.take(4 * count + static_cast<int>(kind_of(n)),
                                  in_place ? step.last + 1 : step.first, graph.last_reader(i));
        if (s == static_cast<int>(plan.slots.size()))
            plan.slots.push_back({kind_of(n), count, {}, {}, {}, {}});
        plan.slot_index[static_cast<size_t>(i)] = s;
        step.writes = s;
        for (int j = step.first; j <= step.last; ++j)
            for (const int in : graph.nodes[static_cast<size_t>(j)].inputs)
                if (in < step.first) step.reads.push_back(plan.slot_index[static_cast<size_t>(in)]);
    }
    for (size_t a = 0; a < plan.steps.size(); ++a)
        for (size_t e = 0; e < a && plan.steps[a].fused == Fused::attention; ++e) {
            if (graph.nodes[static_cast<size_t>(plan.steps[a].first)].inputs[0] != plan.steps[e].last)
                continue;
            plan.steps[e].attention = static_cast<int>(a);
            plan.steps[a].qkv = static_cast<int>(e);
        }
    return plan;
}

void find_waits(const std::vector<Step>& steps, const std::vector<Own>& own, std::vector<int>* waits) {
    waits->assign(steps.size(), 0);
    const auto reads = [&](size_t s, int slot) {
        return std::find(steps[s].reads.begin(), steps[s].reads.end(), slot) != steps[s].reads.end();
    };
    for (size_t s = 0; s < steps.size(); ++s)
        for (size_t e = 0; e < s; ++e) {
            const bool after_write = reads(s, steps[e].writes) && !(own[s].reads && own[e].writes);
            const bool over_read = reads(e, steps[s].writes) && !(own[e].reads && own[s].writes);
            const bool over_write = steps[s].writes == steps[e].writes && !(own[s].writes && own[e].writes);
            if (after_write || over_read || over_write) (*waits)[s] = static_cast<int>(e) + 1;
        }
}

}  // namespace ivit::cpu
