// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/fallback.h"

#include <spdlog/spdlog.h>

#include "engine/error.h"

namespace ivit {
namespace {

// The two backends, shared by the networks that were loaded.
struct Pair {
    std::unique_ptr<Backend> now;
    std::function<std::unique_ptr<Backend>()> second;  // null once it has been used
    std::string name, why;                             // of the first; why it was given up
    int losses = 0;

    bool lost(const Error& e) const { return second && e.where() == name; }
    void give_up(const Error& e) {
        spdlog::warn("{}: {}; going on without it", name, e.sentence());
        why = name + ": " + e.sentence();
        now = second();
        second = nullptr;
        ++losses;
    }
};

class FallbackNetwork : public IntegerNetwork {
  public:
    FallbackNetwork(std::shared_ptr<Pair> pair, std::unique_ptr<IntegerNetwork> network)
        : pair_(std::move(pair)), losses_(pair_->losses), network_(std::move(network)) {}

    const Graph& graph() const override { return network_->graph(); }
    const QuantizedModel& model() const override { return network_->model(); }
    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        return attempt([&] { return network_->run(pixels, batch, options); });
    }
    IntTensor run_node(int node, std::span<const IntTensor* const> inputs) override {
        return attempt([&] { return network_->run_node(node, inputs); });
    }

    // The network within, when it belongs to the backend in use.
    IntegerNetwork* within() const { return losses_ == pair_->losses ? network_.get() : nullptr; }

  private:
    template <class F>
    auto attempt(const F& f) -> decltype(f()) {
        follow();
        try {
            return f();
        } catch (const Error& e) {
            if (!pair_->lost(e)) throw;
            // The network goes before its backend does.
            auto model = network_->model().shared_from_this();
            network_.reset();
            pair_->give_up(e);
            take(std::move(model));
        }
        return f();
    }
    // Another network may have met the loss first.
    void follow() {
        if (losses_ != pair_->losses) take(network_->model().shared_from_this());
    }
    void take(std::shared_ptr<const QuantizedModel> model) {
        network_ = pair_->now->load(std::move(model));
        losses_ = pair_->losses;
    }

    std::shared_ptr<Pair> pair_;
    int losses_;  // of the pair when network_ was made
    std::unique_ptr<IntegerNetwork> network_;
};

class FallbackBackend : public Backend {
  public:
    FallbackBackend(std::unique_ptr<Backend> first, std::function<std::unique_ptr<Backend>()> second)
        : pair_(std::make_shared<Pair>()) {
        pair_->name = first->info().name;
        pair_->now = std::move(first);
        pair_->second = std::move(second);
    }

    BackendInfo info() const override {
        BackendInfo info = pair_->now->info();
        info.gpu_lost = pair_->why;
        return info;
    }
    double measure_peak() override { return pair_->now->measure_peak(); }

    std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                         IntegerNetwork* previous) override {
        auto* ours = dynamic_cast<FallbackNetwork*>(previous);
        try {
            return std::make_unique<FallbackNetwork>(
                pair_, pair_->now->load(model, ours ? ours->within() : nullptr));
        } catch (const Error& e) {
            if (!pair_->lost(e)) throw;
            pair_->give_up(e);
        }
        return std::make_unique<FallbackNetwork>(pair_, pair_->now->load(model));
    }

  private:
    std::shared_ptr<Pair> pair_;
};

}  // namespace

std::unique_ptr<Backend> with_fallback(std::unique_ptr<Backend> first,
                                       std::function<std::unique_ptr<Backend>()> second) {
    return std::make_unique<FallbackBackend>(std::move(first), std::move(second));
}

}  // namespace ivit
