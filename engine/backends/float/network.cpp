// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <optional>

#include "engine/backend.h"
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/onednn.h"
#include "engine/backends/float/ops.h"
#include "engine/backends/shared_slots.h"
#include "engine/error.h"

namespace ivit {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class FloatNetwork : public Network {
  public:
    FloatNetwork(std::shared_ptr<const Model> model, int threads)
        : model_(std::move(model)), pool_(ThreadPool::get(threads)), gemm_(*model_, *pool_) {
        fp32::kernels();  // where IVIT_ISA names none, it is told here: a job must not throw
        assign_slots();
        for (const Node& n : nodes())
            if (n.op == Op::attn_context && !attention_)
                attention_.emplace(n.rows(), n.heads, n.cols(), *pool_);
    }

    const Graph& graph() const override { return *model_->graph; }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        const size_t picture =
            static_cast<size_t>(graph().image_size) * static_cast<size_t>(graph().image_size) * 3;
        if (batch < 1 || pixels.size() != picture * static_cast<size_t>(batch))
            throw Error("got " + std::to_string(pixels.size()) + " bytes of pixels for a batch of " +
                        std::to_string(batch) + ", expected " + std::to_string(picture) + " each");
        const auto start = Clock::now();
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = "float";
        trace->batch = batch;
        const int count = static_cast<int>(nodes().size());
        for (int first = 0; first < count;) {
            if (options.stop.stop_requested()) throw Cancelled();
            const auto step_start = Clock::now();
            const int last = step(first, pixels, batch, options.taps);
            if (options.time_nodes) trace->timings.push_back({first, last, ms_since(step_start)});
            if (tapped(options.taps, last)) trace->taps.push_back({last, {}, copy(last)});
            first = last + 1;
        }
        trace->logits = copy(count - 1).data;
        trace->ms = ms_since(start);
        return trace;
    }

  private:
    const std::vector<Node>& nodes() const { return model_->graph->nodes; }

    static bool tapped(const std::vector<bool>& taps, int node) {
        return static_cast<size_t>(node) < taps.size() && taps[static_cast<size_t>(node)];
    }

    // True when nodes first.. are the ops given, each node but the last is read by later ones of them alone,
    // and no tap asks for it.
    bool fuses(int first, std::initializer_list<Op> ops, const std::vector<bool>& taps) const {
        const int last = first + static_cast<int>(ops.size()) - 1;
        if (last >= static_cast<int>(nodes().size())) return false;
        for (int i = first; i <= last; ++i) {
            if (nodes()[static_cast<size_t>(i)].op != ops.begin()[i - first]) return false;
            if (i < last && (tapped(taps, i) || last_reader_[static_cast<size_t>(i)] > last)) return false;
        }
        return nodes()[static_cast<size_t>(last)].inputs[0] == last - 1;
    }

    // Runs node `first`, with those after it that it can be fused with. Yields the last node done.
    int step(int first, std::span<const uint8_t> pixels, int batch, const std::vector<bool>& taps) {
        const Node& node = nodes()[static_cast<size_t>(first)];
        const auto product = [&](Epilogue epilogue, int last, const float* residual) {
            const FloatTensor& x = input(node, 0);
            FloatTensor& y = output(last, batch);
            const FloatArgs args{node, *model_, {}, y, gemm_, pool_.get(), batch};
            gemm_.linear(args, x.data.data(), node.rows(), x.shape.back(), epilogue, residual, y.data.data());
            return last;
        };
        if (fuses(first, {Op::linear, Op::gelu}, taps)) return product(Epilogue::gelu, first + 1, nullptr);
        if (fuses(first, {Op::linear, Op::residual_add}, taps))
            return product(Epilogue::residual, first + 1,
                           input(nodes()[static_cast<size_t>(first) + 1], 1).data.data());
        if (fuses(first, {Op::attn_logits, Op::softmax, Op::attn_context}, taps)) {
            attention_->run(batch, input(node, 0).data.data(), output(first + 2, batch).data.data());
            return first + 2;
        }
        const FloatTensor* inputs[2] = {};
        for (size_t i = 0; i < node.inputs.size(); ++i) inputs[i] = &input(node, i);
        fp32::run_op({node, *model_, std::span(inputs, node.inputs.size()), output(first, batch), gemm_,
                      pool_.get(), batch, pixels, &scratch_});
        return first;
    }

    const FloatTensor& input(const Node& node, size_t i) const {
        return *outputs_[static_cast<size_t>(node.inputs[i])];
    }

    // The buffer of node i's output, in the shape it has for this batch. Memory grows when it is first
    // needed: a node that is always fused away never costs any.
    FloatTensor& output(int i, int batch) {
        FloatTensor& t = *outputs_[static_cast<size_t>(i)];
        const Shape& shape = nodes()[static_cast<size_t>(i)].shape;
        t.shape.assign(1, batch);
        t.shape.insert(t.shape.end(), shape.begin(), shape.end());
        const size_t size = static_cast<size_t>(batch * elements(shape));
        if (t.data.size() < size) t.data.resize(size);
        return t;
    }

    FloatTensor copy(int i) const {
        const FloatTensor& t = *outputs_[static_cast<size_t>(i)];
        return {t.shape, {t.data.begin(), t.data.begin() + elements(t.shape)}};
    }

    // Outputs share memory once their last reader is done, and the node after it too: fused with the reader
    // it writes its output while the reader's input is still read.
    void assign_slots() {
        SharedSlots shared;
        std::vector<size_t> slot_of;
        for (int i = 0; i < static_cast<int>(nodes().size()); ++i) {
            last_reader_.push_back(graph().last_reader(i));
            slot_of.push_back(static_cast<size_t>(shared.take(0, i, last_reader_.back() + 1)));
        }
        slots_.resize(shared.kinds().size());
        for (const size_t slot : slot_of) outputs_.push_back(&slots_[slot]);
    }

    using FloatArgs = fp32::FloatArgs;
    using Epilogue = fp32::Epilogue;

    std::shared_ptr<const Model> model_;
    std::shared_ptr<ThreadPool> pool_;
    fp32::OneDnnGemm gemm_;
    std::optional<fp32::Attention> attention_;  // one for all layers: they have one shape
    std::vector<int> last_reader_;              // per node; the node count where nothing reads it
    std::vector<FloatTensor> slots_;
    std::vector<FloatTensor*> outputs_;  // per node: its slot
    std::vector<float> scratch_;         // patch_embed's columns
};

}  // namespace

std::unique_ptr<Network> make_float_network(std::shared_ptr<const Model> model, int threads) {
    return std::make_unique<FloatNetwork>(std::move(model), threads);
}

}  // namespace ivit
