// SPDX-License-Identifier: Apache-2.0
// From a QuantNode's integers to what the kernels read. Host code without CUDA calls, but for the upload.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "engine/backends/cuda/check.h"
#include "engine/backends/cuda/kernels.h"
#include "engine/quantized_model.h"

namespace ivit::cuda {

// Host bytes that become one allocation on the device.
class Arena {
  public:
    // Appends n elements and returns their offset, aligned for any vector load.
    template <class T>
    size_t add(const T* data, size_t n) {
        const size_t at = static_cast<size_t>(round_up(static_cast<int64_t>(bytes_.size()), 256));
        bytes_.resize(at + n * sizeof(T));
        if (n) std::copy_n(reinterpret_cast<const uint8_t*>(data), n * sizeof(T), bytes_.data() + at);
        return at;
    }
    template <class T>
    size_t add(const std::vector<T>& v) {
        return add(v.data(), v.size());
    }
    DeviceBuffer upload(cudaStream_t stream) const;

  private:
    std::vector<uint8_t> bytes_;
};

using RowOrder = int32_t (*)(int32_t);  // packed_row, paired_row or plain_row

// w [cols, K] -> [out.stride, in.stride], rows in the order of their place in `out`, zeros around.
std::vector<int8_t> pack_weight(std::span<const int8_t> w, const Layout& in, const Layout& out,
                                RowOrder order);

// Columns on the host; offsets into the Arena they were added to.
struct ColumnsOffsets {
    size_t m = 0, r = 0, s = 0;
    bool high = true;
};
// bias [cols] (or B of a layernorm with unit = true: r = B + 2^(s-1)), m and s [cols]. Padding becomes 0 with
// s = 33.
ColumnsOffsets pack_columns(Arena& arena, const Layout& out, std::span<const int32_t> bias,
                            std::span<const int64_t> B, std::span<const int32_t> m,
                            std::span<const int32_t> s);

// One node's integers on the device, shared by the networks that have the node in common.
struct PackedNode {
    Layout in, out;  // of the weight
    DeviceBuffer memory;
    const int8_t *w = nullptr, *w_side = nullptr;  // Linear
    int32_t ldw = 0, w_rows = 0;
    const int32_t *bias = nullptr, *m = nullptr, *s = nullptr;  // as in QuantNode
    const int64_t* B = nullptr;
    const int8_t* table = nullptr;
    const int32_t* constant = nullptr;  // [tokens, out.stride]
};
// side: the weight in this order too, as Linear::w_side.
std::shared_ptr<const PackedNode> pack_node(const QuantNode& node, const Layout& in, const Layout& out,
                                            RowOrder side, cudaStream_t stream);

}  // namespace ivit::cuda
