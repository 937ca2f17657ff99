// SPDX-License-Identifier: Apache-2.0
#include "engine/families/vit.h"

#include "engine/error.h"

namespace ivit::vit {

void check(const Dims& d, const std::string& where) {
    const auto within = [&](const char* what, int64_t value, int64_t most) {
        if (value < 1 || value > most)
            throw Error(std::string(what) + " is " + std::to_string(value) + ", expected 1 to " +
                            std::to_string(most),
                        where);
    };
    // The integer arithmetic bounds the inner dimensions: an int8 product summed 2^17 times still fits 32
    // bits.
    within("the depth", d.depth, 1000);
    within("the width", d.width, 16384);
    within("the number of heads", d.heads, d.width);
    within("the MLP's hidden size", d.hidden, 65536);
    within("the patch size", d.patch_size, 128);
    within("the image size", d.image_size, 4096);
    within("the number of classes", d.classes, 100000);
    if (d.width % d.heads)
        throw Error("the width " + std::to_string(d.width) + " is not divisible by " +
                        std::to_string(d.heads) + " heads",
                    where);
    if (d.image_size % d.patch_size)
        throw Error("the image size " + std::to_string(d.image_size) +
                        " is not a multiple of the patch size " + std::to_string(d.patch_size),
                    where);
    within("the number of tokens", d.tokens(), 16385);
}

namespace {

// Appends nodes; add() and its like return the new one's index.
struct Builder {
    Graph& g;
    const Dims& d;
    int block = -1;  // of the nodes to come

    int add(std::string name, Op op, std::vector<int> inputs, Shape shape) {
        Node n;
        n.name = std::move(name);
        n.op = op;
        n.inputs = std::move(inputs);
        n.shape = std::move(shape);
        n.block = block;
        if (has_weights(op) || op == Op::layernorm) {
            n.weight = n.name + ".weight";
            n.bias = n.name + ".bias";
        }
        if (op == Op::pos_embed) {
            n.weight = "pos_embed";
            n.bias = "cls_token";
        }
        if (op == Op::patch_embed) n.patch = d.patch_size;
        if (op == Op::layernorm) n.eps = d.eps;
        if (op == Op::attn_logits || op == Op::softmax || op == Op::attn_context) n.heads = d.heads;
        g.nodes.push_back(std::move(n));
        return static_cast<int>(g.nodes.size()) - 1;
    }

    int add_qkv(std::string name, int input, Shape shape) {
        const int i = add(std::move(name), Op::linear, {input}, std::move(shape));
        g.nodes.back().groups = 3;
        return i;
    }

    int add_to_residual(std::string name, int input, Shape shape) {
        const int i = add(std::move(name), Op::linear, {input}, std::move(shape));
        g.nodes.back().to_residual = true;
        return i;
    }
};

}  // namespace

std::shared_ptr<const Graph> make_graph(const Dims& d) {
    auto graph = std::make_shared<Graph>();
    Graph& g = *graph;
    g.image_size = d.image_size;
    g.patch_size = d.patch_size;
    g.tokens = d.tokens();
    g.width = d.width;
    g.heads = d.heads;
    g.hidden = d.hidden;
    g.depth = d.depth;
    g.classes = d.classes;
    const int64_t T = g.tokens, C = d.width;
    Builder make{g, d};
    const int input = make.add("input", Op::input, {}, {3, d.image_size, d.image_size});
    const int patches = make.add("patch_embed.proj", Op::patch_embed, {input}, {T - 1, C});
    int residual = make.add("pos_embed", Op::pos_embed, {patches}, {T, C});
    for (make.block = 0; make.block < d.depth; ++make.block) {
        const std::string b = "blocks." + std::to_string(make.block) + ".";
        const int norm1 = make.add(b + "norm1", Op::layernorm, {residual}, {T, C});
        const int qkv = make.add_qkv(b + "attn.qkv", norm1, {T, 3 * C});
        const int logits = make.add(b + "attn.logits", Op::attn_logits, {qkv}, {d.heads, T, T});
        const int softmax = make.add(b + "attn.softmax", Op::softmax, {logits}, {d.heads, T, T});
        const int context = make.add(b + "attn.context", Op::attn_context, {softmax, qkv}, {T, C});
        const int proj = make.add_to_residual(b + "attn.proj", context, {T, C});
        residual = make.add(b + "add1", Op::residual_add, {proj, residual}, {T, C});
        const int norm2 = make.add(b + "norm2", Op::layernorm, {residual}, {T, C});
        const int fc1 = make.add(b + "mlp.fc1", Op::linear, {norm2}, {T, d.hidden});
        const int act = make.add(b + "mlp.act", Op::gelu, {fc1}, {T, d.hidden});
        const int fc2 = make.add_to_residual(b + "mlp.fc2", act, {T, C});
        residual = make.add(b + "add2", Op::residual_add, {fc2, residual}, {T, C});
    }
    make.block = -1;
    const int norm = make.add("norm", Op::layernorm, {residual}, {1, C});
    make.add("head", Op::head, {norm}, {1, d.classes});
    return graph;
}

std::shared_ptr<const Graph> graph(const Graph& o, float eps, const std::string& where) {
    const Dims dims{o.image_size, o.patch_size, o.width, o.heads, o.hidden, o.depth, o.classes, eps};
    check(dims, where);
    return make_graph(dims);
}

std::vector<WeightSpec> weight_specs(const Dims& d) {
    const int64_t C = d.width;
    std::vector<WeightSpec> specs;
    const auto pair = [&](const std::string& name, Shape weight) {
        const int64_t out = weight[0];
        specs.push_back({name + ".weight", std::move(weight)});
        specs.push_back({name + ".bias", {out}});
    };
    specs.push_back({"cls_token", {C}});
    specs.push_back({"pos_embed", {d.tokens(), C}});
    pair("patch_embed.proj", {C, 3, d.patch_size, d.patch_size});
    for (int i = 0; i < d.depth; ++i) {
        const std::string b = "blocks." + std::to_string(i) + ".";
        pair(b + "norm1", {C});
        pair(b + "attn.qkv", {3 * C, C});
        pair(b + "attn.proj", {C, C});
        pair(b + "norm2", {C});
        pair(b + "mlp.fc1", {d.hidden, C});
        pair(b + "mlp.fc2", {C, d.hidden});
    }
    pair("norm", {C});
    pair("head", {d.classes, C});
    return specs;
}

}  // namespace ivit::vit
