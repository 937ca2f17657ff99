// SPDX-License-Identifier: Apache-2.0
// The kernels of the cuda backend: what each takes and how to start it. Every buffer lies in device memory,
// rows are padded with zeros to Layout::stride, and row r of a batch is token r % tokens of picture r /
// tokens.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "engine/arithmetic.h"
#include "engine/backends/cuda/layout.h"

namespace ivit::cuda {

// Where and how a kernel starts. overlap: it may begin while the one before it ends (programmatic dependent
// launch, sm_90 and later); every kernel waits for the one before it where it first reads what that one
// wrote.
struct Launch {
    cudaStream_t stream = nullptr;
    int arch = 75;  // 10 * major + minor
    int sms = 1;
    size_t shared_limit = 48 * 1024;  // bytes of shared memory a block may have
    bool overlap = false;
};

// Requantization of a matrix product's columns: round_shift((acc + bias) * m, s) = (acc * m + r) >> s, with
// r = bias * m + 2^(s-1). `fits`: whatever the weights can add up to, 32 bits hold what becomes of it (31
// where the residual stream is added), so that no kernel needs to saturate: scale_word.
struct Columns {
    const int32_t* m = nullptr;  // [stride]
    const int64_t* r = nullptr;  // [stride]
    const uint8_t* s = nullptr;  // [stride]; less by `spare`
    bool fits = false;
    int32_t low = -128, top = 127;  // clamp limits
    int32_t spare = 0;  // where the output is bytes: 8 less its width. Results come that much finer, and are
                        // shifted as bytes after they have been saturated as such (shift_bytes)
};

enum class Epilogue : int {
    int8,      // out int8 = requant
    gelu,      // out int8 = table[requant + 128]
    residual,  // out int16 = clamp(scaled + round_shift(residual * mt, st))
    position,  // out int16 = clamp(requant + position[token]), patches only; the class token is position[0]
    logits,    // out int32 = requant
};

// I-LayerNorm (arithmetic.md): columns hold m, r = B + 2^(s-1), s.
struct LayerNorm {
    const int16_t* in = nullptr;  // residual stream
    int32_t in_stride = 0, cols = 0;
    Columns columns;
    FastDiv mean;        // by 2 * cols
    FastDiv rows;        // rows the node computes per picture: the first ones
    int32_t tokens = 1;  // rows there are per picture
};

// out [rows, cols] = epilogue(a [rows, k] . w^T)
struct Linear {
    const int8_t* a = nullptr;
    int32_t lda = 0;
    const int8_t* w = nullptr;       // [w_rows, ldw], packed_row order, zeros around
    const int8_t* w_side = nullptr;  // or null: the same in paired_row or, for residual, plain_row order
    int32_t ldw = 0, w_rows = 0;
    int32_t rows = 0, cols = 0, k = 0;  // k: multiple of 32. cols: multiple of 64
    Epilogue epilogue{};
    Columns columns;
    void* out = nullptr;
    int32_t ldo = 0;
    const int8_t* table = nullptr;      // gelu: [256]
    const int16_t* residual = nullptr;  // residual: [rows, ldo]
    int32_t mt = 0, st = 31;
    const int32_t* position = nullptr;  // position: [tokens, ldo]
    int32_t low2 = 0, top2 = 0;         // position: clamp limits of the sum
    FastDiv tokens;                     // position
};

// One fused attention: logits, Shiftmax, context.
struct Attention {
    const int8_t* qkv = nullptr;  // [batch * tokens, ld]: q, k, v, each heads x padded
    int32_t ld = 0, heads = 0, padded = 0, tokens = 0, batch = 0;
    int8_t* out = nullptr;  // [batch * tokens, ldo]: heads x padded
    int32_t ldo = 0;
    int32_t m_logits = 0, s_logits = 31, low_logits = -128, top_logits = 127;
    const uint32_t* exponential = nullptr;  // [2^bits of the logits]: shift_exp(-i << t, I0, n)
    int32_t entries = 256;
    uint32_t greatest = UINT32_MAX;  // exponential, the first
    int32_t M = 47, k = 16;
    int32_t m_context = 0, s_context = 31, low_context = -128, top_context = 127;
};
// From this shift on 32 bits hold whatever becomes of logits and context (scale_word): at most 128 products
// of bytes come to 2^21, times m to 2^52; shares, which come to 2^15 together, times bytes to 2^22, times m
// to 2^53.
constexpr int least_attention_shift = 23;

// pixels [batch, size, size, 3] -> out [batch * tokens, ldo]: row 0 of a picture is zero, row 1 + i holds
// patch i in the order [3, p, p] through `table` [3, 256].
struct Patches {
    const uint8_t* pixels = nullptr;
    const int8_t* table = nullptr;
    int8_t* out = nullptr;
    int32_t ldo = 0, size = 0, batch = 0, tokens = 0;
    FastDiv patch, area, across;  // p, p * p, size / p
};

// in [rows, ld] -> out: table[max(0, row maximum)][x + 128], the row-pivot ShiftGELU with its requantization.
struct RowGelu {
    const int8_t* in = nullptr;
    int8_t* out = nullptr;
    const int8_t* table = nullptr;  // [128, 256]
    int32_t rows = 0, cols = 0, ld = 0;
};

// What Linear kernels there are: tile sizes for few rows and for many.
enum class Tile : int { rows16, rows32, rows64, rows128, wgmma64, wgmma, wgmma192, panel, side, split };
constexpr int tiles = 10;
constexpr const char* tile_names[tiles] = {"rows16", "rows32",   "rows64", "rows128", "wgmma64",
                                           "wgmma",  "wgmma192", "panel",  "side",    "split"};
bool tile_fits(Tile tile, const Linear& p, const Launch& at);
Tile choose_tile(const Linear& p, const Launch& at);

void linear(const Linear& p, Tile tile, const Launch& at);
void layernorm(const LayerNorm& p, int32_t rows, int8_t* out, int32_t ldo, const Launch& at);
bool attention_fits(const Attention& p, const Launch& at);  // else the plain kernels below do it
void attention(const Attention& p, const Launch& at);
void patches(const Patches& p, const Launch& at);
void row_gelu(const RowGelu& p, const Launch& at);
// The virtual architecture, 10 * major + minor, of the code that runs on this device. Launch::overlap needs
// 90: older code does not wait for the kernel before it.
int compiled_for();
// Raises shared-memory limits and loads every kernel, so that none is loaded while a graph is captured.
void prepare_kernels(const Launch& at);

// shift_exp(-i << t, i0, n) for i < entries, on the host: Attention::exponential. Null when this Shiftmax
// does not fit the kernel's 32-bit words.
bool exponentials(int64_t i0, const ShiftParams& q, int32_t entries, uint32_t* out);

// The plain kernels: one node, int32 in and out, shapes as in ops.h, one picture. For taps and single nodes.
namespace plain {

struct Shift {  // Shiftmax and ShiftGELU
    int64_t i0 = 1;
    ShiftParams params;
};

void input(const uint8_t* pixels, const int8_t* table, int32_t side, int32_t* out, const Launch& at);
// w as in Linear; layout_in: of its columns, layout_out: of its rows. to_residual: the accumulator itself.
struct Product {
    const int32_t* in = nullptr;  // [rows, cols of layout_in], or [3, H, W] where patch > 0
    int32_t* out = nullptr;       // [rows, cols of layout_out]
    const int8_t* w = nullptr;
    int32_t ldw = 0, rows = 0;
    Layout layout_in, layout_out;
    const int32_t *bias = nullptr, *m = nullptr, *s = nullptr;
    int32_t bits = 8;
    bool to_residual = false;
    int32_t patch = 0, side = 0;
};
void product(const Product& p, const Launch& at);
void pos_embed(const int32_t* in, const int32_t* constant, int32_t stride, int32_t tokens, int32_t cols,
               int32_t bits, int32_t* out, const Launch& at);
void layernorm(const int32_t* in, int32_t rows, int32_t cols, const int32_t* m, const int64_t* B,
               const int32_t* s, int32_t bits, int32_t* out, const Launch& at);
void attn_logits(const int32_t* qkv, int32_t tokens, int32_t width, int32_t heads, int32_t m, int32_t s,
                 int32_t bits, int32_t* out, const Launch& at);
void softmax(const int32_t* in, int32_t rows, int32_t cols, const Shift& q, int32_t* out, const Launch& at);
void attn_context(const int32_t* p, const int32_t* qkv, int32_t tokens, int32_t width, int32_t heads,
                  int32_t m, int32_t s, int32_t bits, int32_t* out, const Launch& at);
void gelu(const int32_t* in, int32_t rows, int32_t cols, const Shift& q, int32_t m, int32_t s, int32_t bits,
          int32_t* out, const Launch& at);
void residual_add(const int32_t* acc, const int32_t* t, int32_t rows, int32_t cols, const int32_t* m,
                  const int32_t* s, int32_t mt, int32_t st, int32_t bits, int32_t* out, const Launch& at);
// The table of RowGelu.
void gelu_table(const Shift& q, int32_t m, int32_t s, int32_t bits, int8_t* table, const Launch& at);

// Between the two forms: in [rows, Layout] of `bytes` wide integers <-> int32 [rows, cols].
void widen(const void* in, int bytes, int32_t rows, const Layout& layout, int32_t* out, const Launch& at);
void narrow(const int32_t* in, int32_t rows, const Layout& layout, int bytes, void* out, const Launch& at);

}  // namespace plain
}  // namespace ivit::cuda
