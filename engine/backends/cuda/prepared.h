// SPDX-License-Identifier: Apache-2.0
// A graph's fused steps with everything their kernels need but the batch and the buffers between them.
#pragma once
#include <memory>
#include <vector>

#include "engine/backends/cuda/block.h"
#include "engine/backends/cuda/kernels.h"
#include "engine/backends/cuda/pack.h"
#include "engine/backends/cuda/plan.h"
#include "engine/quantized_model.h"

namespace ivit::cuda {

// A step with everything its launch needs but the batch.
struct Prepared {
    bool fast = false;  // the fused kernels take it
    Patches patches;
    Linear linear;
    LayerNorm norm;  // linear and head steps
    RowGelu gelu;    // linear steps with a row-pivot ShiftGELU
    Attention attention;
};

// Steps [first, first + attention_steps) as a kernel and those behind, up to first + block_steps, as another
// (block.h).
struct Block {
    size_t first = 0;
    BlockAttention attention;
    BlockMlp mlp;
};

// Per node: how the kernels of half a block want its weight; Cut::none where they do not want it.
std::vector<Slabs> cut_weights(const Graph& graph, const Plan& plan, const Launch& at);

struct PreparedSteps {
    std::vector<Prepared> steps;
    std::vector<Block> blocks;  // whose steps are as the kernels of half a block want them, but for the batch
    DeviceBuffer memory;        // what both point into, beside the packed nodes
    int64_t scratch_bytes = 0, scratch2_bytes = 0;  // per picture: rows of bytes on their way inside a step
};
// nodes: per node of the graph; both it and the result's memory must outlive the kernels' runs. Uploads on
// at.stream and waits.
PreparedSteps prepare_steps(const QuantizedModel& model, const Plan& plan,
                            const std::vector<std::shared_ptr<const PackedNode>>& nodes, const Launch& at);

}  // namespace ivit::cuda
