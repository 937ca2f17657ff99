// SPDX-License-Identifier: Apache-2.0
// The network as a flat list of named nodes in execution order. Built once by a model family's file
// (families/vit.cpp) and const from then on. Engine, error tables, latency rows, reports and exports all read
// it.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops.h"
#include "engine/tensor.h"

namespace ivit {

struct Node {
    // As timm names it: blocks.3.attn.qkv. Nodes that timm has no module for: blocks.3.attn.logits,
    // blocks.3.attn.softmax, blocks.3.attn.context, blocks.3.add1, blocks.3.add2, input.
    std::string name;
    Op op{};
    std::vector<int> inputs;   // indices of earlier nodes, in the order ops.h gives
    Shape shape;               // of the output, without the batch: see ops.h
    std::string weight;        // names in Model::weights; empty where the op has none
    std::string bias;          // (pos_embed: weight is pos_embed [tokens, C], bias is cls_token [C])
    int heads = 0;             // attention ops: number of heads
    int patch = 0;             // patch_embed: side of a patch in pixels
    float eps = 0;             // layernorm: epsilon of the float network (the integer one needs none)
    int groups = 1;            // linear: output groups that have a scale of their own (3 for qkv)
    bool to_residual = false;  // linear: its int32 accumulator is the output, read by a residual_add
    int block = -1;            // index of the transformer block, -1 outside

    int64_t rows() const { return shape.size() < 2 ? 1 : shape[shape.size() - 2]; }
    int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
};

struct Graph {
    std::vector<Node> nodes;
    int image_size = 0, patch_size = 0, tokens = 0, width = 0, heads = 0, hidden = 0, depth = 0, classes = 0;

    // Index of the node called `name`, or -1.
    int find(std::string_view name) const;
    // Multiply-accumulates of one picture in node i (0 for ops without a matrix product).
    int64_t macs(int i) const;
    // Indices of the nodes that read node i's output.
    std::vector<int> readers(int i) const;
    // The last of them; the number of nodes where there is none: what nobody reads is the network's output.
    int last_reader(int i) const;
    // Whether node i is `op`, reads node i - 1 first, and is the only one that reads it, so that both can run
    // as one. False past the last node.
    bool follows(int i, Op op) const;
};

// Shell-style match of `*` (any run of characters, dots too) and `?`, as used in rules and --taps.
bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace ivit
