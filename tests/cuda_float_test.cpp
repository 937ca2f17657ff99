// SPDX-License-Identifier: Apache-2.0
// The float opponents on the GPU against the CPU's float network. Without a GPU only the refusals are tested,
// and it says so.
#include <catch2/catch.hpp>

#include <cmath>
#include <filesystem>

#include "engine/backend.h"
#include "engine/backends/cuda/network.h"
#include "engine/backends/cuda_float/network.h"
#include "engine/bench.h"
#include "engine/error.h"
#include "tests/small_model.h"

using namespace ivit;
using cuda_float::Precision;

namespace {

bool gpu() {
    const std::string why = cuda_float::unavailable(Precision::fp32);
    if (!why.empty()) WARN("not tested on a GPU: " << why);
    return why.empty();
}

// |a - b| / |b|
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < b.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        size += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / size);
}

Pixels pictures(int side, int count) {
    Pixels all;
    for (int i = 0; i < count; ++i) {
        const Pixels one = test::picture(side, static_cast<uint32_t>(i + 3));
        all.insert(all.end(), one.begin(), one.end());
    }
    return all;
}

struct Case {
    Precision precision;
    double tolerance;
};
constexpr Case cases[] = {{Precision::fp32, 1e-5}, {Precision::tf32, 3e-3}, {Precision::fp16, 1e-2}};

void compare(const std::shared_ptr<const Model>& model, int batch, const std::string& what) {
    const Pixels pixels = pictures(model->graph->image_size, batch);
    const auto expected = make_float_network(model, 0)->run(pixels, batch, {})->logits;
    for (const Case& c : cases) {
        if (!cuda_float::unavailable(c.precision).empty()) continue;
        const auto network = cuda_float::make_network(model, c.precision);
        const auto got = network->run(pixels, batch, {});
        REQUIRE(got->logits.size() == expected.size());
        const double d = distance(got->logits, expected);
        INFO(what << ", batch " << batch << ", " << got->backend << ": relative distance " << d);
        CHECK(d < c.tolerance);
        CHECK(got->device_ms > 0);
        CHECK(got->device_ms < got->ms);
        // The same again from the captured graph, and a smaller batch after a greater one.
        CHECK(network->run(pixels, batch, {})->logits == got->logits);
        const auto one =
            network->run(std::span(pixels).first(pixels.size() / static_cast<size_t>(batch)), 1, {});
        const std::vector<float> first(expected.begin(), expected.begin() + model->graph->classes);
        CHECK(distance(one->logits, first) < c.tolerance);
        if (what == "deit_tiny") WARN(got->backend << ", batch " << batch << ": relative distance " << d);
    }
}

}  // namespace

TEST_CASE("the float opponents on the GPU refuse in one sentence where they cannot run", "[cuda_float]") {
    for (const OpponentEntry& o : float_opponents()) {
        CHECK(o.backend == "cuda");
        const std::string why = o.unavailable();
        CHECK(why.find('\n') == std::string::npos);
        if (why.empty()) continue;
        try {
            o.make(test::small_model());
            FAIL("made " << o.name << " where it cannot run");
        } catch (const Error& e) {
            CHECK(std::string(e.what()).find(why) != std::string::npos);
        }
    }
}

TEST_CASE("a benchmark measures every network given, each as often", "[cuda_float][bench]") {
    const auto model = test::small_model();
    const Pixels pixels = pictures(model->graph->image_size, 2);
    const auto q =
        quantize(model,
                 calibrate(
                     *model, 1, [&](int64_t) { return test::picture(model->graph->image_size, 1); },
                     RangeMethod::minmax, 1),
                 QuantConfig());
    const auto integers = make_backend("reference", 1)->load(q);
    // Counts its runs, and says that each took 3 ms, 2 of them on a GPU.
    struct Counting : Network {
        std::shared_ptr<const Graph> g;
        int runs = 0;
        const Graph& graph() const override { return *g; }
        std::shared_ptr<const Trace> run(std::span<const uint8_t>, int, const RunOptions& o) override {
            ++runs;
            auto t = std::make_shared<Trace>();
            t->ms = 3;
            t->device_ms = 2;
            CHECK(!o.time_nodes);
            return t;
        }
    } counting;
    counting.g = model->graph;
    const auto floats = make_float_network(model, 1);
    BenchOptions options;
    options.batch = 2;
    options.warm_up = 2;
    options.runs = 5;
    options.per_layer = true;
    Network* const others[] = {&counting};
    const BenchResult r = bench(floats.get(), *integers, pixels, options, others);
    REQUIRE(r.others.size() == 1);
    CHECK(counting.runs == 7);
    CHECK(r.others[0].wall.runs == 5);
    CHECK(r.others[0].wall.median == 3);
    CHECK(r.others[0].device.median == 2);
    CHECK(r.floats_device.runs == 0);  // a CPU has no such clock
    CHECK(r.integers_device.runs == 0);
    CHECK(r.integers.runs == 5);
    CHECK(r.speedup == r.floats.median / r.integers.median);
}

TEST_CASE("cuda floats equal the CPU's on whole networks of odd shapes", "[cuda_float][gpu]") {
    if (!gpu()) return;
    for (const auto& dims : std::vector<vit::Dims>{
             {16, 8, 60, 3, 111, 2, 7, 1e-6f},      // d = 20, hidden odd, 5 tokens
             {24, 4, 64, 2, 256, 1, 10, 1e-6f},     // d = 32, 37 tokens
             {40, 5, 21, 3, 50, 1, 3, 1e-6f},       // d = 7, 65 tokens, C not a multiple of anything
             {8, 8, 70, 1, 130, 1, 65, 1e-6f},      // d = 70, 2 tokens
             {96, 8, 192, 3, 768, 1, 1000, 1e-6f},  // d = 64, 145 tokens
             {80, 4, 64, 1, 128, 1, 10, 1e-6f},     // d = 64, 401 tokens
             {32, 8, 256, 2, 600, 1, 10, 1e-6f},    // d = 128
             {32, 8, 64, 1, 64, 1, 10, 1e-6f},      // 17 tokens: one warp's rows and one more
         })
        for (const int batch : {1, 3, 130})  // few blocks, where attention splits the keys; many
            compare(test::small_model(5, dims), batch, "width " + std::to_string(dims.width));
    const auto wide = test::small_model(5, {16, 8, 300, 2, 100, 1, 10, 1e-6f});  // d = 150
    CHECK_THROWS_AS(cuda_float::make_network(wide, Precision::fp32), Error);
}

TEST_CASE("cuda floats equal the CPU's on DeiT-T and the bundled model", "[cuda_float][gpu]") {
    if (!gpu()) return;
    const auto tiny = random_model("deit_tiny_patch16_224");
    compare(tiny, 1, "deit_tiny");
    compare(tiny, 48, "deit_tiny");
    const std::filesystem::path bundled = IVIT_SOURCE_DIR "/assets/vit_tiny_cifar10.safetensors";
    if (std::filesystem::exists(bundled)) compare(load_model(bundled), 4, "bundled");
}

// Small enough for compute-sanitizer: compute-sanitizer --tool memcheck ivit_tests "[sanitize_float]". Two
// cases, as its racecheck takes several minutes for each.
TEST_CASE("cuda floats: a small network through every kernel", "[cuda_float][gpu][sanitize_float]") {
    if (!gpu()) return;
    const vit::Dims dims{24, 4, 128, 2, 160, 1, 10, 1e-6f};
    for (const int batch : {1, 140}) compare(test::small_model(6, dims), batch, "small");
}
TEST_CASE("cuda floats: one of odd widths through every kernel", "[cuda_float][gpu][sanitize_float]") {
    if (!gpu()) return;
    const vit::Dims dims{24, 4, 60, 3, 111, 1, 7, 1e-6f};
    for (const int batch : {1, 140}) compare(test::small_model(6, dims), batch, "small, odd");
}

TEST_CASE("cuda floats: taps are refused, a stop request ends the run, timings name every node once",
          "[cuda_float][gpu]") {
    if (!gpu()) return;
    const auto model = test::small_model();
    const size_t nodes = model->graph->nodes.size();
    const Pixels pixels = pictures(model->graph->image_size, 2);
    const auto network = cuda_float::make_network(model, Precision::fp16);
    RunOptions options;
    options.taps.assign(nodes, true);
    CHECK_THROWS_AS(network->run(pixels, 2, options), Error);
    options.taps.assign(nodes, false);
    std::stop_source source;
    source.request_stop();
    options.stop = source.get_token();
    CHECK_THROWS_AS(network->run(pixels, 2, options), Cancelled);
    options = {};
    options.time_nodes = true;
    int next = 0;
    const auto timed = network->run(pixels, 2, options);
    for (const Timing& t : timed->timings) {
        CHECK(t.first == next);
        next = t.last + 1;
    }
    CHECK(next == static_cast<int>(nodes));
    CHECK_THROWS_AS(network->run(std::span(pixels).first(10), 1, {}), Error);
    CHECK(cuda_float::device_ms(*network, pixels, 2, 3).size() == 3);
}
