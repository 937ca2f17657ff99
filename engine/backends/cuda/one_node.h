// SPDX-License-Identifier: Apache-2.0
// Nodes one at a time, all tensors int32 on the GPU and shaped as in ops.h: for taps, nodes in floating point
// and parameters that the fused kernels do not take. Host code.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engine/backends/cuda/check.h"
#include "engine/backends/cuda/kernels.h"
#include "engine/backends/cuda/pack.h"
#include "engine/quantized_model.h"
#include "engine/tensor.h"

namespace ivit::cuda {

class WideBuffers;
struct GiveBack {
    WideBuffers* to = nullptr;
    void operator()(DeviceBuffer* buffer) const;
};
// An int32 tensor on the GPU, which goes back to its WideBuffers; whoever gets it next is behind on the same
// stream.
using Wide = std::unique_ptr<DeviceBuffer, GiveBack>;
inline int32_t* data(const Wide& wide) { return wide->as<int32_t>(); }

// Those that nobody has: a step like the one before needs the same sizes.
class WideBuffers {
  public:
    Wide take(size_t count);
    void give_back(std::unique_ptr<DeviceBuffer> buffer);

  private:
    std::multimap<size_t, std::unique_ptr<DeviceBuffer>> free_;  // by bytes
};

class OneNode {
  public:
    // packed: per node. All three must outlive this.
    OneNode(const QuantizedModel& model, const std::vector<std::shared_ptr<const PackedNode>>& packed,
            const Launch& at)
        : model_(model), packed_(packed), at_(at) {}

    // A buffer for what a node makes of one picture.
    Wide output_of(int node);
    // To the GPU and back; fetch waits for what is on the stream.
    Wide send(const IntTensor& tensor);
    void fetch(const int32_t* from, int32_t* to, size_t count) const;

    // What node `node` makes of `in`, of one picture, to out. The input node reads `pixels` [image_size,
    // image_size, 3], which lie on the GPU as well. A node that is not Mode::integer goes by way of the host.
    void run(int node, const std::vector<const int32_t*>& in, std::span<const uint8_t> pixels,
             const uint8_t* pixels_on_gpu, int32_t* out) const;

  private:
    const Node& node(int i) const { return model_.graph->nodes[static_cast<size_t>(i)]; }
    const QuantNode& quant(int i) const { return *model_.nodes[static_cast<size_t>(i)]; }
    void run_integer(int i, const std::vector<const int32_t*>& in, const uint8_t* pixels, int32_t* out) const;
    void run_product(int i, const int32_t* in, int32_t* out) const;
    void run_on_host(int i, const std::vector<const int32_t*>& in, std::span<const uint8_t> pixels,
                     int32_t* out) const;

    const QuantizedModel& model_;
    const std::vector<std::shared_ptr<const PackedNode>>& packed_;
    const Launch& at_;
    WideBuffers buffers_;
};

}  // namespace ivit::cuda
