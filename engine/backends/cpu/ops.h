// SPDX-License-Identifier: Apache-2.0
// The cpu backend's operators over narrow buffers, several pictures at a time. Each runs on all threads of
// the pool.
//   u8 activations are x + 128; the residual stream is int16; softmax rows are two planes of bytes.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/backends/cpu/buffer.h"
#include "engine/backends/cpu/kernels.h"
#include "engine/backends/cpu/keys_values.h"
#include "engine/backends/cpu/packed_node.h"
#include "engine/thread_pool.h"

namespace ivit::cpu {

// One thread's working memory.
struct Scratch {
    Buffer<uint8_t> rows;     // normalized rows on their way into a matrix product
    Buffer<uint8_t> patches;  // some patches
    // attention, one head; 6 rows of logits, of p, of p's upper bytes and where those are, the
    // last three twice
    KeysValues head;
    Buffer<int32_t> accs;  // two tiles
    Buffer<uint8_t> logits, low[2], high[2];
    Buffer<uint64_t> groups[2];
    Buffer<int16_t> wide_logits;
};

// Work is shared out in one part a thread, of the pool's size: functions that take `part` do that one, on the
// thread that calls them; the others do all, on all threads.
struct Context {
    const Kernels& kernels;
    ThreadPool& pool;
    std::vector<Scratch>& scratch;  // one per thread
    Scratch& mine() const { return scratch[static_cast<size_t>(ThreadPool::worker())]; }
};

// A matrix product with what comes before and after it. Unused pointers are null.
struct Linear {
    const PackedNode* linear = nullptr;  // linear, patch_embed or head
    int64_t rows = 0;                    // M

    // One of two inputs: u8 rows [M, K] of stride ldx, or residual rows [M, K] of stride ldt that `norm`
    // makes u8.
    const uint8_t* x = nullptr;
    int64_t ldx = 0;
    const PackedNode* norm = nullptr;
    const int16_t* t = nullptr;
    int64_t ldt = 0;

    // One of the outputs, [M, N] all:
    uint8_t* u8 = nullptr;  // requantized, then through `gelu` if there is one
    const PackedNode* gelu = nullptr;
    int16_t* i16 =
        nullptr;  // requantized; or added by `add` to the residual stream `old` [M, N] (may be i16)
    const PackedNode* add = nullptr;
    const int16_t* old = nullptr;
    int32_t* i32 = nullptr;  // requantized (head), or the accumulator itself
    bool accumulator = false;

    const Panels* next = nullptr;  // of the product that follows, or none: its first panel is fetched early
};
void linear(const Context& ctx, const Linear& l);
void linear_part(const Context& ctx, const Linear& l, int part);
// All rows, and the columns of panels p0..p1, on the thread that calls.
void linear_panels(const Context& ctx, const Linear& l, int64_t p0, int64_t p1);
// Whether the parts are rows, in the same even split for all matrices of as many rows; else they are columns.
bool rows_fill(const Context& ctx, const Panels& weights, int64_t rows);
bool linear_by_rows(const Context& ctx, const Linear& l);

// t i16 [rows, C] of stride ldt -> out u8 [rows, C]
void layernorm(const Context& ctx, const PackedNode& norm, const int16_t* t, int64_t ldt, int64_t rows,
               int64_t C, uint8_t* out);

// On the thread that calls: x u8 [rows, C] in place. Row tables when the pivot is the row's maximum.
void gelu_rows(const Context& ctx, const PackedNode& gelu, uint8_t* x, int64_t rows, int64_t C);

// From pixels u8 [batch, side, side, 3] to tokens i16 [batch, tokens, C]: patches of side p, their product,
// and the positions.
struct Embedding {
    const int8_t* table = nullptr;  // input's
    const PackedNode *linear = nullptr, *positions = nullptr;
    const uint8_t* pixels = nullptr;
    int64_t batch = 0, side = 0, p = 0, tokens = 0;
    int16_t* out = nullptr;
};
// By rows or columns as a linear step of as many tokens.
void embed_part(const Context& ctx, const Embedding& e, int part);
bool embed_by_rows(const Context& ctx, const Embedding& e);
// x i16 [batch, tokens, C], in place: positions added to columns c0..c1 of tokens first..last. What a first
// token of a picture held is not read.
void add_positions(const Kernels& kernels, const PackedNode& pos, int64_t first, int64_t last, int64_t tokens,
                   int64_t c0, int64_t c1, int16_t* x);

// acc int32 [rows, C] (a linear layer's accumulators), t i16 [rows, C] -> out i16 [rows, C]
void residual_add(const Context& ctx, const PackedNode& add, const int32_t* acc, const int16_t* t,
                  int64_t rows, int64_t C, int16_t* out);

// qkv u8 [batch, tokens, 3C] -> out u8 [batch, tokens, C], six rows of one head at a time. With `panels`,
// those of all of qkv, a part is rows, the same as a linear step's. Without, it is rows of heads, which the
// part packs for itself.
void attention_part(const Context& ctx, const Heads& shape, const PackedNode& logits,
                    const PackedNode& softmax, const PackedNode& context, const uint8_t* qkv,
                    KeysValues* panels, uint8_t* out, int part);
// k and v of a part's rows into panels.
void pack_heads_part(const Context& ctx, const Heads& shape, const uint8_t* qkv, KeysValues* panels,
                     int part);
// Its three parts alone, one picture, in the int32 of taps.
void attention_logits(const Context& ctx, const Heads& shape, const PackedNode& logits, const uint8_t* qkv,
                      int32_t* out);
void attention_softmax(const Context& ctx, const Heads& shape, const PackedNode& softmax,
                       const int32_t* logits, int32_t* p);
// p int32 [heads, tokens, tokens], 0..2^15
void attention_context(const Context& ctx, const Heads& shape, const PackedNode& context, const int32_t* p,
                       const uint8_t* qkv, int32_t* out);
// Grows every thread's working memory, so that nothing is allocated while the network runs.
void reserve_attention(std::vector<Scratch>& scratch, int64_t tokens, int64_t d);

// x [n] -> p as its low and high bytes, for logits of up to 16 bits. arithmetic.md, Shiftmax.
void shiftmax_wide(const int16_t* x, int64_t n, const PackedNode& softmax, uint8_t* low, uint8_t* high);

}  // namespace ivit::cpu
