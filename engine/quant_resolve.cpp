// SPDX-License-Identifier: Apache-2.0
// What a QuantConfig means for each node of a graph.
#include <fmt/format.h>

#include "engine/error.h"
#include "engine/quant_config_parts.h"

namespace ivit {

using namespace quant_config;

namespace {

// Which of its widths a rule's `activation` sets at a node.
enum class Width { none, activation, logits, softmax, residual };

Width width_of(const Node& node) {
    switch (node.op) {
        case Op::input:
        case Op::layernorm:
        case Op::attn_context:
        case Op::gelu:
            return Width::activation;
        case Op::linear:
            return node.to_residual ? Width::none : Width::activation;
        case Op::attn_logits:
            return Width::logits;
        case Op::softmax:
            return Width::softmax;
        case Op::pos_embed:
        case Op::residual_add:
            return Width::residual;
        case Op::patch_embed:  // on pos_embed's grid
        case Op::head:         // int32
            return Width::none;
    }
    return Width::none;
}

bool has_shift(Op op) { return op == Op::softmax || op == Op::gelu; }
bool has_exact_form(Op op) { return has_shift(op) || op == Op::layernorm; }

void check_config(const QuantConfig& c) {
    const auto shift = [](const ShiftParams& p, const char* where) {
        checked(p.n, n_range, where);
        checked(p.k, k_range, where);
        checked(p.M, M_range, where);
        checked(p.t, t_range, where);
    };
    checked(c.weight_bits, weight_width, "quantization");
    checked(c.act_bits, activation_width, "quantization");
    checked(c.residual_bits, residual_width, "quantization");
    checked(c.logits_bits, logits_width, "quantization");
    for (const auto& [bits, where] : {std::pair{&c.patch_embed, "patch_embed"}, std::pair{&c.head, "head"}}) {
        checked(bits->weight.value_or(8), weight_width, where);
        checked(bits->activation.value_or(8), activation_width, where);
    }
    shift(c.shiftmax, "shiftmax");
    shift(c.shiftgelu, "shiftgelu");
}

// The node's quantization before any rule.
NodeQuant node_default(const QuantConfig& c, const Node& node) {
    NodeQuant q;
    switch (node.op) {
        case Op::input:
            q.out_bits = c.patch_embed.activation.value_or(8);
            break;
        case Op::patch_embed:
            q.weight_bits = c.patch_embed.weight.value_or(8);
            q.out_bits = c.residual_bits;
            break;
        case Op::pos_embed:
        case Op::residual_add:
            q.out_bits = c.residual_bits;
            break;
        case Op::layernorm:  // the one outside the blocks is the final norm, which the head reads
            q.out_bits = node.block < 0 ? c.head.activation.value_or(8) : c.act_bits;
            break;
        case Op::linear:
            q.weight_bits = c.weight_bits;
            q.out_bits = node.to_residual ? 32 : c.act_bits;
            break;
        case Op::attn_logits:
            q.out_bits = c.logits_bits;
            break;
        case Op::softmax:
            q.shift = c.shiftmax;
            q.out_bits = c.shiftmax.k;
            break;
        case Op::attn_context:
            q.out_bits = c.act_bits;
            break;
        case Op::gelu:
            q.shift = c.shiftgelu;
            q.out_bits = c.act_bits;
            break;
        case Op::head:
            q.weight_bits = c.head.weight.value_or(8);
            q.out_bits = 32;
            break;
    }
    return q;
}

// `broad`: the rule's glob matches ordinary nodes too, so that its activation width does not mean the
// logits, the softmax's output or the residual stream.
void apply(const QuantRule& r, bool broad, const Node& node, NodeQuant& q) {
    const std::string where = rule_name(r) + " at " + node.name;
    const Width width = width_of(node);
    if (has_weights(node.op) && r.bits.weight) q.weight_bits = checked(*r.bits.weight, weight_width, where);
    if (r.bits.activation) {
        const int a = *r.bits.activation;
        if (width == Width::activation) q.out_bits = checked(a, activation_width, where);
        if (width == Width::logits && !broad) q.out_bits = checked(a, any_activation_width, where);
        if (width == Width::softmax && !broad) q.shift.k = checked(a, any_activation_width, where);
        if (width == Width::residual && !broad) q.out_bits = checked(a, {"activation", 8, 16}, where);
    }
    if (width == Width::residual && r.bits.residual)
        q.out_bits = checked(*r.bits.residual, residual_width, where);
    if (has_shift(node.op)) {
        if (r.n) q.shift.n = checked(*r.n, n_range, where);
        if (r.k) q.shift.k = checked(*r.k, k_range, where);
        if (r.M) q.shift.M = checked(*r.M, M_range, where);
        if (r.t) q.shift.t = checked(*r.t, t_range, where);
    }
    if (node.op == Op::gelu && r.row_pivot) q.shift.row_pivot = *r.row_pivot;
    if (node.op == Op::softmax) q.out_bits = q.shift.k;
    // The input is one table of bytes in every mode: there is nothing to compute in floating point.
    if (r.mode && node.op != Op::input && (*r.mode != Mode::exact || has_exact_form(node.op)))
        q.mode = *r.mode;
}

}  // namespace

std::vector<NodeQuant> resolve(const QuantConfig& c, const Graph& g) {
    check_config(c);
    std::vector<NodeQuant> result;
    result.reserve(g.nodes.size());
    for (const Node& node : g.nodes) result.push_back(node_default(c, node));

    for (const QuantRule& r : c.rules) {
        std::vector<size_t> matches;
        bool broad = false, shift = false, gelu = false;
        for (size_t i = 0; i < g.nodes.size(); ++i) {
            const Node& node = g.nodes[i];
            if (!glob_match(r.glob, node.name)) continue;
            matches.push_back(i);
            broad |= has_weights(node.op) || width_of(node) == Width::activation;
            shift |= has_shift(node.op);
            gelu |= node.op == Op::gelu;
        }
        if (matches.empty()) {
            throw Error("matches no node of this model", rule_name(r),
                        "`ivit info --json` lists the nodes by name");
        }
        if ((r.n || r.k || r.M || r.t) && !shift) {
            throw Error("sets n, k, M or t but matches no softmax and no GELU", rule_name(r));
        }
        if (r.row_pivot && !gelu) throw Error("sets pivot but matches no GELU", rule_name(r));
        for (size_t i : matches) apply(r, broad, g.nodes[i], result[i]);
    }
    // The patches are written straight onto the residual stream that pos_embed begins.
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        if (g.nodes[i].op == Op::pos_embed)
            result[static_cast<size_t>(g.nodes[i].inputs[0])].out_bits = result[i].out_bits;
    }
    return result;
}

}  // namespace ivit
