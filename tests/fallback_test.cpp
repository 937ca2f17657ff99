// SPDX-License-Identifier: Apache-2.0
// What `auto` does when the GPU is lost after it was chosen, with a backend that fails on demand in its
// place.
#include <catch2/catch.hpp>

#include "engine/backends/fallback.h"
#include "engine/backends/reference/network.h"
#include "engine/describe.h"
#include "engine/error.h"
#include "tests/small_model.h"

using namespace ivit;

namespace {

struct Fate {
    bool load = false, run = false;
    std::string where = "gpu";
    int loads = 0;
};

// The reference under another name, failing as `fate` says.
class Fragile : public Backend {
  public:
    explicit Fragile(Fate& fate) : fate_(fate), inner_(reference::make_backend()) {}
    BackendInfo info() const override { return {"gpu", "fragile", "", 1}; }
    std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                         IntegerNetwork*) override {
        ++fate_.loads;
        if (fate_.load) throw Error("the GPU has not enough free memory", fate_.where);
        struct Net : IntegerNetwork {
            Fate& fate;
            std::unique_ptr<IntegerNetwork> inner;
            Net(Fate& f, std::unique_ptr<IntegerNetwork> n) : fate(f), inner(std::move(n)) {}
            const Graph& graph() const override { return inner->graph(); }
            const QuantizedModel& model() const override { return inner->model(); }
            std::shared_ptr<const Trace> run(std::span<const uint8_t> p, int batch,
                                             const RunOptions& o) override {
                if (fate.run) throw Error("the GPU failed", fate.where);
                return inner->run(p, batch, o);
            }
            IntTensor run_node(int node, std::span<const IntTensor* const> in) override {
                if (fate.run) throw Error("the GPU failed", fate.where);
                return inner->run_node(node, in);
            }
        };
        return std::make_unique<Net>(fate_, inner_->load(model));
    }

  private:
    Fate& fate_;
    std::unique_ptr<Backend> inner_;
};

}  // namespace

TEST_CASE("a GPU that is lost leaves the work to the CPU, with the same bits", "[fallback]") {
    const auto model = test::small_model();
    const auto pixels = test::picture(model->graph->image_size, 3);
    const auto q = quantize(model,
                            calibrate(
                                *model, 1, [&](int64_t) { return pixels; }, RangeMethod::minmax, 1),
                            QuantConfig());
    const auto expected = reference::make_backend()->load(q)->run(pixels, 1, {})->integer_logits;
    Fate fate;
    int seconds = 0;
    const auto backend = with_fallback(std::make_unique<Fragile>(fate), [&] {
        ++seconds;
        return reference::make_backend();
    });

    SECTION("while it runs") {
        const auto first = backend->load(q), second = backend->load(q, first.get());
        CHECK(backend->info().name == "gpu");
        CHECK(backend->info().gpu_lost.empty());
        CHECK(first->run(pixels, 1, {})->integer_logits == expected);
        fate.run = true;
        CHECK(first->run(pixels, 1, {})->integer_logits == expected);
        CHECK(backend->info().name == "reference");
        CHECK(second->run(pixels, 1, {})->integer_logits == expected);
        CHECK(&second->model() == q.get());
        CHECK(backend->load(q, second.get())->run(pixels, 1, {})->integer_logits == expected);
        CHECK(seconds == 1);
        CHECK(fate.loads == 2);
        // Everybody hears of it: the reason goes into every document.
        CHECK(backend->info().gpu_lost == "gpu: the GPU failed");
        CHECK(document("run", effective(*q, backend->info(), ""))["machine"]["gpu_absent"] ==
              "gpu: the GPU failed");
        CHECK(summary(effective(*q, backend->info(), "")).find("no GPU: gpu: the GPU failed") !=
              std::string::npos);
    }
    SECTION("while it loads") {
        fate.load = true;
        CHECK(backend->load(q)->run(pixels, 1, {})->integer_logits == expected);
        CHECK(backend->info().name == "reference");
        CHECK(seconds == 1);
    }
    SECTION("other errors are not its loss") {
        const auto network = backend->load(q);
        fate.run = true;
        fate.where = "input";
        CHECK_THROWS_AS(network->run(pixels, 1, {}), Error);
        fate.run = false;
        CHECK(network->run(pixels, 1, {})->integer_logits == expected);
        CHECK(seconds == 0);
    }
}
