// SPDX-License-Identifier: Apache-2.0
// Attention without an N x N buffer: six rows of one head go from q to the context vector while everything
// they touch stays in the first-level cache. arithmetic.md, Attention.
#include <algorithm>
#include <functional>

#include "engine/arithmetic.h"
#include "engine/backends/cpu/ops.h"

namespace ivit::cpu {
namespace {

constexpr auto rounded = KeysValues::rounded;
int width_of(int64_t N, int64_t p) {
    return static_cast<int>(std::min<int64_t>(tile_cols, rounded(N - p * tile_cols, 16)));
}
int cols_of(int64_t N, int64_t p) {
    return static_cast<int>(std::min<int64_t>(tile_cols, N - p * tile_cols));
}

// The width of k's panel of `tokens` that begins with this one. A last panel of 16 would take as long as one
// of 32: it shares with the one before.
int k_width(int64_t tokens, int64_t at) {
    const int64_t left = rounded(tokens - at, 16);
    return left == tile_cols + 16 ? 48 : static_cast<int>(std::min<int64_t>(left, tile_cols));
}

constexpr int32_t zeros[tile_cols] = {};

// Rows first..last - 1 of tokens among those of a group of `size` that begins at `group`.
Part part_of(int64_t group, int64_t size, int64_t first, int64_t last, int64_t tokens) {
    const auto within = [&](int64_t row) {
        return static_cast<int>(std::clamp<int64_t>(row - group, 0, size));
    };
    return {within(first), within(last), last == tokens ? static_cast<int>(size) : within(last)};
}

// k of tokens [first, last) of a head: the right-hand matrix [d, tokens]. What is past the last token is
// zero. k: row 0 of stride ld.
void pack_k(const Kernels& kernels, const Heads& shape, const uint8_t* k, int64_t ld, int64_t first,
            int64_t last, const HeadPanels& to) {
    const int64_t d4 = (shape.d() + 3) / 4, tokens = shape.tokens;
    for (int64_t at = 0, width = 0; at < last; at += width) {
        width = k_width(tokens, at);
        for (int64_t j = std::max(at, first / 16 * 16); j < std::min(at + width, last); j += 16)
            kernels.pack_k(k + j * ld, ld, part_of(j, 16, first, last, tokens), shape.d(),
                           to.k + at * d4 * 4 + (j - at) * 4, static_cast<int>(width), to.k_init + j);
    }
}

// v of tokens [first, last): the right-hand matrix [tokens, d].
void pack_v(const Kernels& kernels, const Heads& shape, const uint8_t* v, int64_t ld, int64_t first,
            int64_t last, const HeadPanels& to) {
    const int64_t d = shape.d(), t4 = (shape.tokens + 3) / 4;
    for (int64_t p = 0; p * tile_cols < d; ++p)
        for (int64_t j = first / 4; 4 * j < last; ++j)
            kernels.pack_v(v + 4 * j * ld + p * tile_cols, ld, part_of(4 * j, 4, first, last, shape.tokens),
                           cols_of(d, p), to.v + (p * tile_cols * t4 + j * width_of(d, p)) * 4,
                           width_of(d, p));
}

// A head in working memory.
HeadPanels own_panels(const Context& ctx, const Heads& shape) {
    return ctx.mine().head.head({1, shape.tokens, shape.d(), 1}, 0);
}

// One head of one picture. Rows of qkv have stride 3C.
class Head {
  public:
    Head(const Context& ctx, const Heads& shape, const uint8_t* qkv, int64_t head, const HeadPanels& panels)
        : k_(ctx.kernels),
          s_(ctx.mine()),
          panels_(panels),
          tokens_(shape.tokens),
          d_(shape.d()),
          ld_(3 * shape.C),
          q_(qkv + head * d_),
          rows_stride_(rounded(tokens_, 64)) {}

    // Logits of rows [row, row + rows) into scratch: u8 up to 8 bits, int16 beyond. *before, which may hold
    // accumulators in memory of their own, is finished on the way.
    void logits(const PackedNode& node, int64_t row, int rows, Finish* before) {
        const int64_t d4 = (d_ + 3) / 4;
        const bool wide = node.quant->out.bits > 8;
        for (int64_t at = 0, width = 0, side = 0; at < tokens_; at += width, side = 1 - side) {
            width = k_width(tokens_, at);
            int32_t* acc = s_.accs.data() + side * tile_rows * tile_cols;
            k_.gemm_tile(q_ + row * ld_, nullptr, ld_, panels_.k + at * d4 * 4, d4, panels_.k_init + at, rows,
                         static_cast<int>(width), acc, *before);
            before->to = wide ? Finish::To::i16 : Finish::To::u8;
            before->acc = acc;
            before->rows = rows;
            // What a panel has not got, the next one writes over: whole tiles are finished faster.
            before->cols = at + width < tokens_ ? tile_cols : static_cast<int>(tokens_ - at);
            node.requant.at(0, &before->q);
            if (before->q.lift) k_.lift(acc, rows, before->cols, before->q.lift);
            before->table = nullptr;
            before->u8 = s_.logits.data() + at;
            before->i16 = s_.wide_logits.data() + at;
            before->ld = rows_stride_;
        }
        finish(k_, *before);
        before->to = Finish::To::nothing;
    }

    // The scratch's logits to `side` 0 or 1 of its probabilities; job->q is there already. Shiftmax of at
    // most 8 bits waits for a product to run beside: *before; wider ones happen at once.
    void softmax(const PackedNode& node, int rows, int side, ShiftmaxRows* job, Finish* before) {
        job->x = s_.logits.data();
        job->ld = rows_stride_;
        job->rows = rows;
        job->n = tokens_;
        job->low = s_.low[side].data();
        job->high = s_.high[side].data();
        job->groups = s_.groups[side].data();
        if (node.logit_bits <= 8) {
            before->to = Finish::To::shiftmax;
            before->logits = job;
            return;
        }
        for (int64_t at = 0; at < rows * rows_stride_; at += rows_stride_)
            shiftmax_wide(s_.wide_logits.data() + at, tokens_, node, job->low + at, job->high + at);
        job->groups = nullptr;
        job->upper = true;
    }

    // p . v -> out u8 [rows, d] of stride ldo. v: this head's, or that of the one before. *before as for
    // logits; the last panel's accumulators, in acc [tile_rows][tile_cols], are left in it.
    void context(const PackedNode& node, const ShiftmaxRows& p, const int8_t* v, uint8_t* out, int64_t ldo,
                 int32_t* acc, Finish* before) {
        const int64_t t4 = (tokens_ + 3) / 4;
        const UpperBytes high{p.high, p.groups};
        for (int64_t c = 0; c < d_; c += tile_cols) {
            // Where no p has an upper byte, half the work is not there.
            k_.gemm_tile(p.low, p.upper ? &high : nullptr, rows_stride_, v + c * t4 * 4, t4, zeros, p.rows,
                         width_of(d_, c / tile_cols), acc, *before);
            before->to = Finish::To::u8;
            before->acc = acc;
            before->rows = p.rows;
            before->cols = cols_of(d_, c / tile_cols);
            node.requant.at(0, &before->q);
            if (before->q.lift) k_.lift(acc, p.rows, before->cols, before->q.lift);
            before->table = nullptr;
            before->u8 = out + c;
            before->ld = ldo;
            if (c + tile_cols >= d_) break;
            finish(k_, *before);
            before->to = Finish::To::nothing;
        }
    }

    int64_t rows_stride() const { return rows_stride_; }

  private:
    const Kernels& k_;
    Scratch& s_;
    HeadPanels panels_;
    int64_t tokens_, d_, ld_;
    const uint8_t* q_;
    int64_t rows_stride_;
};

// Calls block(picture, head, row, rows) for blocks of rows first..last of one head.
template <typename Block>
void blocks_of(int64_t picture, int64_t head, int64_t first, int64_t last, const Block& block) {
    // As even as can be, the larger ones first: each change costs a branch that nobody foresees.
    const int64_t count = (last - first + tile_rows - 1) / tile_rows;
    const int64_t least = count ? (last - first) / count : 0, larger = count ? (last - first) % count : 0;
    for (int64_t b = 0, row = first; b < count; ++b) {
        const int rows = static_cast<int>(least + (b < larger));
        block(picture, head, row, rows);
        row += rows;
    }
}

// Calls rows(picture, first, last) for the rows of each picture that a linear step's part has.
template <typename Rows>
void pictures_of(const Context& ctx, const Heads& shape, int part, const Rows& rows) {
    const int64_t count = shape.batch * shape.tokens, parts = ctx.pool.size();
    int64_t at = count * part / parts;
    const int64_t end = count * (part + 1) / parts;
    while (at < end) {
        const int64_t picture = at / shape.tokens, row = at % shape.tokens;
        const int64_t last = std::min(end, (picture + 1) * shape.tokens) - picture * shape.tokens;
        rows(picture, row, last);
        at += last - row;
    }
}

// Calls block(picture, head, row, rows) for all of these, head by head.
template <typename Block>
void blocks_by_rows(const Context& ctx, const Heads& shape, int part, const Block& block) {
    pictures_of(ctx, shape, part, [&](int64_t picture, int64_t first, int64_t last) {
        for (int64_t head = 0; head < shape.heads; ++head) blocks_of(picture, head, first, last, block);
    });
}

// The same for a part that is rows of heads, with start(picture, head) before the first block of each head.
template <typename Start, typename Block>
void blocks_by_heads(const Context& ctx, const Heads& shape, int part, const Start& start,
                     const Block& block) {
    const int64_t rows = shape.batch * shape.tokens, parts = ctx.pool.size();
    int64_t at = rows * shape.heads * part / parts;
    const int64_t end = rows * shape.heads * (part + 1) / parts;
    while (at < end) {
        const int64_t head = at / shape.tokens, row = at % shape.tokens;
        const int64_t stop = std::min(end, (head + 1) * shape.tokens) - head * shape.tokens;
        start(head / shape.heads, head % shape.heads);
        blocks_of(head / shape.heads, head % shape.heads, row, stop, block);
        at += stop - row;
    }
}

template <typename Start, typename Block>
void for_all_blocks(const Context& ctx, const Heads& shape, const Start& start, const Block& block) {
    const auto job = [&](int part) { blocks_by_heads(ctx, shape, part, start, block); };
    ctx.pool.run(ctx.pool.size(), std::ref(job));
}

}  // namespace

void reserve_attention(std::vector<Scratch>& scratch, int64_t tokens, int64_t d) {
    for (Scratch& s : scratch) {
        s.head.grow({1, tokens, d, 1});
        s.accs.grow(2 * tile_rows * tile_cols);
        s.logits.grow(tile_rows * rounded(tokens, 64));
        s.wide_logits.grow(tile_rows * rounded(tokens, 64));
        for (int side = 0; side < 2; ++side) {
            s.low[side].grow(tile_rows * rounded(tokens, 64));
            s.high[side].grow(tile_rows * rounded(tokens, 64));
            s.groups[side].grow(tile_rows * group_words(rounded(tokens, 64)));
        }
    }
}

void pack_heads_part(const Context& ctx, const Heads& shape, const uint8_t* qkv, KeysValues* panels,
                     int part) {
    const int64_t ld = 3 * shape.C;
    pictures_of(ctx, shape, part, [&](int64_t picture, int64_t first, int64_t last) {
        for (int64_t head = 0; head < shape.heads; ++head) {
            const HeadPanels to = panels->head(shape, picture * shape.heads + head);
            const uint8_t* k = qkv + picture * shape.tokens * ld + shape.C + head * shape.d();
            pack_k(ctx.kernels, shape, k, ld, first, last, to);
            pack_v(ctx.kernels, shape, k + shape.C, ld, first, last, to);
        }
    });
}

// One block behind the other: the products of one run beside Shiftmax of the next and the requantization of
// the one before.
void attention_part(const Context& ctx, const Heads& shape, const PackedNode& logits,
                    const PackedNode& softmax, const PackedNode& context, const uint8_t* qkv,
                    KeysValues* panels, uint8_t* out, int part) {
    const int64_t ld = 3 * shape.C;
    alignas(64) int32_t acc[tile_rows * tile_cols];
    ShiftmaxRows p[2];
    p[0].q = p[1].q = softmax.shiftmax();
    // The block before: where its rows go, and v of its head.
    uint8_t* to = nullptr;
    const int8_t* v = nullptr;
    Finish before;
    int side = 0;  // of the block at hand
    const auto block = [&](Head& head, int64_t b, int64_t h, int64_t row, int rows) {
        head.logits(logits, row, rows, &before);
        head.softmax(softmax, rows, side, &p[side], &before);
        if (to) {
            head.context(context, p[1 - side], v, to, shape.C, acc, &before);
        } else {
            finish(ctx.kernels, before);
            before.to = Finish::To::nothing;
        }
        to = out + (b * shape.tokens + row) * shape.C + h * shape.d();
        side = 1 - side;
    };
    const auto head_of = [&](int64_t b, int64_t h, const HeadPanels& of) {
        return Head(ctx, shape, qkv + b * shape.tokens * ld, h, of);
    };
    if (panels) {
        blocks_by_rows(ctx, shape, part, [&](int64_t b, int64_t h, int64_t row, int rows) {
            const HeadPanels of = panels->head(shape, b * shape.heads + h);
            Head head = head_of(b, h, of);
            block(head, b, h, row, rows);
            v = of.v;
        });
    } else {
        const HeadPanels of = own_panels(ctx, shape);
        bool pack = false;  // v waits until the last block of the head before has read its own
        v = of.v;
        blocks_by_heads(
            ctx, shape, part,
            [&](int64_t b, int64_t h) {
                pack_k(ctx.kernels, shape, qkv + b * shape.tokens * ld + shape.C + h * shape.d(), ld, 0,
                       shape.tokens, of);
                pack = true;
            },
            [&](int64_t b, int64_t h, int64_t row, int rows) {
                Head head = head_of(b, h, of);
                block(head, b, h, row, rows);
                if (pack)
                    pack_v(ctx.kernels, shape, qkv + b * shape.tokens * ld + 2 * shape.C + h * shape.d(), ld,
                           0, shape.tokens, of);
                pack = false;
            });
    }
    if (!to) return;
    head_of(0, 0, {}).context(context, p[1 - side], v, to, shape.C, acc, &before);
    finish(ctx.kernels, before);
}

void attention_logits(const Context& ctx, const Heads& shape, const PackedNode& logits, const uint8_t* qkv,
                      int32_t* out) {
    const bool wide = logits.quant->out.bits > 8;
    for_all_blocks(
        ctx, shape,
        [&](int64_t, int64_t h) {
            pack_k(ctx.kernels, shape, qkv + shape.C + h * shape.d(), 3 * shape.C, 0, shape.tokens,
                   own_panels(ctx, shape));
        },
        [&](int64_t, int64_t h, int64_t row, int rows) {
            Head head(ctx, shape, qkv, h, own_panels(ctx, shape));
            Finish before;
            head.logits(logits, row, rows, &before);
            const Scratch& s = ctx.mine();
            for (int r = 0; r < rows; ++r)
                for (int64_t j = 0; j < shape.tokens; ++j) {
                    const int64_t at = r * head.rows_stride() + j;
                    out[(h * shape.tokens + row + r) * shape.tokens + j] =
                        wide ? s.wide_logits[at] : s.logits[at] - 128;
                }
        });
}

void attention_softmax(const Context& ctx, const Heads& shape, const PackedNode& softmax,
                       const int32_t* logits, int32_t* p) {
    const bool wide = softmax.logit_bits > 8;
    for_all_blocks(
        ctx, shape, [](int64_t, int64_t) {},
        [&](int64_t, int64_t h, int64_t row, int rows) {
            Head head(ctx, shape, nullptr, 0, {});
            Scratch& s = ctx.mine();
            const int64_t first = (h * shape.tokens + row) * shape.tokens;
            for (int r = 0; r < rows; ++r)
                for (int64_t j = 0; j < shape.tokens; ++j) {
                    const int32_t x = logits[first + r * shape.tokens + j];
                    if (wide)
                        s.wide_logits[r * head.rows_stride() + j] = static_cast<int16_t>(x);
                    else
                        s.logits[r * head.rows_stride() + j] = static_cast<uint8_t>(x + 128);
                }
            ShiftmaxRows job;
            job.q = softmax.shiftmax();
            Finish before;
            head.softmax(softmax, rows, 0, &job, &before);
            finish(ctx.kernels, before);
            for (int r = 0; r < rows; ++r)
                for (int64_t j = 0; j < shape.tokens; ++j) {
                    const int64_t at = r * head.rows_stride() + j;
                    p[first + r * shape.tokens + j] = job.low[at] + (job.upper ? job.high[at] * 256 : 0);
                }
        });
}

void attention_context(const Context& ctx, const Heads& shape, const PackedNode& context, const int32_t* p,
                       const uint8_t* qkv, int32_t* out) {
    const int64_t N = shape.tokens, C = shape.C, d = shape.d();
    const QuantNode& q = *context.quant;
    for_all_blocks(
        ctx, shape,
        [&](int64_t, int64_t h) {
            pack_v(ctx.kernels, shape, qkv + 2 * C + h * d, 3 * C, 0, N, own_panels(ctx, shape));
        },
        [&](int64_t, int64_t h, int64_t row, int rows) {
            const HeadPanels panels = own_panels(ctx, shape);
            Head head(ctx, shape, qkv, h, panels);
            Scratch& s = ctx.mine();
            const int32_t* from = p + (h * N + row) * N;
            int64_t sums[tile_rows] = {};
            for (int r = 0; r < rows; ++r)
                for (int64_t j = 0; j < N; ++j) {
                    const int32_t x = from[r * N + j];
                    s.low[0][r * head.rows_stride() + j] = static_cast<uint8_t>(x);
                    s.high[0][r * head.rows_stride() + j] = static_cast<uint8_t>(x >> 8);
                    sums[r] += x;
                }
            std::vector<uint8_t> y(static_cast<size_t>(rows * d));
            alignas(64) int32_t tile[tile_rows * tile_cols];
            ShiftmaxRows both;
            both.rows = rows;
            both.low = s.low[0].data();
            both.high = s.high[0].data();
            both.upper = true;
            Finish before;
            head.context(context, both, panels.v, y.data(), d, tile, &before);
            finish(ctx.kernels, before);
            for (int r = 0; r < rows; ++r)
                for (int64_t c = 0; c < d; ++c) {
                    int32_t& to = out[(row + r) * C + h * d + c];
                    to = y[static_cast<size_t>(r * d + c)] - 128;
                    // Shiftmax rows sum to 2^15 at most; those from elsewhere may pass what 32 bits
                    // accumulate.
                    if (sums[r] < int64_t{1} << 23) continue;
                    int64_t acc = 0;
                    for (int64_t j = 0; j < N; ++j)
                        acc += static_cast<int64_t>(from[r * N + j]) *
                               (qkv[j * 3 * C + 2 * C + h * d + c] - 128);
                    to = arith::requant(acc, q.m[0], q.s[0], q.out.bits);
                }
        });
}

}  // namespace ivit::cpu
