// SPDX-License-Identifier: Apache-2.0
#include "engine/graph.h"

#include <algorithm>

namespace ivit {

int Graph::find(std::string_view name) const {
    for (size_t i = 0; i < nodes.size(); ++i)
        if (nodes[i].name == name) return static_cast<int>(i);
    return -1;
}

int64_t Graph::macs(int i) const {
    const Node& n = nodes[static_cast<size_t>(i)];
    const auto input = [&](size_t k) -> const Node& { return nodes[static_cast<size_t>(n.inputs[k])]; };
    switch (n.op) {
        case Op::patch_embed:
            return elements(n.shape) * 3 * n.patch * n.patch;
        case Op::linear:
        case Op::head:
            return elements(n.shape) * input(0).cols();
        case Op::attn_logits:  // heads * tokens * tokens products of length C / heads; qkv has 3 C columns
            return n.rows() * n.cols() * (input(0).cols() / 3);
        case Op::attn_context:  // tokens * C products of length tokens
            return elements(n.shape) * n.rows();
        case Op::input:
        case Op::pos_embed:
        case Op::layernorm:
        case Op::softmax:
        case Op::gelu:
        case Op::residual_add:
            return 0;
    }
    return 0;
}

std::vector<int> Graph::readers(int i) const {
    std::vector<int> found;
    for (size_t r = 0; r < nodes.size(); ++r)
        if (std::count(nodes[r].inputs.begin(), nodes[r].inputs.end(), i))
            found.push_back(static_cast<int>(r));
    return found;
}

int Graph::last_reader(int i) const {
    const std::vector<int> found = readers(i);
    return found.empty() ? static_cast<int>(nodes.size()) : found.back();
}

bool Graph::follows(int i, Op op) const {
    if (i < 1 || i >= static_cast<int>(nodes.size())) return false;
    const Node& n = nodes[static_cast<size_t>(i)];
    return n.op == op && !n.inputs.empty() && n.inputs[0] == i - 1 && readers(i - 1) == std::vector<int>{i};
}

bool glob_match(std::string_view pattern, std::string_view text) {
    // Greedy with one point of return: on a mismatch the last `*` takes one more character. Never
    // exponential.
    size_t p = 0, t = 0, star = std::string_view::npos, taken = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p, ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace ivit
