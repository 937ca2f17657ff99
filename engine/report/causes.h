// SPDX-License-Identifier: Apache-2.0
// Which layer hurts, and why: one thing changed at a time, and the integers run again.
#pragma once
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/report/report.h"

namespace ivit {

// One thing that could be otherwise, and what the logits would gain by it.
struct Change {
    std::string where;                  // node, "blocks.3", or empty: the whole network
    std::string what;                   // "weights at 8 bits", "in float", "exact GELU": see find_causes()
    double logits_sqnr_db = 0;          // with it
    double gain_db = 0;                 // over what it is without; may be negative
    int64_t agree = 0;                  // pictures whose top-1 is then the float network's
    std::vector<QuantRule> rules = {};  // what makes it so, added at the end of the configuration's
};

struct Causes {
    int64_t pictures = 0;       // that all of this was measured over
    double logits_sqnr_db = 0;  // as it is: the noise of all of them against their signal
    int64_t agree = 0;
    std::vector<Change> network;  // each kind of rounding or approximation without it, in the whole network
    std::vector<Change> blocks;   // each block in float
    std::vector<Change> nodes;    // the best change of each of the nodes with the most error of their own
};

// Tries, over the first eight pictures: in the whole network, weights and activations at 8 bits, attention
// logits and softmax at 16, the residual stream at 16, and the true softmax, GELU and LayerNorm; every block
// in float; and for the twelve nodes with the lowest mean isolated SQNR whichever of these applies to one
// node. What changes nothing is not tried. Every list is sorted by gain, greatest first. The inputs'
// comparisons must hold their float model. Some forty runs of the integers. Throws Cancelled.
Causes find_causes(Backend& backend, const std::vector<ReportInput>& inputs, std::stop_token stop = {},
                   const std::function<void(int64_t done, int64_t total)>& progress = {});

Json causes_json(const Causes& c);

}  // namespace ivit
