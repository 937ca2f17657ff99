// SPDX-License-Identifier: GPL-3.0-or-later
// What the attention view computes from the taps of a trace. Pure functions of values.
#pragma once
#include <vector>

#include "engine/trace.h"

namespace attention {

// One row of one head: attention of token `token` to every token, as real numbers; empty when the node was
// not kept. node: a softmax node. Its tap has shape [1, heads, tokens, tokens].
std::vector<double> row(const ivit::Trace& t, int node, int head, int token);
// The true softmax of the integer logits that the same Shiftmax row was made from.
std::vector<double> softmax_of_logits(const ivit::Trace& t, int softmax_node, int head, int token);

double sum(const std::vector<double>& row);
// KL(p || q) in nats; q is normalised first and nowhere taken below `floor`.
double kl(const std::vector<double>& p, const std::vector<double>& q, double floor);

// How many of the `k` greatest of p are among the k greatest of q, 0 to k (fewer when the rows are shorter).
// Of equal values the earlier one is the greater.
int top_overlap(const std::vector<double>& p, const std::vector<double>& q, int k);

enum class Fusion { mean, max, min };
// Attention rollout (Abnar & Zuidema 2020), the row of `token`: heads fused, the weakest `discard` of each
// layer's entries dropped (never the class token's column 0), identity added, rows normalised, layers
// multiplied. Swin-like networks whose layers differ in tokens have none: empty.
std::vector<double> rollout(const ivit::Trace& t, int token, Fusion fusion, double discard);

// Softmax nodes in execution order.
std::vector<int> layers(const ivit::Graph& g);
// Side of the square of patches for `tokens` tokens, and whether a class token comes first. side 0: not a
// square.
struct PatchGrid {
    int side = 0;
    int first = 0;  // index of the first patch's token
};
PatchGrid patch_grid(int64_t tokens);

}  // namespace attention
