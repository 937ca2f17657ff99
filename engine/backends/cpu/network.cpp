// SPDX-License-Identifier: Apache-2.0
// A network as a list of steps, each a run of neighbouring nodes that execute as one. A step whose inner
// nodes are asked for, or are not in integers, executes node by node instead; the results are the same.
#include "engine/backends/cpu/network.h"

#include <algorithm>
#include <chrono>

#include "engine/arithmetic.h"
#include "engine/backends/cpu/ops.h"
#include "engine/backends/integer_node.h"
#include "engine/error.h"

namespace ivit::cpu {
namespace {

double now_ms() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// What a node's output is stored as between steps.
enum class Kind { u8, i16, i32 };

Kind kind_of(const Node& n) {
    switch (n.op) {
        case Op::layernorm:
        case Op::attn_context:
        case Op::gelu:
            return Kind::u8;
        case Op::linear:
            return n.to_residual ? Kind::i32 : Kind::u8;
        case Op::patch_embed:
        case Op::pos_embed:
        case Op::residual_add:
            return Kind::i16;
        default:
            return Kind::i32;
    }
}

// A buffer several nodes use one after another. [batch, elements] of whichever kind.
struct Slot {
    Kind kind;
    int64_t elements = 0;  // a picture
    Buffer<uint8_t> u8;
    Buffer<int16_t> i16;
    Buffer<int32_t> i32;
};

// Nodes first..last. fused: which of the functions below runs them all at once.
enum class Fused { none, patches, norm_linear, linear_add, attention };
struct Step {
    Fused fused;
    int first, last;
};

std::vector<int32_t> widen(const Slot& slot, int64_t first, int64_t count) {
    std::vector<int32_t> out(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
        const int64_t at = first + i;
        out[static_cast<size_t>(i)] = slot.kind == Kind::u8    ? slot.u8[at] - 128
                                      : slot.kind == Kind::i16 ? slot.i16[at]
                                                               : slot.i32[at];
    }
    return out;
}

void narrow(const std::vector<int32_t>& from, int64_t first, Slot* slot) {
    for (size_t i = 0; i < from.size(); ++i) {
        const int64_t at = first + static_cast<int64_t>(i);
        if (slot->kind == Kind::u8)
            slot->u8[at] = static_cast<uint8_t>(from[i] + 128);
        else if (slot->kind == Kind::i16)
            slot->i16[at] = static_cast<int16_t>(from[i]);
        else
            slot->i32[at] = from[i];
    }
}

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

class CpuNetwork : public IntegerNetwork {
  public:
    CpuNetwork(std::shared_ptr<const QuantizedModel> model, const Kernels& kernels,
               std::shared_ptr<ThreadPool> pool, const CpuNetwork* previous)
        : model_(std::move(model)),
          pool_(std::move(pool)),
          scratch_(static_cast<size_t>(pool_->size())),
          ctx_{kernels, *pool_, scratch_},
          packed_(model_->nodes.size()) {
        const bool related = previous && previous->packed_.size() == packed_.size();
        const auto pack = [&](int i) {
            const auto at = static_cast<size_t>(i);
            packed_[at] = pack_node(*model_, i, related ? previous->packed_[at] : nullptr);
        };
        pool_->run(static_cast<int>(packed_.size()), pack);
        plan();
        assign_slots();
    }

    const Graph& graph() const override { return *model_->graph; }
    const QuantizedModel& model() const override { return *model_; }

    IntTensor run_node(int node, std::span<const IntTensor* const> inputs) override {
        return evaluate(node, inputs, {});
    }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        check_pixels(graph(), pixels, batch);
        const double start = now_ms();
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = "cpu";
        trace->batch = batch;
        reserve(batch);
        const auto wanted = [&](int i) {
            return !options.taps.empty() && options.taps[static_cast<size_t>(i)];
        };
        for (const Step& step : steps_) {
            if (options.stop.stop_requested()) throw Cancelled{};
            const double t0 = options.time_nodes ? now_ms() : 0;
            bool apart = step.fused == Fused::none;
            for (int i = step.first; i <= step.last; ++i)
                apart =
                    apart || (wanted(i) && i != step.last) || packed(i).quant->quant.mode != Mode::integer;
            if (apart)
                run_apart(step, pixels, batch, wanted, trace.get());
            else
                run_fused(step, pixels, batch);
            if (options.time_nodes) trace->timings.push_back({step.first, step.last, now_ms() - t0});
            if (!apart && wanted(step.last)) {
                trace->taps.push_back(empty_tap(step.last, batch));
                const Slot& slot = slot_of(step.last);
                trace->taps.back().integers.data = widen(slot, 0, batch * slot_elements(step.last));
            }
        }
        const int last = static_cast<int>(graph().nodes.size()) - 1;
        trace->logit_scale = packed(last).quant->out.scale[0];
        trace->integer_logits = widen(slot_of(last), 0, batch * slot_elements(last));
        trace->logits.reserve(trace->integer_logits.size());
        for (const int32_t v : trace->integer_logits)
            trace->logits.push_back(static_cast<float>(v * trace->logit_scale));
        trace->ms = now_ms() - start;
        return trace;
    }

  private:
    const Node& node(int i) const { return graph().nodes[static_cast<size_t>(i)]; }
    const PackedNode& packed(int i) const { return *packed_[static_cast<size_t>(i)]; }
    Slot& slot_of(int i) { return slots_[static_cast<size_t>(slot_index_[static_cast<size_t>(i)])]; }
    int64_t slot_elements(int i) const { return elements(node(i).shape); }

    // ---- At load ----

    // Whether node i reads node i - 1 and nothing else reads that.
    bool follows(int i, Op op) const {
        if (i >= static_cast<int>(graph().nodes.size()) || node(i).op != op) return false;
        return node(i).inputs[0] == i - 1 && graph().readers(i - 1).size() == 1;
    }

    void plan() {
        const int count = static_cast<int>(graph().nodes.size());
        for (int i = 0; i < count; i = steps_.back().last + 1) {
            const Op op = node(i).op;
            Step step{Fused::none, i, i};
            if (op == Op::input && follows(i + 1, Op::patch_embed) && follows(i + 2, Op::pos_embed))
                step = {Fused::patches, i, i + 2};
            else if (op == Op::layernorm && follows(i + 1, Op::linear) && !node(i + 1).to_residual)
                step = {Fused::norm_linear, i, follows(i + 2, Op::gelu) ? i + 2 : i + 1};
            else if (op == Op::layernorm && follows(i + 1, Op::head))
                step = {Fused::norm_linear, i, i + 1};
            else if (op == Op::attn_logits && follows(i + 1, Op::softmax) &&
                     follows(i + 2, Op::attn_context) && node(i).inputs[0] == node(i + 2).inputs[1])
                step = {Fused::attention, i, i + 2};
            else if (op == Op::linear && node(i).to_residual && follows(i + 1, Op::residual_add))
                step = {Fused::linear_add, i, i + 1};
            steps_.push_back(step);
        }
    }

    // A slot per step output, free again after the step that reads it last. A residual_add may write over the
    // old residual stream: it reads each element just before.
    void assign_slots() {
        slot_index_.assign(graph().nodes.size(), -1);
        std::vector<int> free_after;  // by slot: the last step's last node that reads it
        for (const Step& step : steps_) {
            const int i = step.last;
            const std::vector<int> readers = graph().readers(i);
            const int until = readers.empty() ? static_cast<int>(graph().nodes.size()) : readers.back();
            const bool in_place = step.fused == Fused::linear_add;
            size_t s = 0;
            while (s < slots_.size() && (slots_[s].kind != kind_of(node(i)) ||
                                         free_after[s] >= (in_place ? step.last + 1 : step.first)))
                ++s;
            if (s == slots_.size()) {
                slots_.push_back({kind_of(node(i)), 0, {}, {}, {}});
                free_after.push_back(0);
            }
            slots_[s].elements = std::max(slots_[s].elements, slot_elements(i));
            free_after[s] = until;
            slot_index_[static_cast<size_t>(i)] = static_cast<int>(s);
        }
    }

    // Everything a run of this batch needs; nothing is allocated when an earlier run was as large.
    void reserve(int batch) {
        if (batch <= reserved_) return;
        for (Slot& s : slots_) {
            if (s.kind == Kind::u8) s.u8.grow(batch * s.elements);
            if (s.kind == Kind::i16) s.i16.grow(batch * s.elements);
            if (s.kind == Kind::i32) s.i32.grow(batch * s.elements);
        }
        for (const Step& step : steps_) {
            if (step.fused == Fused::patches) {
                patches_.grow(batch * elements(node(step.first).shape));
                embedded_.grow(batch * slot_elements(step.first + 1));
            }
            if (step.fused == Fused::attention) {
                const Heads h = heads(step.last, batch);
                reserve_attention(scratch_, h.tokens, h.d());
            }
        }
        reserved_ = batch;
    }

    // ---- Fused ----

    Heads heads(int context, int batch) const {
        const Node& n = node(context);
        return {batch, n.rows(), n.cols(), n.heads};
    }

    void run_fused(const Step& step, std::span<const uint8_t> pixels, int batch) {
        Slot& out = slot_of(step.last);
        const Node& n = node(step.first);
        Linear l;
        switch (step.fused) {
            case Fused::patches: {
                const Node& patch = node(step.first + 1);
                const int64_t tokens = node(step.last).rows(), C = node(step.last).cols();
                gather_patches(ctx_, packed(step.first).quant->table.data(), pixels.data(), batch,
                               graph().image_size, patch.patch, patches_.data());
                l.linear = &packed(step.first + 1);
                l.rows = batch * patch.rows();
                l.x = patches_.data();
                l.ldx = l.linear->panels->K;
                l.i16 = embedded_.data();
                linear(ctx_, l);
                add_positions(ctx_, packed(step.last), embedded_.data(), batch, tokens, C, out.i16.data());
                break;
            }
            case Fused::norm_linear: {
                const int64_t tokens = node(n.inputs[0]).rows(), C = n.cols();
                l.linear = &packed(step.first + 1);
                l.rows = batch * n.rows();
                l.norm = &packed(step.first);
                l.t = slot_of(n.inputs[0]).i16.data();
                l.ldt = n.rows() == tokens ? C : tokens * C;
                if (node(step.last).op == Op::gelu) l.gelu = &packed(step.last);
                if (node(step.last).op == Op::head)
                    l.i32 = out.i32.data();
                else
                    l.u8 = out.u8.data();
                linear(ctx_, l);
                break;
            }
            case Fused::linear_add:
                l.linear = &packed(step.first);
                l.rows = batch * n.rows();
                l.x = slot_of(n.inputs[0]).u8.data();
                l.ldx = l.linear->panels->K;
                l.i16 = out.i16.data();
                l.add = &packed(step.last);
                l.old = slot_of(node(step.last).inputs[1]).i16.data();
                linear(ctx_, l);
                break;
            case Fused::attention:
                attention(ctx_, heads(step.last, batch), packed(step.first), packed(step.first + 1),
                          packed(step.last), slot_of(n.inputs[0]).u8.data(), out.u8.data());
                break;
            case Fused::none:
                break;
        }
    }

    // ---- Node by node ----

    Tap empty_tap(int i, int batch) const {
        Tap tap;
        tap.node = i;
        tap.integers.grid = packed(i).quant->out;
        tap.integers.shape = node(i).shape;
        tap.integers.shape.insert(tap.integers.shape.begin(), batch);
        return tap;
    }

    template <typename Wanted>
    void run_apart(const Step& step, std::span<const uint8_t> pixels, int batch, const Wanted& wanted,
                   Trace* trace) {
        const size_t first_tap = trace->taps.size(), picture = pixels.size() / static_cast<size_t>(batch);
        for (int i = step.first; i <= step.last; ++i)
            if (wanted(i)) trace->taps.push_back(empty_tap(i, batch));
        for (int b = 0; b < batch; ++b) {
            std::vector<IntTensor> outputs(static_cast<size_t>(step.last - step.first + 1));
            size_t tap = first_tap;
            for (int i = step.first; i <= step.last; ++i) {
                std::vector<IntTensor> read;
                read.reserve(node(i).inputs.size());
                std::vector<const IntTensor*> inputs;
                for (const int in : node(i).inputs) {
                    if (in >= step.first) {
                        inputs.push_back(&outputs[static_cast<size_t>(in - step.first)]);
                        continue;
                    }
                    read.push_back({node(in).shape,
                                    widen(slot_of(in), b * slot_elements(in), slot_elements(in)),
                                    packed(in).quant->out});
                    inputs.push_back(&read.back());
                }
                IntTensor& out = outputs[static_cast<size_t>(i - step.first)];
                out = evaluate(i, inputs, pixels.subspan(static_cast<size_t>(b) * picture, picture));
                if (wanted(i)) {
                    auto& kept = trace->taps[tap++].integers.data;
                    kept.insert(kept.end(), out.data.begin(), out.data.end());
                }
            }
            narrow(outputs.back().data, b * slot_elements(step.last), &slot_of(step.last));
        }
    }

    // One node, one picture, with the same kernels.
    IntTensor evaluate(int i, std::span<const IntTensor* const> inputs, std::span<const uint8_t> pixels) {
        const Node& n = node(i);
        const PackedNode& p = packed(i);
        const QuantNode& q = *p.quant;
        if (q.quant.mode != Mode::integer) return run_non_integer(*model_, i, inputs, pixels);
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
                                x[at++] =
                                    static_cast<uint8_t>(inputs[0]->data[static_cast<size_t>(
                                                             (c * side + r / across * patch + y) * side +
                                                             r % across * patch + dx)] +
                                                         128);
                Buffer<int16_t> y(count);
                Linear l;
                l.linear = &p;
                l.rows = rows;
                l.x = x.data();
                l.ldx = p.panels->K;
                l.i16 = y.data();
                linear(ctx_, l);
                from_i16(y, &out.data);
                break;
            }
            case Op::pos_embed: {
                Buffer<int16_t> x = to_i16(*inputs[0]), y(count);
                add_positions(ctx_, p, x.data(), 1, rows, C, y.data());
                from_i16(y, &out.data);
                break;
            }
            case Op::layernorm: {
                Buffer<int16_t> x = to_i16(*inputs[0]);
                Buffer<uint8_t> y(count);
                layernorm(ctx_, p, x.data(), C, rows, C, y.data());
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
                linear(ctx_, l);
                if (l.u8) from_u8(y, &out.data);
                break;
            }
            case Op::attn_logits: {
                const Heads h{1, rows, inputs[0]->channels() / 3, n.heads};
                reserve_attention(scratch_, h.tokens, h.d());
                attention_logits(ctx_, h, p, to_u8(*inputs[0]).data(), out.data.data());
                break;
            }
            case Op::softmax: {
                const int64_t heads = count / rows / C;
                reserve_attention(scratch_, rows, 1);
                attention_softmax(ctx_, {1, rows, heads, heads}, p, inputs[0]->data.data(), out.data.data());
                break;
            }
            case Op::attn_context: {
                const Heads h{1, rows, C, n.heads};
                reserve_attention(scratch_, h.tokens, h.d());
                attention_context(ctx_, h, p, inputs[0]->data.data(), to_u8(*inputs[1]).data(),
                                  out.data.data());
                break;
            }
            case Op::gelu: {
                Buffer<uint8_t> x = to_u8(*inputs[0]);
                gelu_rows(ctx_, p, x.data(), rows, C);
                from_u8(x, &out.data);
                break;
            }
            case Op::residual_add: {
                Buffer<int16_t> t = to_i16(*inputs[1]), y(count);
                residual_add(ctx_, p, inputs[0]->data.data(), t.data(), rows, C, y.data());
                from_i16(y, &out.data);
                break;
            }
        }
        return out;
    }

    std::shared_ptr<const QuantizedModel> model_;
    std::shared_ptr<ThreadPool> pool_;
    std::vector<Scratch> scratch_;
    Context ctx_;
    std::vector<std::shared_ptr<const PackedNode>> packed_;  // by node
    std::vector<Step> steps_;
    std::vector<Slot> slots_;
    std::vector<int> slot_index_;  // by node; -1 inside a step
    Buffer<uint8_t> patches_;      // [batch, patches, 3 * p * p]
    Buffer<int16_t> embedded_;     // [batch, patches, C]
    int reserved_ = 0;             // the largest batch so far
};

class CpuBackend : public Backend {
  public:
    CpuBackend(int threads, Isa isa) : pool_(ThreadPool::get(threads)), isa_(isa) {}
    BackendInfo info() const override { return {"cpu", cpu_name(), to_string(isa_), pool_->size()}; }
    std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                         IntegerNetwork* previous) override {
        return std::make_unique<CpuNetwork>(std::move(model), kernels(isa_), pool_,
                                            dynamic_cast<const CpuNetwork*>(previous));
    }
    double measure_peak() override {
        const Kernels& k = kernels(isa_);
        if (!k.multiply_only) return 0;
        // Every thread the same share, the best of several times: what disturbs can only make it slower.
        constexpr int64_t rounds = 200000;
        double best = 0;
        std::atomic<int32_t> sink = 0;
        for (int i = 0; i < 24; ++i) {
            const double start = now_ms();
            pool_->run(pool_->size(), [&](int) { sink += k.multiply_only(rounds); });
            const double macs = static_cast<double>(rounds) * k.macs_per_round * pool_->size();
            best = std::max(best, macs / (now_ms() - start) * 1e3);
        }
        return best;
    }

  private:
    std::shared_ptr<ThreadPool> pool_;
    Isa isa_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(int threads, Isa isa) {
    return std::make_unique<CpuBackend>(threads, isa);
}

}  // namespace ivit::cpu
