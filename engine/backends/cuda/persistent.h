// SPDX-License-Identifier: Apache-2.0
// A whole network on a few pictures as one kernel. A cluster of multiprocessors owns a tile of tokens and
// holds its residual stream and activations in shared memory; only keys and values pass through memory, so
// all clusters of a picture meet once per block and everything else waits for neighbours alone. What is
// computed where is decided here, in functions that the CPU can test.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backends/cuda/check.h"
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

// `rows` tokens on `ctas` multiprocessors (thread blocks of 8 warps, one each). ctas: a power of two.
struct ClusterShape {
    int32_t rows, ctas;
    const char* name;
};
constexpr ClusterShape cluster_shapes[] = {
    {16, 8, "persistent16x8"}, {32, 16, "persistent32x16"}, {16, 4, "persistent16x4"}};

// A matrix product and what its input is made of. Its columns go in units of 32 to the blocks of a cluster,
// block r getting units r, r + ctas, ...; a unit's K, in chunks of 64 bytes, is split among 2^log_split
// warps.
struct Product {
    enum class Source : int32_t { patches, norm, ready };
    Linear p;  // w, ldw, cols, k, epilogue, columns and what the epilogue reads; out, ldo where it stores
    LayerNorm norm;  // Source::norm: columns, cols and mean
    Source source{};
    int32_t first_tile = 0;  // of a picture has this product, no other: the head
    int32_t attention = -1;  // index of the attention that follows
    int32_t gate = 0;        // Source::ready: 2 where it reads hidden activations, 3 the context
    // From arrange():
    int32_t units = 0, chunks = 0, log_split = 0;
    uint32_t a = 0, scratch = 0, push = 0;  // places in shared memory: input, sums, a GELU's output
};

constexpr int persistent_warps = 8;
constexpr int chunk_bytes = 32 * 64;  // of weights: a unit by 64 of K

// Places in a block's shared memory, in bytes.
struct PersistentMap {
    uint32_t products = 0, attentions = 0, context = 0, exponential = 0, keys = 0, values = 0, sums = 0,
             row_sums = 0, stats = 0, stream = 0, table = 0, gates = 0, ring = 0, total = 0;
    int32_t depth = 0;  // chunks of weights a warp has under way
};

// Decides where everything lies and fills in the products' last members; nothing when `limit` bytes of shared
// memory do not suffice. attention: of the first block; all are alike in shape.
std::optional<PersistentMap> arrange(std::vector<Product>& products, const std::vector<Attention>& attentions,
                                     const ClusterShape& shape, size_t limit);

// A network ready to start on `pictures` pictures.
struct PersistentArgs {
    const Product* products = nullptr;
    const Attention* attentions = nullptr;
    const uint32_t* exponentials = nullptr;  // [attentions, 256, 8]
    uint32_t* counters =
        nullptr;  // [pictures * tiles, 8] of keys and values, the first of each; then one of blocks
    int32_t product_count = 0, attention_count = 0;
    int32_t tokens = 0, tiles = 0, log_ctas = 0, tasks = 0;  // tasks: of attention, that a block has at most
    int32_t stream_units = 0, hidden_units = 0, heads = 0;
    FastDiv per_picture, quads;  // tiles; a patch's pixels in fours
    Patches patches;
    PersistentMap map;
};
struct Persistent {
    PersistentArgs args;
    int shape = 0, head = 64, pictures = 0;
    DeviceBuffer memory;
};

// products[].p.out: logits of the head. Nothing when no shape (or not that of index `forced`) fits the
// network, the device or so many pictures. Not while a stream is captured.
std::optional<Persistent> make_persistent(std::vector<Product> products, std::vector<Attention> attentions,
                                          const Patches& patches, int pictures, int forced, const Launch& at);
void start_persistent(const Persistent& p, const Launch& at);

}  // namespace ivit::cuda
