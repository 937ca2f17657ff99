// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cpu/one_node.h"

#include <algorithm>

#include "engine/arithmetic.h"
#include "engine/backends/integer_node.h"

namespace ivit::cpu {
namespace {

Buffer<uint8_t> to_u8(const IntTensor& x) {
    Buffer<uint8_t> out(static_cast<int64_t>(x.data.size()));
    for (size_t i = 0; i < x.data.size(); ++i)
        out[static_cast<int64_t>(i)] = static_cast<uint8_t>(x.data[i] + 128);
    return out;
}

Buffer<int16_t> to_i16(const IntTensor& x) {
    Buffer<int16_t> out(static_cast<int64_t>(x.data.size()));
    for (size_t i = 0; i < x.data.size(); ++i) out[static_cast<int64_t>(i)] = static_cast<int16_t>(x.data[i]);
    return out;
}

void from_u8(const Buffer<uint8_t>& x, std::vector<int32_t>* out) {
    for (size_t i = 0; i < out->size(); ++i) (*out)[i] = x[static_cast<int64_t>(i)] - 128;
}

void from_i16(const Buffer<int16_t>& x, std::vector<int32_t>* out) {
    for (size_t i = 0; i < out->size(); ++i) (*out)[i] = x[static_cast<int64_t>(i)];
}

// What the node's own functions below work on.
struct Job {
    const Context& ctx;
    const Node& n;
    const PackedNode& p;
    std::span<const IntTensor* const> in;
    std::vector<int32_t>& out;  // [rows, cols]; heads times that for the logits and the softmax
    int64_t rows = n.rows(), cols = n.cols(), count = static_cast<int64_t>(out.size());
};

void input(const Job& j, std::span<const uint8_t> pixels) {
    const auto& table = j.p.quant->table;  // [3, 256]
    const int64_t plane = j.count / 3;
    for (int64_t c = 0; c < 3; ++c)
        for (int64_t i = 0; i < plane; ++i)
            j.out[static_cast<size_t>(c * plane + i)] =
                table[static_cast<size_t>(c * 256) + pixels[static_cast<size_t>(i * 3 + c)]];
}

// [3, side, side] to [patches, 3 * patch * patch], + 128.
Buffer<uint8_t> patches(const IntTensor& x, int64_t rows, int64_t patch) {
    const int64_t side = x.shape[2], across = side / patch;
    Buffer<uint8_t> out(static_cast<int64_t>(x.data.size()));
    int64_t at = 0;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < 3; ++c)
            for (int64_t y = 0; y < patch; ++y)
                for (int64_t dx = 0; dx < patch; ++dx)
                    out[at++] = static_cast<uint8_t>(
                        x.data[static_cast<size_t>((c * side + r / across * patch + y) * side +
                                                   r % across * patch + dx)] +
                        128);
    return out;
}

// The node's matrix times x [rows, K], on x + 128; where the result goes is for the caller to say.
Linear product(const Job& j, const Buffer<uint8_t>& x) {
    Linear l;
    l.linear = &j.p;
    l.rows = j.rows;
    l.x = x.data();
    l.ldx = j.p.panels->K;
    return l;
}

void patch_embed(const Job& j) {
    const Buffer<uint8_t> x = patches(*j.in[0], j.rows, j.n.patch);
    Buffer<int16_t> y(j.count);
    Linear l = product(j, x);
    l.i16 = y.data();
    linear(j.ctx, l);
    from_i16(y, &j.out);
}

void pos_embed(const Job& j) {
    const Buffer<int16_t> x = to_i16(*j.in[0]);
    Buffer<int16_t> y(j.count);
    std::copy_n(x.data(), j.count - j.cols, y.data() + j.cols);
    add_positions(j.ctx.kernels, j.p, 0, j.rows, j.rows, 0, j.cols, y.data());
    from_i16(y, &j.out);
}

void layernorm(const Job& j) {
    const Buffer<int16_t> x = to_i16(*j.in[0]);
    Buffer<uint8_t> y(j.count);
    cpu::layernorm(j.ctx, j.p, x.data(), j.cols, j.rows, j.cols, y.data());
    from_u8(y, &j.out);
}

void linear_or_head(const Job& j) {
    const Buffer<uint8_t> x = to_u8(*j.in[0]);
    Buffer<uint8_t> y(j.count);
    Linear l = product(j, x);
    l.accumulator = j.n.to_residual;
    if (j.n.to_residual || j.n.op == Op::head)
        l.i32 = j.out.data();
    else
        l.u8 = y.data();
    linear(j.ctx, l);
    if (l.u8) from_u8(y, &j.out);
}

void attn_logits(const Job& j) {
    const Heads h{1, j.rows, j.in[0]->channels() / 3, j.n.heads};
    reserve_attention(j.ctx.scratch, h.tokens, h.d());
    attention_logits(j.ctx, h, j.p, to_u8(*j.in[0]).data(), j.out.data());
}

void softmax(const Job& j) {
    const int64_t heads = j.count / j.rows / j.cols;
    reserve_attention(j.ctx.scratch, j.rows, 1);
    attention_softmax(j.ctx, {1, j.rows, heads, heads}, j.p, j.in[0]->data.data(), j.out.data());
}

void attn_context(const Job& j) {
    const Heads h{1, j.rows, j.cols, j.n.heads};
    reserve_attention(j.ctx.scratch, h.tokens, h.d());
    attention_context(j.ctx, h, j.p, j.in[0]->data.data(), to_u8(*j.in[1]).data(), j.out.data());
}

void gelu(const Job& j) {
    Buffer<uint8_t> x = to_u8(*j.in[0]);
    gelu_rows(j.ctx, j.p, x.data(), j.rows, j.cols);
    from_u8(x, &j.out);
}

void add_residual(const Job& j) {
    const Buffer<int16_t> t = to_i16(*j.in[1]);
    Buffer<int16_t> y(j.count);
    residual_add(j.ctx, j.p, j.in[0]->data.data(), t.data(), j.rows, j.cols, y.data());
    from_i16(y, &j.out);
}

}  // namespace

IntTensor run_one_node(const Context& ctx, const QuantizedModel& model, int i, const PackedNode& p,
                       std::span<const IntTensor* const> inputs, std::span<const uint8_t> pixels) {
    const Node& n = model.graph->nodes[static_cast<size_t>(i)];
    if (p.quant->quant.mode != Mode::integer) return run_non_integer(model, i, inputs, pixels);
    IntTensor out{n.shape, std::vector<int32_t>(static_cast<size_t>(elements(n.shape))), p.quant->out};
    const Job job{ctx, n, p, inputs, out.data};
    switch (n.op) {
        case Op::input:
            input(job, pixels);
            break;
        case Op::patch_embed:
            patch_embed(job);
            break;
        case Op::pos_embed:
            pos_embed(job);
            break;
        case Op::layernorm:
            layernorm(job);
            break;
        case Op::linear:
        case Op::head:
            linear_or_head(job);
            break;
        case Op::attn_logits:
            attn_logits(job);
            break;
        case Op::softmax:
            softmax(job);
            break;
        case Op::attn_context:
            attn_context(job);
            break;
        case Op::gelu:
            gelu(job);
            break;
        case Op::residual_add:
            add_residual(job);
            break;
    }
    return out;
}

}  // namespace ivit::cpu
