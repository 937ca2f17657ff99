// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cpu/packed_node.h"

#include <algorithm>
#include <cstdlib>

#include "engine/arithmetic.h"

namespace ivit::cpu {
namespace {

int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Modulo 2^32, as the accumulators are.
int32_t without_bias_128(int32_t bias, int32_t sum) {
    return static_cast<int32_t>(static_cast<uint32_t>(bias) - 128u * static_cast<uint32_t>(sum));
}

void pack_layernorm(const QuantNode& q, int64_t C, PackedNode* p) {
    const int64_t padded = rounded(C, 16);
    p->m = Buffer<int32_t>(padded);
    p->shift = Buffer<int32_t>(padded);
    p->B = Buffer<int64_t>(padded);
    for (int64_t c = 0; c < C; ++c) {
        const auto i = static_cast<size_t>(c);
        int64_t B = q.B[i];
        int s = q.s[i];
        // gamma = 0 leaves a bias on a coarse grid: move it to one the vector kernels take.
        while (q.m[i] == 0 && s < 33 && B < int64_t{1} << 58 && B > -(int64_t{1} << 58)) {
            B *= 2;
            ++s;
        }
        p->upper = p->upper && s >= 33;
        p->m[c] = q.m[i];
        p->shift[c] = s - 32;
        p->B[(c & ~int64_t{15}) + (c & 1) * 8 + (c & 15) / 2] = B + (int64_t{1} << (s - 1));
    }
}

void pack_softmax(const QuantNode& q, PackedNode* p) {
    if (p->logit_bits > 12) return;
    const int64_t entries = std::max(256, 1 << p->logit_bits);
    p->e = Buffer<uint64_t>(entries);
    uint64_t top = 0;
    for (int64_t delta = 0; delta < entries; ++delta) {
        const int64_t x = -delta * (int64_t{1} << q.quant.shift.t);
        p->e[delta] = static_cast<uint64_t>(arith::shift_exp(x, q.i0, q.quant.shift.n));
        top = std::max(top, p->e[delta]);
    }
    if (p->logit_bits > 8 || top >> 32) return;
    p->planes.fill(p->e);
}

// arithmetic.md, ShiftGELU, pivot row: e depends on x - c alone and e0 on c alone, so a table for each c is
// cheap.
void pack_gelu_rows(const QuantNode& q, PackedNode* p) {
    const ShiftParams& shift = q.quant.shift;
    const int64_t scale = int64_t{1} << shift.t;
    int64_t e[257];
    for (int64_t delta = 0; delta <= 256; ++delta) e[delta] = arith::shift_exp(-delta * scale, q.i0, shift.n);
    p->table = Buffer<uint8_t>(128 * 256);
    for (int64_t c = 0; c < 128; ++c)
        for (int64_t x = -128; x <= c; ++x) {
            const int64_t f = arith::shift_reciprocal(e[c - x] + e[c], shift.M);
            const int64_t y = x * arith::shift_share(e[c - x], f, shift.M, shift.k);
            p->table[c * 256 + x + 128] =
                static_cast<uint8_t>(arith::requant(y, q.m[0], q.s[0], q.out.bits) + 128);
        }
}

// With the zero pivot each input has one output.
void pack_gelu_table(const QuantNode& q, PackedNode* p) {
    p->table = Buffer<uint8_t>(256);
    for (int64_t x = 0; x < 256; ++x)
        p->table[x] = static_cast<uint8_t>(q.table[static_cast<size_t>(x)] + 128);
}

void pack_constant(const std::vector<int32_t>& constant, PackedNode* p) {
    const auto count = static_cast<int64_t>(constant.size());
    const bool narrow =
        std::all_of(constant.begin(), constant.end(), [](int32_t c) { return c == static_cast<int16_t>(c); });
    if (narrow)
        p->constant.grow(count);
    else
        p->wide_constant.grow(count);
    for (int64_t i = 0; i < count; ++i) {
        const int32_t c = constant[static_cast<size_t>(i)];
        // Added to 16 bits and clamped to 16 bits, nothing past 17 bits can tell.
        if (narrow)
            p->constant[i] = static_cast<int16_t>(c);
        else
            p->wide_constant[i] = std::clamp(c, -65536, 65536);
    }
}

}  // namespace

void PackedNode::Planes::fill(const Buffer<uint64_t>& e) {
    constexpr int64_t distances = 256;
    uint64_t bits = 0;
    for (int64_t delta = 0; delta < distances; ++delta) bits |= e[delta];
    // e is at least 1. 16 bits stay: with the shift in it, 2^M / d must not pass 32.
    while (bits >> shift >> 16 && !(bits >> shift & 1)) ++shift;
    while (bits >> shift >> (8 * count)) ++count;
    bytes = Buffer<uint8_t>(count * distances);
    for (int b = 0; b < count; ++b)
        for (int64_t delta = 0; delta < distances; ++delta)
            bytes[b * distances + delta] = static_cast<uint8_t>(e[delta] >> shift >> (8 * b));
}

int Panels::width(int64_t p) const {
    return static_cast<int>(std::min<int64_t>(tile_cols, rounded(N - p * tile_cols, 16)));
}
int Panels::cols(int64_t p) const {
    return static_cast<int>(std::min<int64_t>(tile_cols, N - p * tile_cols));
}

int64_t panels_size(int64_t N, int64_t K) { return rounded(rounded(N, 16) * rounded(K, 4), 64); }

Panels pack_weights(const int8_t* weight, int64_t N, int64_t K, const Weights* from,
                    const std::shared_ptr<Arena>& arena) {
    Panels w;
    w.K = K;
    w.N = N;
    if (arena) w.data = arena->take(panels_size(N, K));
    if (w.data)
        w.arena = arena;
    else
        w.own.grow(panels_size(N, K)), w.data = w.own.data();
    w.sums.grow(rounded(N, tile_cols));
    for (int64_t p = 0; p < w.count(); ++p) {
        const int64_t width = w.width(p), cols = w.cols(p), whole = K / 4;
        int8_t* to = w.data + p * w.k4() * 4 * tile_cols;
        // 16 columns at a time: a cache line of the panel for each k, and 16 streams to read.
        for (int64_t first = 0; first < cols; first += 16)
            for (int64_t k = 0; k < w.k4(); ++k)
                for (int64_t c = first; c < std::min(first + 16, cols); ++c) {
                    const int8_t* four = weight + (p * tile_cols + c) * K + 4 * k;
                    std::memcpy(to + (k * width + c) * 4, four,
                                k < whole ? 4 : static_cast<size_t>(K - 4 * k));
                }
        for (int64_t c = 0; c < cols; ++c) {
            const int8_t* row = weight + (p * tile_cols + c) * K;
            int32_t sum = 0;
            for (int64_t k = 0; k < K; ++k) sum += row[k];
            w.sums[p * tile_cols + c] = sum;
        }
        if (from) from->let_go(static_cast<size_t>((p * tile_cols + cols) * K));
    }
    return w;
}

Requantizer::Requantizer(const int32_t* m, const int32_t* s, size_t count, int64_t N, int64_t lo, int64_t hi,
                         bool liftable)
    : m_(rounded(N, tile_cols)),
      shift_(rounded(N, tile_cols)),
      half_(rounded(N, tile_cols)),
      lift_(rounded(N, tile_cols)),
      lo_(static_cast<int32_t>(lo)),
      hi_(static_cast<int32_t>(hi)) {
    // Nothing times anything is nothing at any shift.
    const auto shift_of = [&](size_t i) { return m[i] == 0 ? 33 : s[i]; };
    // (acc 2^l m + 2^(s + l - 1)) >> (s + l) is the same number. An accumulator that 32 bits cannot hold then
    // has 2^31 / 2^l at least, and with |m| >= 2^30 and s >= 25 its product comes to 2^28 at least: past any
    // grid of 16 bits.
    for (size_t i = 0; i < count; ++i) {
        const bool low = shift_of(i) < 33;
        lifts_ = lifts_ || low;
        liftable = liftable && (!low || (s[i] >= 25 && std::abs(int64_t{m[i]}) >= int64_t{1} << 30));
    }
    lifts_ = lifts_ && liftable;
    for (int64_t c = 0; c < rounded(N, tile_cols); ++c) {
        const size_t i = count == 1 ? 0 : static_cast<size_t>(std::min(c, N - 1));
        lift_[c] = lifts_ ? std::max(0, 33 - shift_of(i)) : 0;
        const int32_t shift = shift_of(i) + lift_[c];
        m_[c] = c < N ? m[i] : 0;
        shift_[c] = shift - 32;
        half_[c] = shift >= 33 ? int32_t{1} << (shift - 33) : 0;
        upper_ = upper_ && shift >= 33;
    }
}

LayernormView PackedNode::layernorm() const {
    return {m.data(),
            shift.data(),
            B.data(),
            static_cast<int32_t>(quant->out.low()),
            static_cast<int32_t>(quant->out.high()),
            upper};
}

ShiftmaxView PackedNode::shiftmax() const {
    return {e.data(), planes.view(), quant->quant.shift.M, quant->quant.shift.k};
}

namespace {

void pack_linear(const Node& n, const QuantNode& q, const PackedNode* previous,
                 const std::shared_ptr<Arena>& arena, PackedNode* p) {
    const int64_t N = n.cols(), K = static_cast<int64_t>(q.weight.size()) / N;
    if (previous && previous->panels && previous->quant->weight == q.weight)
        p->panels = previous->panels;
    else
        p->panels = std::make_shared<Panels>(pack_weights(q.weight.data(), N, K, &q.weight, arena));
    q.weight.let_go();
    p->init = Buffer<int32_t>(rounded(N, tile_cols));
    for (int64_t c = 0; c < N; ++c)
        p->init[c] = without_bias_128(q.bias[static_cast<size_t>(c)], p->panels->sums[c]);
    if (!n.to_residual)
        p->requant = Requantizer(q.m.data(), q.s.data(), q.m.size(), N, q.out.low(), q.out.high());
}

}  // namespace

std::shared_ptr<const PackedNode> pack_node(const QuantizedModel& model, int node,
                                            const std::shared_ptr<const PackedNode>& previous,
                                            const std::shared_ptr<Arena>& arena) {
    const auto at = static_cast<size_t>(node);
    const Node& n = model.graph->nodes[at];
    const QuantNode& q = *model.nodes[at];
    // The width of the logits is the one thing a packing takes from another node.
    const int logit_bits = n.op == Op::softmax ? model.nodes[static_cast<size_t>(n.inputs[0])]->out.bits : 0;
    if (previous && previous->quant == model.nodes[at] && previous->logit_bits == logit_bits) return previous;
    auto p = std::make_shared<PackedNode>();
    p->quant = model.nodes[at];
    p->logit_bits = logit_bits;
    const int64_t N = n.cols();
    if (q.quant.mode != Mode::integer) return p;  // run by run_non_integer()
    switch (n.op) {
        case Op::linear:
        case Op::patch_embed:
        case Op::head:
            pack_linear(n, q, previous.get(), arena, p.get());
            break;
        case Op::attn_logits:
        case Op::attn_context:
            // One ratio for every column of a tile.
            p->requant = Requantizer(q.m.data(), q.s.data(), 1, tile_cols, q.out.low(), q.out.high());
            break;
        case Op::residual_add:
            // What the old stream adds stays far below 2^28.
            p->requant =
                Requantizer(q.m.data(), q.s.data(), q.m.size(), N, q.out.low(), q.out.high(), q.st >= 30);
            break;
        case Op::layernorm:
            pack_layernorm(q, N, p.get());
            break;
        case Op::softmax:
            pack_softmax(q, p.get());
            break;
        case Op::gelu:
            if (q.quant.shift.row_pivot)
                pack_gelu_rows(q, p.get());
            else
                pack_gelu_table(q, p.get());
            break;
        case Op::pos_embed:
            pack_constant(q.constant, p.get());
            break;
        case Op::input:
            break;
    }
    return p;
}

}  // namespace ivit::cpu
