// SPDX-License-Identifier: Apache-2.0
// Runs a graph node by node with the loops of this folder.
#include "engine/backends/reference/network.h"

#include "engine/backends/integer_node.h"
#include "engine/backends/reference/ops.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace ivit::reference {
namespace {

void dispatch(const Args& a) {
    switch (a.node.op) {
#define X(name)    \
    case Op::name: \
        return name(a);
        IVIT_OPS(X)
#undef X
    }
}

class ReferenceNetwork : public IntegerNetwork {
  public:
    explicit ReferenceNetwork(std::shared_ptr<const QuantizedModel> model) : model_(std::move(model)) {}

    const Graph& graph() const override { return *model_->graph; }
    const QuantizedModel& model() const override { return *model_; }

    IntTensor run_node(int node, std::span<const IntTensor* const> inputs) override {
        return evaluate(node, inputs, {});
    }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        check_pixels(graph(), pixels, batch);
        const auto& nodes = graph().nodes;
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = "reference";
        trace->batch = batch;
        const double start = now_ms();
        if (options.time_nodes)
            for (int i = 0; i < static_cast<int>(nodes.size()); ++i) trace->timings.push_back({i, i, 0});
        for (size_t i = 0; i < nodes.size(); ++i) {
            if (options.taps.empty() || !options.taps[i]) continue;
            Tap tap;
            tap.node = static_cast<int>(i);
            tap.integers.grid = model_->nodes[i]->out;
            tap.integers.shape = nodes[i].shape;
            tap.integers.shape.insert(tap.integers.shape.begin(), batch);
            trace->taps.push_back(std::move(tap));
        }

        const size_t picture = pixels.size() / static_cast<size_t>(batch);
        for (int b = 0; b < batch; ++b) {
            std::vector<IntTensor> outputs(nodes.size());
            size_t next_tap = 0;
            for (size_t i = 0; i < nodes.size(); ++i) {
                if (options.stop.stop_requested()) throw Cancelled{};
                std::vector<const IntTensor*> inputs;
                for (const int in : nodes[i].inputs) inputs.push_back(&outputs[static_cast<size_t>(in)]);
                const double t0 = now_ms();
                outputs[i] = evaluate(static_cast<int>(i), inputs,
                                      pixels.subspan(static_cast<size_t>(b) * picture, picture));
                if (options.time_nodes) trace->timings[i].ms += now_ms() - t0;
                if (!options.taps.empty() && options.taps[i]) {
                    auto& kept = trace->taps[next_tap++].integers.data;
                    kept.insert(kept.end(), outputs[i].data.begin(), outputs[i].data.end());
                }
            }
            const auto& logits = outputs.back();
            trace->logit_scale = logits.grid.scale[0];
            for (const int32_t v : logits.data) {
                trace->integer_logits.push_back(v);
                trace->logits.push_back(static_cast<float>(v * trace->logit_scale));
            }
        }
        trace->ms = now_ms() - start;
        return trace;
    }

  private:
    IntTensor evaluate(int node, std::span<const IntTensor* const> inputs,
                       std::span<const uint8_t> pixels) const {
        const Node& n = graph().nodes[static_cast<size_t>(node)];
        const QuantNode& q = *model_->nodes[static_cast<size_t>(node)];
        if (q.quant.mode != Mode::integer) return run_non_integer(*model_, node, inputs, pixels);
        IntTensor out{n.shape, std::vector<int32_t>(static_cast<size_t>(elements(n.shape))), q.out};
        dispatch({graph(), n, q, pixels, inputs, out.data});
        return out;
    }

    std::shared_ptr<const QuantizedModel> model_;
};

class ReferenceBackend : public Backend {
  public:
    BackendInfo info() const override { return {"reference", "plain loops", "scalar", 1}; }
    std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                         IntegerNetwork*) override {
        return std::make_unique<ReferenceNetwork>(std::move(model));
    }
};

}  // namespace

std::unique_ptr<Backend> make_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace ivit::reference
