// SPDX-License-Identifier: Apache-2.0
// The inner loops of the cpu backend, once per instruction set, chosen at run time.
//
// Files *_avx2.cpp, *_avxvnni.cpp and *_avx512vnni.cpp are compiled for their instruction set, so they
// include nothing but this header, which holds plain structs only: an inline function compiled there could be
// the copy the linker keeps for everybody. No floating-point arithmetic in any of them (tests/integer_only.sh
// looks).
//
// Activations of up to 8 bits are stored as x + 128 in uint8: the unsigned operand vpdpbusd wants. The 128 is
// taken out again by the packed matrix, whose `init` holds bias - 128 * (sum of the column).
#pragma once
#include <cstdint>

#include "engine/cpu_info.h"

namespace ivit::cpu {

constexpr int tile_rows = 6;   // 6 x 64 accumulators fill 24 of the 32 vector registers
constexpr int tile_cols = 64;  // width of a packed panel; the last one of a matrix may be 16, 32 or 48 wide

// Requantization of a run of columns: clamp(round_shift(acc * m[c], shift[c] + 32), lo, hi), of accumulators
// that have been lifted where `lift` is not null. arithmetic.md, Dyadic numbers.
struct RequantView {
    const int32_t* m;
    const int32_t* shift;  // s - 32
    const int32_t* half;   // 2^(s - 33): half of the result's last place, in the product's upper word
    const int32_t* lift;   // or null: Kernels::lift
    int32_t lo, hi;
    bool upper;  // every s, counted after the lift, is 33..62: the upper 32 bits of each product are enough.
                 // Else only the scalar kernels will do
};

// The old residual stream: round_shift(t * m, s).
struct ResidualView {
    int32_t m, s;
};

// e by distance as planes of bytes: e = (the sum over p of bytes[p][distance] << 8 p) << shift. [count][256]
struct EPlanes {
    const uint8_t* bytes;
    int count;  // 1..4, or 0 where e passes 32 bits
    int shift;
};

// Shiftmax over logits of up to 8 bits: e by distance from the row's maximum. arithmetic.md, Shiftmax.
struct ShiftmaxView {
    const uint64_t* e;  // [256]
    EPlanes planes;
    int M, k;
};

// Rows of logits to rows of probabilities, as Kernels::shiftmax takes them.
struct ShiftmaxRows {
    const uint8_t* x = nullptr;  // [rows, n] of stride ld, like low and high
    int64_t ld = 0;
    int rows = 0;
    int64_t n = 0;
    ShiftmaxView q{};
    uint8_t *low = nullptr, *high = nullptr;
    uint64_t* groups = nullptr;
    bool upper = false;  // what it yields
};

// I-LayerNorm's constants of C channels. arithmetic.md, I-LayerNorm.
struct LayernormView {
    const int32_t* m;
    const int32_t* shift;  // s - 32
    const int64_t* B;      // B + 2^(s-1); per 16 channels, the 8 even ones first
    int32_t lo, hi;
    bool upper;  // every s is 33..54
};

// Which groups of four 16-bit numbers have upper bytes, a bit each: so many words a row of ld numbers.
static inline int64_t group_words(int64_t ld) { return (ld + 255) / 256; }

// Rows like those of the lower bytes. groups [rows][group_words(lda)], unless null: where they are not zero,
// and maybe more.
struct UpperBytes {
    const uint8_t* bytes;
    const uint64_t* groups;
};

// What becomes of a tile's accumulators, in the words of the functions below; or, beside a product, of
// logits.
struct Finish {
    enum class To { nothing, u8, i16, sum, shiftmax } to = To::nothing;
    const int32_t* acc = nullptr;  // [rows][tile_cols]
    int rows = 0, cols = 0;
    RequantView q{};
    const uint8_t* table = nullptr;  // u8
    uint8_t* u8 = nullptr;
    ResidualView stream{};          // sum
    const int16_t* old = nullptr;   // sum
    int16_t* i16 = nullptr;         // i16, sum
    int64_t ld = 0;                 // stride of old and of the output
    const int8_t* fetch = nullptr;  // cache lines a later product will want, fetched beside this one
    int lines = 0;
    bool afar = false;  // no product has read this one's panel: it is fetched on the way, and what follows it
    ShiftmaxRows* logits = nullptr;  // shiftmax, which needs no accumulators
};

// Rows first..last - 1 of a group are there, those up to `end` are zero, the others somebody else's.
struct Part {
    int first, last, end;
};

struct Kernels {
    // a u8 [rows, 4 * k4] of stride lda, b one packed panel s8 [k4][width][4]
    // -> acc int32 [rows][tile_cols] = init[c] + sum over k of a[r][k] * b[k][c], modulo 2^32.
    // 1 <= rows <= tile_rows; width 16, 32, 48 or 64. high, unless null, has the upper bytes of 16-bit a's.
    // `before`, accumulators of an earlier tile in memory of their own, is finished on the way: the
    // multipliers hardly notice what the other units do between two steps over k.
    void (*gemm_tile)(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
                      const int32_t* init, int rows, int width, int32_t* acc, const Finish& before);

    // acc [rows][tile_cols], in place: 2^lift[c] acc, clamped to 32 bits with lift[c] zeros below. Columns up
    // to the next multiple of 16. What is clamped becomes the limit of any grid of 16 bits and less
    // (Requantizer).
    void (*lift)(int32_t* acc, int rows, int cols, const int32_t* lift);
    // acc [rows][tile_cols] -> out u8 [rows, cols] of stride ldo: requantized, + 128, then through table
    // [256] unless it is null.
    void (*requant_u8)(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                       uint8_t* out, int64_t ldo);
    // The same to 16 bits.
    void (*requant_i16)(const int32_t* acc, int rows, int cols, const RequantView& q, int16_t* out,
                        int64_t ldo);
    // acc [rows][tile_cols], t i16 [rows, cols] of stride ld -> out of the same stride, which may be t.
    // arithmetic.md, Residual add.
    void (*residual_add)(const int32_t* acc, int rows, int cols, const RequantView& q,
                         const ResidualView& old, const int16_t* t, int16_t* out, int64_t ld);

    // x i16 [rows, C] of stride ldx -> out u8 [rows, C], packed
    void (*layernorm)(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q,
                      uint8_t* out);
    // x u8 [rows, n] -> p, as its low and high bytes; stride ld all, of at least n rounded up to 64: so many
    // are read and written. rows <= tile_rows. Yields whether any high byte is not zero; where none is they
    // need not be written. groups [rows][group_words(ld)]: what this set's gemm_tile wants to know of the
    // high bytes; nothing is written where it wants nothing.
    bool (*shiftmax)(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
                     uint8_t* high, uint64_t* groups);
    // Rows of k, u8 [16, d] of stride ld, into columns of a panel [ceil(d / 4)][width][4], and init[j] = -128
    // * (sum of row j). Of both those of `part` alone are written.
    void (*pack_k)(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width,
                   int32_t* init);
    // Rows of v, u8 [4, cols] of stride ld, into one group of four k of a panel, [width][4]: those of `part`.
    // Columns cols..width - 1 become zero.
    void (*pack_v)(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width);
    // x u8 [n] -> x through table [256], in place
    void (*lookup)(const uint8_t* table, uint8_t* x, int64_t n);
    // One patch of a picture: pixels u8 [p, p, 3] of stride `stride` bytes, tables [3][256] -> out u8 [3, p,
    // p]. arithmetic.md, Input.
    void (*patch)(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out);

    // x i16 [n] + constant, clamped to lo..hi of at most 16 bits -> out, which may be x. Without x, the
    // constant alone. arithmetic.md, Positions.
    void (*add_constant)(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi,
                         int16_t* out);

    // `rounds` times twelve independent multiply-accumulate instructions of gemm_tile's on registers alone:
    // what no product can pass. Yields some number of theirs. Null where gemm_tile has none
    // (scalar).
    int32_t (*multiply_only)(int64_t rounds);
    int macs_per_round = 0;
};

// Through requant_u8, requant_i16, residual_add or shiftmax of k, or nothing; and fetches.
void finish(const Kernels& k, const Finish& f);

// isa must not pass what the processor can do (best_isa()).
const Kernels& kernels(Isa isa);

// One per instruction set; kernels() picks.
extern const Kernels scalar_kernels;
const Kernels& avx2_kernels();
const Kernels& avxvnni_kernels();
const Kernels& avx512vnni_kernels();

// mean and f of arithmetic.md, I-LayerNorm, from the sum of x and of x^2 over C channels.
void layernorm_moments(int64_t sum, int64_t squares, int64_t C, int64_t* mean, int64_t* f);
// 2^M / d. arithmetic.md, Shiftmax.
uint64_t shiftmax_reciprocal(uint64_t d, int M);

}  // namespace ivit::cpu
