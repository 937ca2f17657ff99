// SPDX-License-Identifier: Apache-2.0
// A network as a list of steps, each a run of neighbouring nodes that execute as one, and what has to be
// waited for between them.
#pragma once
#include <vector>

#include "engine/backends/cpu/slots.h"
#include "engine/graph.h"

namespace ivit::cpu {

// Nodes first..last. fused: what runs them all at once; none: nothing does, they run node by node.
enum class Fused { none, patches, norm_linear, linear_add, attention };
struct Step {
    Fused fused;
    int first, last;
    std::vector<int> reads = {};  // slots; the output's own where it is added to
    int writes = -1;
    int attention = -1;  // of a step whose output attention reads as qkv: that step
    int qkv = -1;        // of attention: the step whose output it reads
};

struct Plan {
    std::vector<Step> steps;
    std::vector<Slot> slots;
    std::vector<int> slot_index;  // by node; -1 inside a step
};
Plan make_plan(const Graph& graph);

// Whether a thread's part of a step stays with the rows that are its own in every step, in what it reads and
// in what it writes.
struct Own {
    bool reads, writes;
};

// By step: how many steps, counted from the first, all other threads must have finished before a thread may
// begin its part.
void find_waits(const std::vector<Step>& steps, const std::vector<Own>& own, std::vector<int>* waits);

}  // namespace ivit::cpu
