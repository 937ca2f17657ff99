// SPDX-License-Identifier: Apache-2.0
// The matrix product: panels of packed weights outside, blocks of six rows inside, so that a panel is read
// from the first-level cache once for all rows of a chunk.
#include <algorithm>
#include <functional>

#include "engine/arithmetic.h"
#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {
namespace {

// Rows that share a pass over the weights: as many as half a second-level cache holds.
int64_t chunk_rows(int64_t K) { return std::clamp<int64_t>((320 << 10) / K, 8 * tile_rows, 64 * tile_rows); }

// What becomes of the accumulators of a tile, into *f. Those of the head, and accumulators asked for
// themselves, are stored at once. Field by field: the copy of a struct just written waits until the writes
// have left the core, behind all the products before them.
void output(const Context& ctx, const Linear& l, int32_t* acc, int64_t row, int rows, int64_t col, int cols,
            Finish* f) {
    const int64_t N = l.linear->panels->N, at = row * N + col;
    f->acc = acc;
    f->rows = rows;
    f->cols = cols;
    f->ld = N;
    if (l.u8) {
        f->to = Finish::To::u8;
        f->table = l.gelu && !l.gelu->quant->quant.shift.row_pivot ? l.gelu->table.data() : nullptr;
        f->u8 = l.u8 + at;
        l.linear->requant.at(col, &f->q);
    } else if (l.add) {
        f->to = Finish::To::sum;
        f->stream.m = l.add->quant->mt;
        f->stream.s = l.add->quant->st;
        f->old = l.old + at;
        f->i16 = l.i16 + at;
        l.add->requant.at(col, &f->q);
    } else if (l.i16) {
        f->to = Finish::To::i16;
        f->i16 = l.i16 + at;
        l.linear->requant.at(col, &f->q);
    } else {
        const QuantNode& q = *l.linear->quant;
        f->q.lift = nullptr;
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < cols; ++c) {
                const int32_t a = acc[r * tile_cols + c];
                const auto i = static_cast<size_t>(col + c);
                l.i32[at + r * N + c] = l.accumulator ? a : arith::requant(a, q.m[i], q.s[i], 32);
            }
    }
    if (f->q.lift) ctx.kernels.lift(acc, rows, cols, f->q.lift);
}

// Bytes of a matrix that a third-level cache is likely to hold, with all its like.
constexpr int64_t small_matrix = 256 << 10;

// Fewer blocks would want the next panel in bursts, which make them wait: their first one fetches it on its
// way, and only how the next matrix begins is left to them. From memory bursts are better than too late.
int64_t few_blocks(const Panels& w) { return w.K * w.N <= small_matrix ? 5 : 3; }
constexpr int64_t first_lines = 128;

// The panel that comes next, to be fetched a share at a time while this one is at work.
struct Ahead {
    const int8_t* at = nullptr;
    int lines = 0, share = 0;

    Ahead() = default;
    Ahead(const Panels& w, int64_t p, int64_t shares, int64_t most = INT64_MAX)
        : at(w.panel(p)), lines(static_cast<int>(std::min(most, w.panel_bytes(p) / 64))) {
        share = static_cast<int>((lines + shares - 1) / shares);
    }
    void next(Finish* f) {
        f->fetch = at;
        f->lines = std::min(share, lines);
        at += int64_t{64} * f->lines;
        lines -= f->lines;
    }
};

// Rows [first, last) times panels [p0, p1). next: the panel of l.next this thread will want first.
void multiply(const Context& ctx, const Linear& l, int64_t first, int64_t last, int64_t p0, int64_t p1,
              int64_t next = 0) {
    const Kernels& k = ctx.kernels;
    const Panels& w = *l.linear->panels;
    // Two: a tile is finished while the next one is multiplied.
    alignas(64) int32_t accs[2][tile_rows * tile_cols];
    Finish before;
    int64_t tiles = 0;
    const int64_t chunks = (last - first + chunk_rows(w.K) - 1) / chunk_rows(w.K);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t r0 = first + (last - first) * chunk / chunks,
                      r1 = first + (last - first) * (chunk + 1) / chunks;
        const uint8_t* x = l.x + r0 * l.ldx;
        int64_t ldx = l.ldx;
        if (l.norm) {
            uint8_t* rows = ctx.mine().rows.data();
            k.layernorm(l.t + r0 * l.ldt, l.ldt, r1 - r0, w.K, l.norm->layernorm(), rows);
            x = rows;
            ldx = w.K;
        }
        // Blocks as even as can be: a last one of a single row would cost as much as three.
        const int64_t blocks = (r1 - r0 + tile_rows - 1) / tile_rows, least = (r1 - r0) / blocks,
                      larger = (r1 - r0) % blocks;
        for (int64_t p = p0; p < p1; ++p) {
            Ahead ahead;
            if (blocks >= few_blocks(w))
                ahead = p + 1 < p1           ? Ahead(w, p + 1, blocks)
                        : chunk + 1 < chunks ? Ahead(w, p0, blocks)
                        : l.next             ? Ahead(*l.next, next, blocks)
                                             : Ahead();
            else if (p + 1 == p1 && l.next)
                ahead = Ahead(*l.next, next, blocks, first_lines);
            const int8_t* const panel = w.panel(p);
            const int width = w.width(p), cols = w.cols(p);
            int64_t r = r0;
            for (int64_t b = 0; b < blocks; ++b) {
                const int rows = static_cast<int>(least + (b < larger));
                ahead.next(&before);
                before.afar = b == 0;
                int32_t* acc = accs[tiles++ % 2];
                k.gemm_tile(x + (r - r0) * ldx, nullptr, ldx, panel, w.k4(),
                            l.linear->init.data() + p * tile_cols, rows, width, acc, before);
                output(ctx, l, acc, r, rows, p * tile_cols, cols, &before);
                r += rows;
            }
        }
    }
    before.lines = 0;
    finish(k, before);
}

}  // namespace

bool rows_fill(const Context& ctx, const Panels& weights, int64_t rows) {
    // Reading a large matrix once, not once a thread, is worth waiting for each other for more rows than
    // that; all the more where not even a half of it stays in a second-level cache.
    const int64_t size = weights.K * weights.N;
    return rows >= ctx.pool.size() * (size <= small_matrix ? tile_rows / 2
                                      : size <= 1 << 20    ? 4 * tile_rows
                                                           : 10 * tile_rows);
}

bool linear_by_rows(const Context& ctx, const Linear& l) {
    return rows_fill(ctx, *l.linear->panels, l.rows) || (l.gelu && l.gelu->quant->quant.shift.row_pivot);
}

void linear_part(const Context& ctx, const Linear& l, int part) {
    const int64_t panels = l.linear->panels->count(), parts = ctx.pool.size();
    if (l.norm) ctx.mine().rows.grow((chunk_rows(l.linear->panels->K) + 1) * l.linear->panels->K);
    const int64_t next = l.next && !rows_fill(ctx, *l.next, l.rows) ? l.next->count() * part / parts : 0;
    if (!linear_by_rows(ctx, l))
        return multiply(ctx, l, 0, l.rows, panels * part / parts, panels * (part + 1) / parts, next);
    const int64_t first = l.rows * part / parts, last = l.rows * (part + 1) / parts, N = l.linear->panels->N;
    multiply(ctx, l, first, last, 0, panels, next);
    if (l.gelu && l.gelu->quant->quant.shift.row_pivot)
        gelu_rows(ctx, *l.gelu, l.u8 + first * N, last - first, N);
}

void linear_panels(const Context& ctx, const Linear& l, int64_t p0, int64_t p1) {
    multiply(ctx, l, 0, l.rows, p0, p1);
}

void linear(const Context& ctx, const Linear& l) {
    const auto job = [&](int part) { linear_part(ctx, l, part); };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace ivit::cpu
