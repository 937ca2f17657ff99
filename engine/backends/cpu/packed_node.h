// SPDX-License-Identifier: Apache-2.0
// One node's integers in the layout the kernels read, made once at load.
#pragma once
#include <cstdint>
#include <memory>

#include "engine/arena.h"
#include "engine/backends/cpu/buffer.h"
#include "engine/backends/cpu/kernels.h"
#include "engine/graph.h"
#include "engine/quantized_model.h"

namespace ivit::cpu {

// A right-hand matrix s8 [K, N] as panels of 64 columns (the last may be 16, 32 or 48 wide), each
// [k4][width][4].
struct Panels {
    int64_t K = 0, N = 0;
    std::shared_ptr<Arena> arena;  // where data lies; or in `own`
    Buffer<int8_t> own;
    int8_t* data = nullptr;
    Buffer<int32_t> sums;  // [N rounded up to 64]: sum over k of each column

    int64_t k4() const { return (K + 3) / 4; }
    int64_t count() const { return (N + tile_cols - 1) / tile_cols; }
    const int8_t* panel(int64_t p) const { return data + p * k4() * 4 * tile_cols; }
    int64_t panel_bytes(int64_t p) const { return k4() * 4 * width(p); }
    int width(int64_t p) const;  // of panel p: a multiple of 16
    int cols(int64_t p) const;   // of panel p: those that are there
};

// Bytes of an Arena that panels of [K, N] take.
int64_t panels_size(int64_t N, int64_t K);

// weight [N, K] row-major, as QuantNode holds it, which may start here: it is let go panel by panel, so that
// the largest matrix is never there twice.
Panels pack_weights(const int8_t* weight, int64_t N, int64_t K, const Weights* from = nullptr,
                    const std::shared_ptr<Arena>& arena = nullptr);

// Requantization constants of N columns, padded to whole panels. lo..hi: the clamp.
class Requantizer {
  public:
    Requantizer() = default;
    // m, s: `count` entries, or one for all columns. liftable: where an s is below 33, which coarse grids
    // bring about, lift the accumulators, so that the vector kernels will do.
    Requantizer(const int32_t* m, const int32_t* s, size_t count, int64_t N, int64_t lo, int64_t hi,
                bool liftable = true);
    // The columns from c on.
    void at(int64_t c, RequantView* view) const {
        view->m = m_.data() + c;
        view->shift = shift_.data() + c;
        view->half = half_.data() + c;
        view->lift = lifts_ ? lift_.data() + c : nullptr;
        view->lo = lo_;
        view->hi = hi_;
        view->upper = upper_;
    }
    RequantView at(int64_t c) const {
        RequantView view;
        at(c, &view);
        return view;
    }

  private:
    Buffer<int32_t> m_, shift_, half_, lift_;
    int32_t lo_ = 0, hi_ = 0;
    bool upper_ = true, lifts_ = false;
};

// Which fields are filled depends on the op.
struct PackedNode {
    std::shared_ptr<const QuantNode> quant;  // what this was made of

    // linear, patch_embed, head
    std::shared_ptr<const Panels> panels;  // shared by nodes with the same weights
    Buffer<int32_t> init;                  // [N rounded up to 64]: bias - 128 * sums
    Requantizer requant;                   // also of residual_add, attn_logits and attn_context

    // gelu: [256], or with the row pivot [128][256] by the row's pivot; on x + 128 both ways.
    Buffer<uint8_t> table;
    Buffer<uint64_t> e;  // softmax: by distance from the maximum, [2^logit bits], where that is at most 2^12
    struct Planes {
        Buffer<uint8_t> bytes;
        int count = 0, shift = 0;
        void fill(const Buffer<uint64_t>& e);  // [256]
        EPlanes view() const { return {bytes.data(), count, shift}; }
    } planes;  // softmax, up to 8 bits: EPlanes
    int logit_bits = 0;
    Buffer<int32_t> m, shift;  // layernorm, rounded up to 16
    Buffer<int64_t> B;
    bool upper = true;
    Buffer<int16_t> constant;       // pos_embed: [tokens, cols]
    Buffer<int32_t> wide_constant;  // the same where 16 bits are not enough, clamped to 17 and in place of it

    LayernormView layernorm() const;
    ShiftmaxView shiftmax() const;
};

// previous: the node's former packing or null. What did not change is taken over from it. arena: for weights,
// or null.
std::shared_ptr<const PackedNode> pack_node(const QuantizedModel& model, int node,
                                            const std::shared_ptr<const PackedNode>& previous,
                                            const std::shared_ptr<Arena>& arena = nullptr);

}  // namespace ivit::cpu
