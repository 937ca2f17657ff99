// SPDX-License-Identifier: Apache-2.0
// The integer network against the float one, node by node.
#pragma once
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/backend.h"

namespace ivit {

enum class Scope {
    cumulative,  // integer network against float network (graph-wise)
    isolated,    // the node in integers on the float network's inputs, quantized (layer-wise)
};
const char* to_string(Scope s);

// Error of one node's output. q: dequantized integers, fp: the float network's values.
struct NodeError {
    int node = -1;
    Scope scope{};
    double sqnr_db = 0;  // 20 log10(|fp| / |fp - q|), capped at sqnr_cap
    double cosine = 1;   // of the two flattened outputs
    double mse = 0;
    double nmse = 0;  // |fp - q|^2 / |fp|^2
    double max_abs_error = 0;
    double saturation = 0;  // share of elements at a clamp limit of the grid; 0 where nothing clamps
    double range_used = 0;  // max |integer| / greatest integer of the grid; 0 where nothing clamps
    double scale = 0;       // of the grid; the mean where there are several
    int bits = 0;
    // softmax nodes only: KL(softmax of the same integer logits || this) per head, in nats, mean over rows;
    // and the greatest distance of a row's sum from 1.
    std::vector<double> kl_per_head;
    double row_sum_error = 0;
};
constexpr double sqnr_cap = 150;

struct LogitError {
    double sqnr_db = 0;
    double kl = 0;                                // KL(float || integer) of the class probabilities, nats
    bool agree = false;                           // same top-1
    double margin_float = 0, margin_integer = 0;  // probability of first minus second
};

// Everything about one picture.
struct Comparison {
    std::shared_ptr<const Trace> float_trace, integer_trace;  // with taps of every node
    std::shared_ptr<const QuantizedModel> model;
    std::vector<NodeError> cumulative, isolated;  // one per node, in graph order (input included)
    LogitError logits;
};

// pixels: one picture, RGB [image_size, image_size, 3]. float_trace, when given, must be of the same pixels
// with all taps and is used instead of running the float network again. Isolated errors cost one more pass
// over the nodes.
Comparison compare(Network& float_network, IntegerNetwork& integer_network, std::span<const uint8_t> pixels,
                   std::shared_ptr<const Trace> float_trace = nullptr, bool isolated = true,
                   std::stop_token stop = {});

// Fills c.isolated from c.float_trace: the second half of compare(), for those who show the first half
// meanwhile.
void isolate(Comparison& c, IntegerNetwork& integer_network, std::stop_token stop = {});

// The error of one tensor against its float values; shapes equal.
NodeError node_error(const IntTensor& q, const FloatTensor& fp);

}  // namespace ivit
