// SPDX-License-Identifier: Apache-2.0
// A network as steps (steps.h). A step whose inner nodes are asked for, or are not in integers, executes node
// by node; the results are the same. All others run one behind the other on every thread, which waits for the
// others only where it reads what they wrote: at best once a block, before attention.
#include "engine/backends/cpu/network.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "engine/backends/cpu/one_node.h"
#include "engine/backends/cpu/steps.h"
#include "engine/backends/integer_node.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace ivit::cpu {
namespace {

// How many steps a thread has finished.
struct alignas(64) Progress {
    std::atomic<int> steps{0};
};

class CpuNetwork : public IntegerNetwork {
  public:
    CpuNetwork(std::shared_ptr<const QuantizedModel> model, const Kernels& kernels,
               std::shared_ptr<ThreadPool> pool, const CpuNetwork* previous)
        : model_(std::move(model)),
          pool_(std::move(pool)),
          scratch_(static_cast<size_t>(pool_->size())),
          ctx_{kernels, *pool_, scratch_},
          packed_(model_->nodes.size()),
          plan_(make_plan(graph())),
          progress_(static_cast<size_t>(pool_->size())) {
        const bool related = previous && previous->packed_.size() == packed_.size();
        int64_t weights = 0;
        for (size_t i = 0; i < packed_.size(); ++i) {
            const int64_t N = graph().nodes[i].cols(),
                          count = static_cast<int64_t>(model_->nodes[i]->weight.size());
            if (count) weights += panels_size(N, count / N);
        }
        const auto arena = std::make_shared<Arena>(weights);
        const auto pack = [&](int i) {
            const auto at = static_cast<size_t>(i);
            packed_[at] = pack_node(*model_, i, related ? previous->packed_[at] : nullptr, arena);
        };
        pool_->run(static_cast<int>(packed_.size()), pack);
    }

    const Graph& graph() const override { return *model_->graph; }
    const QuantizedModel& model() const override { return *model_; }

    IntTensor run_node(int node, std::span<const IntTensor* const> inputs) override {
        return run_one_node(ctx_, *model_, node, packed(node), inputs, {});
    }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        check_pixels(graph(), pixels, batch);
        const double start = now_ms();
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = "cpu";
        trace->batch = batch;
        const int last = static_cast<int>(graph().nodes.size()) - 1;
        trace->integer_logits.reserve(static_cast<size_t>(batch * slot_elements(last)));
        if (options.time_nodes)
            for (const Step& step : plan_.steps) trace->timings.push_back({step.first, step.last, 0});
        // A few pictures at a time through the whole network, so that what lies between its steps stays in
        // the caches. Taps want all of them at once.
        const int passes = options.taps.empty() ? (batch + pictures_at_once() - 1) / pictures_at_once() : 1;
        const size_t picture = pixels.size() / static_cast<size_t>(batch);
        for (int p = 0; p < passes; ++p) {
            const int first = batch * p / passes, count = batch * (p + 1) / passes - first;
            prepare(count);
            run_pass(
                pixels.subspan(static_cast<size_t>(first) * picture, static_cast<size_t>(count) * picture),
                count, options, trace.get());
            widen(slot_of(last), 0, count * slot_elements(last), &trace->integer_logits);
        }
        trace->logit_scale = packed(last).quant->out.scale[0];
        trace->logits.reserve(trace->integer_logits.size());
        for (const int32_t v : trace->integer_logits)
            trace->logits.push_back(static_cast<float>(v * trace->logit_scale));
        trace->ms = now_ms() - start;
        return trace;
    }

  private:
    const Node& node(int i) const { return graph().nodes[static_cast<size_t>(i)]; }
    const PackedNode& packed(int i) const { return *packed_[static_cast<size_t>(i)]; }
    Slot& slot_of(int i) {
        return plan_.slots[static_cast<size_t>(plan_.slot_index[static_cast<size_t>(i)])];
    }
    int64_t slot_elements(int i) const { return elements(node(i).shape); }

    // As many as keep a thread's part of the widest slot within a third of a second-level cache.
    int pictures_at_once() const {
        int64_t widest = 1;
        for (const Slot& s : plan_.slots)
            if (s.kind == Kind::u8) widest = std::max(widest, s.picture_bytes());
        return static_cast<int>(std::max<int64_t>(1, pool_->size() * (int64_t{320} << 10) / widest));
    }

    // Everything a pass of this batch needs; nothing is allocated when an earlier one was as large.
    void prepare(int batch) {
        if (batch == prepared_) return;
        prepared_ = batch;
        for (Slot& s : plan_.slots) s.grow(batch);
        own_.clear();
        for (const Step& step : plan_.steps) own_.push_back(own(step, batch));  // attention after its qkv
        find_waits(plan_.steps, own_, &waits_);
        for (const Step& step : plan_.steps)
            if (step.fused == Fused::attention) {
                const Heads h = heads(step.last, batch);
                reserve_attention(scratch_, h.tokens, h.d());
                if (KeysValues* panels = panels_of(step)) panels->grow(h);
            }
    }

    // ---- Fused ----

    Heads heads(int context, int batch) const {
        const Node& n = node(context);
        return {batch, n.rows(), n.cols(), n.heads};
    }

    Embedding embedding(const Step& step, const uint8_t* pixels, int batch) {
        Embedding e;
        e.table = packed(step.first).quant->table.data();
        e.linear = &packed(step.first + 1);
        e.positions = &packed(step.last);
        e.pixels = pixels;
        e.batch = batch;
        e.side = graph().image_size;
        e.p = node(step.first + 1).patch;
        e.tokens = node(step.last).rows();
        e.out = slot_of(step.last).i16.data();
        return e;
    }

    Linear product(const Step& step, int batch) {
        const Node& n = node(step.first);
        Slot& out = slot_of(step.last);
        Linear l;
        l.rows = batch * n.rows();
        if (step.fused == Fused::norm_linear) {
            const int64_t tokens = node(n.inputs[0]).rows(), C = n.cols();
            l.linear = &packed(step.first + 1);
            l.norm = &packed(step.first);
            l.t = slot_of(n.inputs[0]).i16.data();
            l.ldt = n.rows() == tokens ? C : tokens * C;
            if (node(step.last).op == Op::gelu) l.gelu = &packed(step.last);
            if (node(step.last).op == Op::head)
                l.i32 = out.i32.data();
            else
                l.u8 = out.u8.data();
        } else {
            l.linear = &packed(step.first);
            l.x = slot_of(n.inputs[0]).u8.data();
            l.ldx = l.linear->panels->K;
            l.i16 = out.i16.data();
            l.add = &packed(step.last);
            l.old = slot_of(node(step.last).inputs[1]).i16.data();
        }
        // Over attention as well, which has no weights to fetch.
        for (size_t i = 1; i <= 2; ++i) {
            const Step* later = &step + i;
            if (later >= plan_.steps.data() + plan_.steps.size() || l.next) break;
            if (later->fused == Fused::norm_linear || later->fused == Fused::linear_add)
                l.next = packed(later->first + (later->fused == Fused::norm_linear)).panels.get();
        }
        return l;
    }

    // The rows a thread calls its own are those of all tokens of all pictures.
    Own own(const Step& step, int batch) {
        if (!integers(step)) return {false, false};
        switch (step.fused) {
            case Fused::patches: {
                const bool rows = embed_by_rows(ctx_, embedding(step, nullptr, batch));
                return {rows, rows};
            }
            case Fused::norm_linear:
            case Fused::linear_add: {
                const Linear l = product(step, batch);
                const bool rows = node(step.first).rows() == node(node(step.first).inputs[0]).rows() &&
                                  linear_by_rows(ctx_, l);
                // Products take four k at a time, the last ones from the next row if need be (times zero).
                return {rows && (l.norm || l.linear->panels->K % 4 == 0), rows};
            }
            case Fused::attention:  // reads k and v of all rows
                return {false, step.qkv >= 0 && own_[static_cast<size_t>(step.qkv)].writes};
            case Fused::none:
                break;
        }
        return {false, false};
    }

    // Where all of attention's k and v are packed, each row by the thread that made it; null: each thread
    // packs what it needs.
    KeysValues* panels_of(const Step& attention) {
        const bool by_rows = own_[static_cast<size_t>(&attention - plan_.steps.data())].writes;
        return by_rows ? &slot_of(node(attention.first).inputs[0]).panels : nullptr;
    }

    void pack_heads(const Step& qkv, int batch, int part) {
        const Step& attention = plan_.steps[static_cast<size_t>(qkv.attention)];
        if (KeysValues* panels = panels_of(attention))
            pack_heads_part(ctx_, heads(attention.last, batch), slot_of(qkv.last).u8.data(), panels, part);
    }

    void run_part(const Step& step, const uint8_t* pixels, int batch, int part) {
        switch (step.fused) {
            case Fused::patches:
                return embed_part(ctx_, embedding(step, pixels, batch), part);
            case Fused::norm_linear:
            case Fused::linear_add:
                linear_part(ctx_, product(step, batch), part);
                if (step.attention >= 0) pack_heads(step, batch, part);
                return;
            case Fused::attention:
                return attention_part(ctx_, heads(step.last, batch), packed(step.first),
                                      packed(step.first + 1), packed(step.last),
                                      slot_of(node(step.first).inputs[0]).u8.data(), panels_of(step),
                                      slot_of(step.last).u8.data(), part);
            case Fused::none:
                break;
        }
    }

    bool integers(const Step& step) const {
        for (int i = step.first; i <= step.last; ++i)
            if (packed(i).quant->quant.mode != Mode::integer) return false;
        return true;
    }

    void run_pass(std::span<const uint8_t> pixels, int batch, const RunOptions& options, Trace* trace) {
        const auto wanted = [&](int i) {
            return !options.taps.empty() && options.taps[static_cast<size_t>(i)];
        };
        const auto apart = [&](const Step& step) {
            bool yes = step.fused == Fused::none || !integers(step);
            for (int i = step.first; i < step.last; ++i) yes = yes || wanted(i);
            return yes;
        };
        const std::vector<Step>& steps = plan_.steps;
        for (size_t s = 0; s < steps.size();) {
            if (options.stop.stop_requested()) throw Cancelled{};
            if (apart(steps[s])) {
                const double t0 = options.time_nodes ? now_ms() : 0;
                run_apart(steps[s], pixels, batch, wanted, trace);
                if (options.time_nodes) trace->timings[s].ms += now_ms() - t0;
                ++s;
                continue;
            }
            // More threads than cores wait badly for each other: then one step at a time.
            size_t end = s + 1;
            while (pool_->spins() && end < steps.size() && !wanted(steps[end - 1].last) && !apart(steps[end]))
                ++end;
            run_fused(s, end, pixels, batch, options, trace);
            s = end;
            const int last = steps[s - 1].last;
            if (!wanted(last)) continue;
            trace->taps.push_back(empty_tap(last, batch));
            widen(slot_of(last), 0, batch * slot_elements(last), &trace->taps.back().integers.data);
        }
    }

    // Steps begin..end - 1. Timed, each waits for the one before on all threads.
    void run_fused(size_t begin, size_t end, std::span<const uint8_t> pixels, int batch,
                   const RunOptions& options, Trace* trace) {
        for (Progress& p : progress_) p.steps.store(static_cast<int>(begin), std::memory_order_relaxed);
        std::atomic<bool> cancelled{false};
        double before = options.time_nodes ? now_ms() : 0;
        const auto job = [&](int part) {
            for (size_t s = begin; s < end; ++s) {
                const bool timed = options.time_nodes;
                wait_for_others(part, timed ? static_cast<int>(s) : waits_[s]);
                if (timed && part == 0 && s > begin) stamp(s - 1, &before, trace);
                if (options.stop.stop_requested()) cancelled = true;
                if (!cancelled) run_part(plan_.steps[s], pixels.data(), batch, part);
                progress_[static_cast<size_t>(part)].steps.store(static_cast<int>(s) + 1,
                                                                 std::memory_order_release);
            }
        };
        pool_->run(pool_->size(), std::ref(job));
        if (cancelled) throw Cancelled{};
        if (options.time_nodes) stamp(end - 1, &before, trace);
    }

    static void stamp(size_t step, double* before, Trace* trace) {
        const double now = now_ms();
        trace->timings[step].ms += now - *before;
        *before = now;
    }

    void wait_for_others(int part, int steps) const {
        for (size_t i = 0; i < progress_.size(); ++i) {
            if (static_cast<int>(i) == part) continue;
            // Where the other thread does not run at all, let it; at once where it waits for this one's core.
            for (int spins = 1; progress_[i].steps.load(std::memory_order_acquire) < steps; ++spins)
                if (spins >= 4000 || (spins % 64 == 0 && pool_->shares_core()))
                    sched_yield();
                else
                    _mm_pause();
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
                    read.push_back({node(in).shape, {}, packed(in).quant->out});
                    widen(slot_of(in), b * slot_elements(in), slot_elements(in), &read.back().data);
                    inputs.push_back(&read.back());
                }
                IntTensor& out = outputs[static_cast<size_t>(i - step.first)];
                out = run_one_node(ctx_, *model_, i, packed(i), inputs,
                                   pixels.subspan(static_cast<size_t>(b) * picture, picture));
                if (wanted(i)) {
                    auto& kept = trace->taps[tap++].integers.data;
                    kept.insert(kept.end(), out.data.begin(), out.data.end());
                }
            }
            narrow(outputs.back().data, b * slot_elements(step.last), &slot_of(step.last));
        }
        for (int part = 0; step.attention >= 0 && part < pool_->size(); ++part) pack_heads(step, batch, part);
    }

    std::shared_ptr<const QuantizedModel> model_;
    std::shared_ptr<ThreadPool> pool_;
    std::vector<Scratch> scratch_;
    Context ctx_;
    std::vector<std::shared_ptr<const PackedNode>> packed_;  // by node
    Plan plan_;
    std::vector<Progress> progress_;  // by thread
    int prepared_ = 0;                // the batch that own_ and waits_ are for
    std::vector<Own> own_;            // by step
    std::vector<int> waits_;          // by step
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
