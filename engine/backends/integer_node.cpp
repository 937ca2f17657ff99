// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/integer_node.h"

#include "engine/backends/float/evaluate.h"
#include "engine/error.h"

namespace ivit {

IntTensor run_non_integer(const QuantizedModel& model, int node, std::span<const IntTensor* const> inputs,
                          std::span<const uint8_t> pixels) {
    const Node& n = model.graph->nodes[static_cast<size_t>(node)];
    const Grid& grid = model.nodes[static_cast<size_t>(node)]->out;
    if (!model.source)
        throw Error("the float weights this node's mode needs are not in a quantized model", n.name);
    if (n.op == Op::input) {
        // [3, H, W] of ((u / 255 - mean) / std), on the grid: what the table holds, so both modes agree on
        // this node.
        FloatTensor x{n.shape, std::vector<float>(static_cast<size_t>(elements(n.shape)))};
        const size_t plane = x.data.size() / 3;
        for (size_t c = 0; c < 3; ++c)
            for (size_t i = 0; i < plane; ++i)
                x.data[c * plane + i] =
                    static_cast<float>((pixels[i * 3 + c] / 255.0 - model.info.mean[c]) / model.info.std[c]);
        return quantize(x, grid);
    }
    std::vector<FloatTensor> real;
    std::vector<const FloatTensor*> pointers;
    for (const IntTensor* in : inputs) real.push_back(dequantize(*in));
    for (const FloatTensor& r : real) pointers.push_back(&r);
    return quantize(evaluate_node(*model.source, node, pointers), grid);
}

void check_pixels(const Graph& graph, std::span<const uint8_t> pixels, int batch) {
    const size_t picture = static_cast<size_t>(graph.image_size) * static_cast<size_t>(graph.image_size) * 3;
    if (batch < 1 || pixels.size() != picture * static_cast<size_t>(batch))
        throw Error("got " + std::to_string(pixels.size()) + " bytes for a batch of " +
                        std::to_string(batch) + ", expected " + std::to_string(picture) + " a picture",
                    "input");
}

}  // namespace ivit
