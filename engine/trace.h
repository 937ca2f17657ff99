// SPDX-License-Identifier: Apache-2.0
// What one run of a network yields; immutable, passed as shared_ptr<const Trace>.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/tensor.h"

namespace ivit {

// A node's output, kept because it was asked for. Shapes carry the batch in front: [batch, ...Node::shape].
// Exactly one of the two is filled: integers from an integer backend, floats from the float one.
struct Tap {
    int node = -1;
    IntTensor integers;
    FloatTensor floats;
};

// Wall time of a step. A backend may fuse neighbouring nodes: then the time belongs to all of first..last.
struct Timing {
    int first = -1, last = -1;  // node indices, inclusive
    double ms = 0;
};

struct Trace {
    std::shared_ptr<const Graph> graph;
    std::string backend;  // "reference", "cpu", "cuda", "float"
    int batch = 1;
    double ms = 0;                // the whole run, pixels to logits
    double device_ms = 0;         // of it on the GPU, pixels there to logits there; 0 where not measured
    std::vector<Timing> timings;  // empty unless asked for
    std::vector<Tap> taps;        // in node order; empty unless asked for
    std::vector<int32_t> integer_logits;  // [batch, classes], common scale; empty for the float backend
    double logit_scale = 0;               // real = logit_scale * integer
    std::vector<float> logits;            // [batch, classes], real values, of either kind

    const Tap* tap(int node) const;  // nullptr when not kept
};

// Softmax of one picture's logits [classes] in double, for people.
std::vector<double> probabilities(const Trace& t, int picture);
// Indices of the k greatest logits of one picture, best first; ties go to the lower index. Integer traces
// compare integers.
std::vector<int> top_k(const Trace& t, int picture, int k);

}  // namespace ivit
