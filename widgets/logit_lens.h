// SPDX-License-Identifier: GPL-3.0-or-later
// The logit lens (nostalgebraist 2020): what each network would answer if it ended after a block. The last
// LayerNorm and the head, in float, applied to the class token of every block's output; so both are read
// through the same lens. Pure functions of values.
#pragma once
#include <vector>

#include "engine/model.h"
#include "engine/trace.h"

struct LensBlock {
    int block = -1, node = -1;  // the block and the node whose output it is (its last addition)
    int float_class = -1, integer_class = -1;     // what each would answer
    double float_top = 0, integer_top = 0;        // and with which probability
    double float_answer = 0, integer_answer = 0;  // probability of what the float network answers in the end
    double kl = 0;                                // KL(float || integer) of the class probabilities, in nats
};

// One entry per block, in execution order. Both traces must hold the taps of every block's last node, and be
// of one picture; where they do not, or the graph ends in no LayerNorm and head, the result is empty.
std::vector<LensBlock> logit_lens(const ivit::Model& model, const ivit::Trace& floats,
                                  const ivit::Trace& integers);
