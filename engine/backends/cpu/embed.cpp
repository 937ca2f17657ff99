// SPDX-License-Identifier: Apache-2.0
// From pixels to tokens. arithmetic.md, Input and Positions.
#include <algorithm>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {
namespace {

// Tokens that go from pixels to positions while they stay in the second-level cache.
constexpr int64_t chunk_tokens = 16 * tile_rows;

// How many patches come before a token of [batch, tokens].
int64_t patches_before(int64_t token, int64_t tokens) { return token - (token + tokens - 1) / tokens; }

}  // namespace

void add_positions(const Kernels& kernels, const PackedNode& pos, const int16_t* patches, int64_t first,
                   int64_t last, int64_t tokens, int64_t c0, int64_t c1, int16_t* out) {
    const auto lo = static_cast<int32_t>(pos.quant->out.low()),
               hi = static_cast<int32_t>(pos.quant->out.high());
    const int64_t C = pos.constant.size() / tokens;
    for (int64_t row = first; row < last; ++row) {
        const int64_t patch = patches_before(row, tokens) - patches_before(first, tokens);
        kernels.add_constant(row % tokens ? patches + patch * C + c0 : nullptr,
                             pos.constant.data() + row % tokens * C + c0, c1 - c0, lo, hi,
                             out + row * C + c0);
    }
}

bool embed_by_rows(const Context& ctx, const Embedding& e) {
    return rows_fill(ctx, *e.linear->panels, e.batch * e.tokens);
}

void embed_part(const Context& ctx, const Embedding& e, int part) {
    const Panels& w = *e.linear->panels;
    const int64_t parts = ctx.pool.size(), total = e.batch * e.tokens;
    const bool by_rows = embed_by_rows(ctx, e);
    const int64_t first = by_rows ? total * part / parts : 0,
                  last = by_rows ? total * (part + 1) / parts : total;
    const int64_t p0 = by_rows ? 0 : w.count() * part / parts,
                  p1 = by_rows ? w.count() : w.count() * (part + 1) / parts;
    const int64_t across = e.side / e.p, patches = across * across;
    uint8_t table[3 * 256];
    for (int i = 0; i < 3 * 256; ++i) table[i] = static_cast<uint8_t>(e.table[i] + 128);
    Scratch& s = ctx.mine();
    s.patches.grow(chunk_tokens * w.K);
    s.embedded.grow(chunk_tokens * w.N);
    const int64_t chunks = (last - first + chunk_tokens - 1) / chunk_tokens;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t t0 = first + (last - first) * chunk / chunks,
                      t1 = first + (last - first) * (chunk + 1) / chunks;
        const int64_t from = patches_before(t0, e.tokens), to = patches_before(t1, e.tokens);
        for (int64_t j = from; j < to; ++j) {
            const int64_t y = j % patches / across * e.p, x = j % patches % across * e.p;
            ctx.kernels.patch(e.pixels + ((j / patches * e.side + y) * e.side + x) * 3, e.side * 3, e.p,
                              table, s.patches.data() + (j - from) * w.K);
        }
        Linear l;
        l.linear = e.linear;
        l.rows = to - from;
        l.x = s.patches.data();
        l.ldx = w.K;
        l.i16 = s.embedded.data();
        linear_panels(ctx, l, p0, p1);
        add_positions(ctx.kernels, *e.positions, s.embedded.data(), t0, t1, e.tokens, p0 * tile_cols,
                      std::min(p1 * tile_cols, w.N), e.out);
    }
}

}  // namespace ivit::cpu
