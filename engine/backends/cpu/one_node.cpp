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

}  // namespace

IntTensor run_one_node(const Context& ctx, const QuantizedModel& model, int i, const PackedNode& p,
                       std::span<const IntTensor* const> inputs, std::span<const uint8_t> pixels) {
    const Node& n = model.graph->nodes[static_cast<size_t>(i)];
    const QuantNode& q = *p.quant;
    if (q.quant.mode != Mode::integer) return run_non_integer(model, i, inputs, pixels);
    IntTensor out{n.shape, std::vector<int32_t>(static_cast<size_t>(elements(n.shape))), q.out};
    const int64_t count = elements(n.shape), rows = n.rows(), C = n.cols();
    switch (n.op) {
        case Op::input: {
            const int64_t plane = count / 3;
            for (int64_t c = 0; c < 3; ++c)
                for (int64_t j = 0; j < plane; ++j)
                    out.data[static_cast<size_t>(c * plane + j)] =
                        q.table[static_cast<size_t>(c * 256) + pixels[static_cast<size_t>(j * 3 + c)]];
            break;
        }
        case Op::patch_embed: {
            const int64_t side = inputs[0]->shape[2], patch = n.patch, across = side / patch;
            Buffer<uint8_t> x(static_cast<int64_t>(inputs[0]->data.size()));
            int64_t at = 0;
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t c = 0; c < 3; ++c)
                    for (int64_t y = 0; y < patch; ++y)
                        for (int64_t dx = 0; dx < patch; ++dx)
                            x[at++] = static_cast<uint8_t>(
                                inputs[0]->data[static_cast<size_t>(
                                    (c * side + r / across * patch + y) * side + r % across * patch + dx)] +
                                128);
            Buffer<int16_t> y(count);
            Linear l;
            l.linear = &p;
            l.rows = rows;
            l.x = x.data();
            l.ldx = p.panels->K;
            l.i16 = y.data();
            linear(ctx, l);
            from_i16(y, &out.data);
            break;
        }
        case Op::pos_embed: {
            Buffer<int16_t> x = to_i16(*inputs[0]), y(count);
            std::copy_n(x.data(), count - C, y.data() + C);
            add_positions(ctx.kernels, p, 0, rows, rows, 0, C, y.data());
            from_i16(y, &out.data);
            break;
        }
        case Op::layernorm: {
            Buffer<int16_t> x = to_i16(*inputs[0]);
            Buffer<uint8_t> y(count);
            layernorm(ctx, p, x.data(), C, rows, C, y.data());
            from_u8(y, &out.data);
            break;
        }
        case Op::linear:
        case Op::head: {
            Buffer<uint8_t> x = to_u8(*inputs[0]), y(count);
            Linear l;
            l.linear = &p;
            l.rows = rows;
            l.x = x.data();
            l.ldx = p.panels->K;
            l.accumulator = n.to_residual;
            if (n.to_residual || n.op == Op::head)
                l.i32 = out.data.data();
            else
                l.u8 = y.data();
            linear(ctx, l);
            if (l.u8) from_u8(y, &out.data);
            break;
        }
        case Op::attn_logits: {
            const Heads h{1, rows, inputs[0]->channels() / 3, n.heads};
            reserve_attention(ctx.scratch, h.tokens, h.d());
            attention_logits(ctx, h, p, to_u8(*inputs[0]).data(), out.data.data());
            break;
        }
        case Op::softmax: {
            const int64_t heads = count / rows / C;
            reserve_attention(ctx.scratch, rows, 1);
            attention_softmax(ctx, {1, rows, heads, heads}, p, inputs[0]->data.data(), out.data.data());
            break;
        }
        case Op::attn_context: {
            const Heads h{1, rows, C, n.heads};
            reserve_attention(ctx.scratch, h.tokens, h.d());
            attention_context(ctx, h, p, inputs[0]->data.data(), to_u8(*inputs[1]).data(), out.data.data());
            break;
        }
        case Op::gelu: {
            Buffer<uint8_t> x = to_u8(*inputs[0]);
            gelu_rows(ctx, p, x.data(), rows, C);
            from_u8(x, &out.data);
            break;
        }
        case Op::residual_add: {
            Buffer<int16_t> t = to_i16(*inputs[1]), y(count);
            residual_add(ctx, p, inputs[0]->data.data(), t.data(), rows, C, y.data());
            from_i16(y, &out.data);
            break;
        }
    }
    return out;
}

}  // namespace ivit::cpu
