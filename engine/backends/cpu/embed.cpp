// SPDX-License-Identifier: Apache-2.0
// From pixels to tokens. arithmetic.md, Input and Positions.
#include <algorithm>

#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {
namespace {

// Tokens that go from pixels to positions while they stay in the second-level cache: a half of 197 at once.
constexpr int64_t chunk_tokens = 17 * tile_rows;

// Cache lines, from memory as a rule, to be asked for a share at a time while patches are cut out.
class Lines {
  public:
    Lines(const void* first, int64_t bytes, int64_t shares)
        : at_(static_cast<const char*>(first)),
          left_((bytes + 63) / 64),
          share_((left_ + shares - 1) / shares) {}
    void next() {
        for (int64_t i = std::min(share_, left_); i > 0; --i, --left_, at_ += 64)
            __builtin_prefetch(at_, 0, 2);
    }

  private:
    const char* at_;
    int64_t left_, share_;
};

}  // namespace

void add_positions(const Kernels& kernels, const PackedNode& pos, int64_t first, int64_t last, int64_t tokens,
                   int64_t c0, int64_t c1, int16_t* x) {
    const auto lo = static_cast<int32_t>(pos.quant->out.low()),
               hi = static_cast<int32_t>(pos.quant->out.high());
    const bool wide = pos.wide_constant.size() > 0;
    const int64_t C = (wide ? pos.wide_constant.size() : pos.constant.size()) / tokens;
    for (int64_t row = first; row < last; ++row) {
        const int64_t token = row % tokens;
        int16_t* const to = x + row * C;
        if (!wide)
            kernels.add_constant(token ? to + c0 : nullptr, pos.constant.data() + token * C + c0, c1 - c0, lo,
                                 hi, to + c0);
        for (int64_t c = c0; wide && c < c1; ++c)
            to[c] = static_cast<int16_t>(
                std::clamp(pos.wide_constant[token * C + c] + (token ? to[c] : 0), lo, hi));
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
    const int64_t across = e.side / e.p;
    uint8_t table[3 * 256];
    for (int i = 0; i < 3 * 256; ++i) table[i] = static_cast<uint8_t>(e.table[i] + 128);
    Scratch& s = ctx.mine();
    s.patches.grow(chunk_tokens * w.K);
    for (int64_t t0 = first, t1 = 0; t0 < last; t0 = t1) {
        // Of one picture, and chunks of it as even as can be.
        const int64_t picture = t0 / e.tokens, end = std::min(last, (picture + 1) * e.tokens);
        t1 = t0 + (end - t0) / ((end - t0 + chunk_tokens - 1) / chunk_tokens);
        const int64_t from = std::max(t0, picture * e.tokens + 1), count = t1 - from;
        const int64_t shares = std::max<int64_t>(count, 1);
        Lines weights(w.panel(p0), p0 < p1 ? w.panel_bytes(p0) : 0, shares);
        Lines positions(e.positions->constant.data() + (by_rows ? t0 % e.tokens * w.N : 0),
                        by_rows && e.positions->constant.size() ? (t1 - t0) * w.N * 2 : 0, shares);
        // Pixels a row of patches ahead: those of one patch are too many places for the processor to guess.
        const int64_t patch0 = from - picture * e.tokens - 1, band = e.p * e.side * 3,
                      band0 = picture * across + patch0 / across,
                      bands = (patch0 + shares - 1) / across - patch0 / across + 1;
        Lines pixels(e.pixels + band0 * band, bands * band, shares + across);
        for (int64_t i = 0; i < across; ++i) pixels.next();
        for (int64_t j = 0; j < count; ++j) {
            pixels.next();
            weights.next();
            positions.next();
            const int64_t patch = patch0 + j;
            const int64_t y = picture * e.side + patch / across * e.p, x = patch % across * e.p;
            ctx.kernels.patch(e.pixels + (y * e.side + x) * 3, e.side * 3, e.p, table,
                              s.patches.data() + j * w.K);
        }
        Linear l;
        l.linear = e.linear;
        l.rows = count;
        l.x = s.patches.data();
        l.ldx = w.K;
        l.i16 = e.out + from * w.N;
        if (count > 0) linear_panels(ctx, l, p0, p1);
        add_positions(ctx.kernels, *e.positions, t0, t1, e.tokens, p0 * tile_cols,
                      std::min(p1 * tile_cols, w.N), e.out);
    }
}

}  // namespace ivit::cpu
