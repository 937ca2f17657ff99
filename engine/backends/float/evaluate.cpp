// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/evaluate.h"

#include "engine/backends/float/ops.h"
#include "engine/error.h"

namespace ivit {

FloatTensor evaluate_node(const Model& model, int node, std::span<const FloatTensor* const> inputs) {
    const Node& n = model.graph->nodes[static_cast<size_t>(node)];
    if (n.op == Op::input) throw Error("the input node is made from pixels, not from tensors", n.name);
    FloatTensor y{n.shape, std::vector<float>(static_cast<size_t>(elements(n.shape)))};
    fp32::PlainGemm gemm;
    fp32::run_op({n, model, inputs, y, gemm, nullptr, 1});
    return y;
}

}  // namespace ivit
