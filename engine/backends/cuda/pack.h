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

// How the kernels of half a block (block.h) cut a weight [N, K] into slabs, one for each block of threads
// that needs it in its shared memory.
enum class Cut {
    none,
    heads,  // q, k and v of each head: [3 N / 3 parts, K]
    rows,   // [N / parts, K]
    depth,  // [N, K / parts]
};
struct Slabs {
    Cut cut = Cut::none;
    int32_t parts = 1;
};
// Slab after slab; in each, columns in groups of 64 (and at last 32, if that is what is left),
// [group][row][64]. The columns of a slab are a multiple of 32.
std::vector<int8_t> pack_slabs(std::span<const int8_t> w, int32_t N, int32_t K, Slabs slabs);

// The greatest magnitude that a channel's accumulator can have, its bias apart, whatever bytes come in. Of an
// I-LayerNorm: of the normalized value.
int64_t greatest_accumulator(const QuantNode& node);

// Columns on the host; offsets into the Arena they were added to.
struct ColumnsOffsets {
    size_t m = 0, r = 0, s = 0;
    bool fits = true;
    bool possible = true;  // every s exceeds `spare`: else the fused kernels cannot take them
};
// What becomes of the accumulators of `from` (linear, patch_embed, head, layernorm): `by` requantizes them,
// from itself or its residual_add. greatest: greatest_accumulator(from). spare: as in Columns. r = bias * m +
// 2^(s-1), of a layernorm B + 2^(s-1). Padding becomes 0 with s = 33.
ColumnsOffsets pack_columns(Arena& arena, const Layout& out, const QuantNode& from, const QuantNode& by,
                            int64_t greatest, int spare);

// One node's integers on the device, shared by the networks that have the node in common.
struct PackedNode {
    Layout in, out;  // of the weight
    DeviceBuffer memory;
    const int8_t *w = nullptr, *w_side = nullptr;  // Linear
    const int8_t* slabs = nullptr;                 // pack_slabs, or null
    int32_t ldw = 0, w_rows = 0;
    const int32_t *bias = nullptr, *m = nullptr, *s = nullptr;  // as in QuantNode
    const int64_t* B = nullptr;
    const int8_t* table = nullptr;
    const int32_t* constant = nullptr;  // [tokens, out.stride]
    int64_t greatest = 0;               // greatest_accumulator
};
// side: the weight in this order too, as Linear::w_side. slabs: and cut.
std::shared_ptr<const PackedNode> pack_node(const QuantNode& node, const Layout& in, const Layout& out,
                                            RowOrder side, Slabs slabs, cudaStream_t stream);

}  // namespace ivit::cuda
