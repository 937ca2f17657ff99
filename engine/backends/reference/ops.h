// SPDX-License-Identifier: Apache-2.0
// The reference backend: arithmetic.md as plain loops over int32 tensors, one picture at a time. It is the
// specification in code: every other backend must equal it bit for bit, and nothing here is fast on purpose.
#pragma once
#include <span>

#include "engine/backend.h"
#include "engine/ops.h"

namespace ivit::reference {

struct Args {
    const Graph& graph;
    const Node& node;
    const QuantNode& quant;
    std::span<const uint8_t> pixels;           // input node only: RGB [H, W, 3]
    std::span<const IntTensor* const> inputs;  // as ops.h lists them, without a batch
    std::span<int32_t> out;                    // Node::shape elements
};

// One function per operator, in the file of its name.
#define X(name) void name(const Args& a);
IVIT_OPS(X)
#undef X

}  // namespace ivit::reference
