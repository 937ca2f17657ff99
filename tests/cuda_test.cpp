// SPDX-License-Identifier: Apache-2.0
// The cuda backend against the reference, bit for bit: every kernel it can choose, every width, preset and
// mode, extreme inputs, batches that run in one piece and in many. Without a GPU only the refusals are
// tested, and it says so.
#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/backends/cpu/network.h"
#include "engine/backends/cuda/network.h"
#include "engine/backends/reference/network.h"
#include "engine/error.h"
#include "tests/small_model.h"
#include "tests/whole_networks.h"

using namespace ivit;
using namespace ivit::test;

namespace {

bool gpu() {
    const std::string why = cuda::unavailable();
    if (!why.empty()) WARN("not tested on a GPU: " << why);
    return why.empty();
}

Calibration calibration_of(const Model& m) {
    return calibrate(
        m, 2, [&](int64_t i) { return test::picture(m.graph->image_size, static_cast<uint32_t>(i)); },
        RangeMethod::mse, 2);
}

void compare_networks(Backend& backend, const std::shared_ptr<const QuantizedModel>& q, const Pixels& pixels,
                      int batch, const std::string& what, IntegerNetwork* previous = nullptr,
                      std::unique_ptr<IntegerNetwork>* keep = nullptr) {
    INFO(what << ", batch " << batch);
    auto network = backend.load(q, previous);
    check_network(*network, *expected_of(q, pixels, batch), pixels, batch);
    if (keep) *keep = std::move(network);
}

}  // namespace

TEST_CASE("without a GPU cuda refuses in one sentence and auto says why", "[cuda]") {
    const std::string why = cuda::unavailable();
    std::string passed_over;
    const auto chosen = make_backend("auto", 1, &passed_over);
    if (why.empty()) {
        CHECK(chosen->info().name == "cuda");
        CHECK(passed_over.empty());
        return;
    }
    CHECK(chosen->info().name == "cpu");
    CHECK(passed_over.find(why) != std::string::npos);
    CHECK(why.find('\n') == std::string::npos);
    try {
        make_backend("cuda", 1);
        FAIL("made a backend without a GPU");
    } catch (const Error& e) {
        CHECK(std::string(e.what()).find(why) != std::string::npos);
    }
    CHECK_THROWS_AS(cuda::make_backend(), Error);
}

TEST_CASE("cuda equals reference on whole networks of odd shapes", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const auto& dims : std::vector<vit::Dims>{
             {16, 8, 60, 3, 111, 2, 7, 1e-6f},       // d = 20, hidden odd, 5 tokens
             {24, 4, 64, 2, 256, 1, 10, 1e-6f},      // d = 32, 37 tokens
             {40, 5, 21, 3, 50, 1, 3, 1e-6f},        // d = 7, 65 tokens, C not a multiple of anything
             {8, 8, 70, 1, 130, 1, 65, 1e-6f},       // d = 70, 2 tokens
             {96, 8, 192, 3, 768, 1, 1000, 1e-6f},   // d = 64, 145 tokens
             {80, 4, 64, 1, 128, 1, 10, 1e-6f},      // d = 64, 401 tokens: past every fused attention
             {32, 8, 300, 2, 600, 1, 10, 1e-6f},     // d = 150: no fused attention either
             {32, 16, 1280, 16, 1024, 1, 5, 1e-6f},  // wide: I-LayerNorm apart from its product
         }) {
        const auto model = test::small_model(5, dims);
        const Calibration calibration = calibration_of(*model);
        for (const char* spec : {"W8A8", "W4A4"})
            for (const Fill how : fills) {
                const auto q = quantize(model, calibration, QuantConfig::from_spec(spec));
                const int batch = how == Fill::random ? 3 : 1;
                compare_networks(*backend, q, pictures(dims.image_size, batch, how), batch,
                                 std::string(spec) + ", width " + std::to_string(dims.width) + ", fill " +
                                     std::to_string(static_cast<int>(how)));
            }
    }
}

TEST_CASE("cuda equals reference at every width, preset and mode", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    const auto model = test::small_model(3, {32, 8, 48, 3, 96, 2, 10, 1e-6f});
    const Calibration calibration = calibration_of(*model);
    const auto pixels = pictures(32, 2, Fill::random);
    std::unique_ptr<IntegerNetwork> previous;
    const auto check = [&](const QuantConfig& c, const std::string& what) {
        // Loaded once afresh and once with what the last configuration packed.
        const auto q = quantize(model, calibration, c);
        compare_networks(*backend, q, pixels, 2, what);
        std::unique_ptr<IntegerNetwork> next;
        compare_networks(*backend, q, pixels, 2, what + ", requantized", previous.get(), &next);
        previous = std::move(next);
    };
    for_every_configuration(check);
}

TEST_CASE("cuda: networks of every narrow width, mixed ones too, run fused and equal reference",
          "[cuda][gpu][narrow]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const auto& dims : std::vector<vit::Dims>{
             {16, 4, 24, 3, 40, 2, 7, 1e-6f},       // d = 8, 17 tokens
             {56, 4, 192, 3, 768, 2, 1000, 1e-6f},  // d = 64, 197 tokens
         }) {
        const auto model = test::small_model(8, dims);
        const Calibration calibration = calibration_of(*model);
        std::vector<QuantConfig> configs;
        const bool small = dims.width < 100;
        for (int w = 2; w <= 8; w += small ? 1 : 2)
            for (int a = 4; a <= 8; ++a)
                configs.push_back(QuantConfig::from_spec("W" + std::to_string(w) + "A" + std::to_string(a)));
        // Single layers, as a person sets them; and mixes of them.
        for (const char* glob :
             {"*qkv", "*proj", "*norm1", "*norm2", "*fc1", "*fc2", "*act", "*context", "*logits", "*softmax",
              "head", "norm", "input", "blocks.0.*", "blocks.1.attn.*"})
            for (const char* spec : {"W4A4", "W3A5", "W2A6"}) {
                QuantConfig c = QuantConfig::from_spec(spec[1] == '3' ? "W6A6" : "W8A8");
                QuantRule rule;
                rule.glob = glob;
                rule.bits = BitSpec::parse(spec);
                c.rules.push_back(rule);
                configs.push_back(c);
            }
        for (const int residual : {8, 11}) {
            configs.push_back(QuantConfig::from_spec("W4A4"));
            configs.back().residual_bits = residual;
        }
        // ShiftGELU apart from its product, whose output is then narrow bytes in memory.
        configs.push_back(QuantConfig::from_spec("W5A5"));
        configs.back().shiftgelu.row_pivot = true;
        std::unique_ptr<IntegerNetwork> previous;
        for (const QuantConfig& config : configs)
            for (const Fill how : {Fill::random, Fill::signs}) {
                const auto q = quantize(model, calibration, config);
                const int batch = how == Fill::random && small ? 3 : 1;
                const auto pixels = pictures(dims.image_size, batch, how);
                std::unique_ptr<IntegerNetwork> next;
                compare_networks(*backend, q, pixels, batch,
                                 config.label() + ", width " + std::to_string(dims.width), previous.get(),
                                 &next);
                CHECK_NOTHROW(cuda::device_ms(*next, pixels, batch, 1));  // no step left the fused kernels
                previous = std::move(next);
            }
        // As many rows as the kernels for large batches want.
        configs.clear();
        for (const char* spec : {"W4A4", "W6A6", "W3A5", "W4A8", "W8A4"})
            configs.push_back(QuantConfig::from_spec(spec));
        for (const int softmax : {4, 8, 15}) {
            configs.push_back(QuantConfig::from_spec(softmax == 8 ? "W4A4" : "W8A8"));
            configs.back().shiftmax.k = softmax;
        }
        configs.push_back(QuantConfig::from_spec("W5A5"));
        configs.back().logits_bits = 6;
        configs.push_back(QuantConfig::from_spec("W5A5"));
        configs.back().set_preset("paper");
        for (const QuantConfig& config : configs) {
            const auto q = quantize(model, calibration, config);
            const auto network = backend->load(q);
            const int batch = small ? 300 : 64;
            const auto pixels = pictures(dims.image_size, batch, Fill::random);
            const auto expected = cpu::make_backend(0)->load(q)->run(pixels, batch, {})->integer_logits;
            for (const char* tile : {"", "rows16", "rows32", "rows64", "rows128", "wgmma64", "wgmma",
                                     "wgmma192", "panel", "side", "split"}) {
                cuda::force_tile(*network, tile);
                INFO(config.label() << ", width " << dims.width << ", tile '" << tile << "'");
                REQUIRE(network->run(pixels, batch, {})->integer_logits == expected);
            }
        }
    }
}

TEST_CASE("cuda: every matrix product kernel gives the same bits", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const auto& dims : std::vector<vit::Dims>{{32, 8, 192, 3, 768, 1, 1000, 1e-6f},
                                                   {24, 4, 60, 3, 111, 2, 7, 1e-6f},
                                                   {32, 8, 768, 12, 160, 1, 33, 1e-6f}}) {
        const auto model = test::small_model(9, dims);
        const Calibration calibration = calibration_of(*model);
        for (const char* preset : {"refined", "paper"})
            for (const char* spec : {"W8A8", "W4A4"}) {
                QuantConfig config = QuantConfig::from_spec(spec);
                config.set_preset(preset);
                const auto q = quantize(model, calibration, config);
                for (const int batch : {1, 2, 13, 40}) {
                    const auto pixels = pictures(dims.image_size, batch, Fill::random);
                    const auto expected =
                        cpu::make_backend(0)->load(q)->run(pixels, batch, {})->integer_logits;
                    const auto network = backend->load(q);
                    for (const char* tile : {"", "rows16", "rows32", "rows64", "rows128", "wgmma64", "wgmma",
                                             "wgmma192", "panel", "side", "split"}) {
                        cuda::force_tile(*network, tile);
                        for (const int micro : {0, 1, 7}) {
                            cuda::set_micro_batch(*network, micro);
                            INFO("tile '" << tile << "', width " << dims.width << ", batch " << batch
                                          << ", micro " << micro << ", " << preset << " " << spec);
                            REQUIRE(network->run(pixels, batch, {})->integer_logits == expected);
                        }
                    }
                }
            }
    }
}

TEST_CASE("cuda: few pictures give the same bits, run after run", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const auto& dims : std::vector<vit::Dims>{
             {16, 8, 60, 3, 111, 2, 7, 1e-6f},      // d = 20, 5 tokens, hidden odd
             {24, 4, 64, 2, 256, 3, 10, 1e-6f},     // d = 32, 37 tokens
             {48, 8, 40, 2, 70, 1, 3, 1e-6f},       // nothing a multiple of 32
             {96, 8, 192, 3, 768, 3, 1000, 1e-6f},  // d = 64, 145 tokens
             {56, 4, 384, 6, 1536, 2, 50, 1e-6f},   // 197 tokens
             {56, 4, 768, 12, 3072, 1, 33, 1e-6f},  // the same, wide
             {60, 4, 100, 2, 64, 5, 10, 1e-6f},     // 226 tokens, d = 50
             {96, 4, 64, 1, 128, 1, 10, 1e-6f},     // 577 tokens, d = 64
         }) {
        const auto model = test::small_model(5, dims);
        const Calibration calibration = calibration_of(*model);
        for (const char* preset : {"refined", "paper"})
            for (const char* spec : {"W8A8", "W4A4", "W4A8"}) {
                QuantConfig config = QuantConfig::from_spec(spec);
                config.set_preset(preset);
                const auto q = quantize(model, calibration, config);
                const auto network = backend->load(q);
                for (const Fill how : fills) {
                    const int most = how == Fill::random ? 4 : 1;
                    const auto pixels = pictures(dims.image_size, most, how);
                    const auto expected =
                        cpu::make_backend(0)->load(q)->run(pixels, most, {})->integer_logits;
                    for (const char* tile : {"", "split"}) {
                        cuda::force_tile(*network, tile);
                        for (int batch = 1; batch <= most; ++batch) {
                            INFO("width " << dims.width << ", " << preset << " " << spec << ", tile '" << tile
                                          << "', batch " << batch << ", fill " << static_cast<int>(how));
                            const auto part = std::span(pixels).first(
                                pixels.size() / static_cast<size_t>(most) * static_cast<size_t>(batch));
                            // Again and again: what one run leaves behind must not matter to the next.
                            for (int i = 0; i < 3; ++i)
                                REQUIRE(
                                    network->run(part, batch, {})->integer_logits ==
                                    std::vector<int32_t>(expected.begin(),
                                                         expected.begin() + int64_t{batch} * dims.classes));
                        }
                    }
                }
            }
    }
}

// Small enough for compute-sanitizer: compute-sanitizer --tool memcheck (racecheck, initcheck) ivit_tests
// "[sanitize]".
TEST_CASE("cuda: a small network through every kernel", "[cuda][gpu][sanitize]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    const vit::Dims dims{24, 4, 128, 2, 160, 1, 10, 1e-6f};  // 37 tokens, d = 64
    const auto model = test::small_model(6, dims);
    const Calibration calibration = calibration_of(*model);
    for (const char* preset : {"refined", "paper"}) {
        QuantConfig config;
        config.set_preset(preset);
        const auto q = quantize(model, calibration, config);
        const auto network = backend->load(q);
        for (const int batch : {1, 4}) {
            const auto pixels = pictures(dims.image_size, batch, Fill::random);
            const auto expected = reference::make_backend()->load(q)->run(pixels, batch, {})->integer_logits;
            for (const char* tile : {"", "rows16", "rows32", "rows64", "rows128", "wgmma64", "wgmma",
                                     "wgmma192", "panel", "split"}) {
                cuda::force_tile(*network, tile);
                INFO("tile '" << tile << "', batch " << batch << ", " << preset);
                REQUIRE(network->run(pixels, batch, {})->integer_logits == expected);
            }
            const auto all = taps_of(*q->graph, [](const Node&) { return true; });
            REQUIRE(network->run(pixels, batch, all)->integer_logits == expected);
        }
    }
}

TEST_CASE("cuda: many heads of 197 tokens, as the kernels for large batches have them",
          "[cuda][gpu][sanitize]") {
    if (!gpu()) return;
    const vit::Dims dims{56, 4, 512, 8, 256, 1, 10, 1e-6f};
    const auto model = test::small_model(3, dims);
    const auto q = quantize(model, calibration_of(*model), QuantConfig());
    const auto network = cuda::make_backend()->load(q);
    // 96 heads, each for two blocks; 272: more than two for each multiprocessor of the largest GPUs.
    for (const int batch : {12, 34}) {
        const auto pixels = pictures(dims.image_size, batch, Fill::random);
        const auto expected = cpu::make_backend(0)->load(q)->run(pixels, batch, {})->integer_logits;
        for (const char* tile : {"", "side"}) {
            cuda::force_tile(*network, tile);
            INFO("tile '" << tile << "', batch " << batch);
            REQUIRE(network->run(pixels, batch, {})->integer_logits == expected);
        }
    }
}

// A smaller one of the next, for racecheck.
TEST_CASE("cuda: half a block as one kernel on a few tokens", "[cuda][gpu][sanitize]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const auto& dims : std::vector<vit::Dims>{
             {28, 4, 192, 3, 768, 1, 10, 1e-6f},   // 50 tokens
             {16, 4, 384, 6, 1536, 1, 10, 1e-6f},  // 17 tokens
             {24, 4, 768, 12, 160, 1, 10, 1e-6f},  // 37 tokens, attention with 32 of them a block
         }) {
        const auto model = test::small_model(8, dims);
        const auto q = quantize(model, calibration_of(*model), QuantConfig());
        const auto pixels = pictures(dims.image_size, 1, Fill::random);
        const auto expected = cpu::make_backend(0)->load(q)->run(pixels, 1, {})->integer_logits;
        REQUIRE(backend->load(q)->run(pixels, 1, {})->integer_logits == expected);
    }
}

TEST_CASE("cuda: half a block as one kernel gives the same bits", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    const bool hopper = backend->info().isa == "sm_90a";
    for (const auto& dims : std::vector<vit::Dims>{
             {8, 8, 192, 3, 768, 1, 10, 1e-6f},     // 2 tokens: clusters of one block
             {16, 4, 384, 6, 1536, 1, 10, 1e-6f},   // 17: one token in the last tile
             {28, 4, 192, 3, 768, 2, 10, 1e-6f},    // 50
             {56, 4, 384, 6, 1536, 1, 10, 1e-6f},   // 197
             {60, 4, 192, 3, 768, 1, 10, 1e-6f},    // 226: clusters of 15
             {64, 4, 192, 3, 768, 1, 10, 1e-6f},    // 257: one more than it takes
             {8, 8, 768, 12, 3072, 1, 10, 1e-6f},   // 2 tokens, wide
             {28, 4, 768, 12, 3072, 1, 10, 1e-6f},  // 50
             {56, 4, 768, 12, 3072, 1, 10, 1e-6f},  // 197
             {60, 4, 768, 12, 3072, 1, 10, 1e-6f},  // 226: clusters of 8
         }) {
        const auto model = test::small_model(8, dims);
        const Calibration calibration = calibration_of(*model);
        const int64_t tokens = model->graph->tokens;
        for (const char* spec : {"W8A8", "W4A6", "W8A8/10"}) {
            const auto q = quantize(model, calibration, QuantConfig::from_spec(spec));
            const auto network = backend->load(q);
            if (hopper) {
                INFO(tokens << " tokens, " << spec);
                const int attention = tokens <= 256 ? dims.depth : 0, mlp = dims.width < 768 ? dims.depth : 0;
                CHECK(cuda::fused_halves(*network, 1) == cuda::FusedHalves{attention, mlp});
                cuda::force_tile(*network, "rows16");
                CHECK(cuda::fused_halves(*network, 1) == cuda::FusedHalves{});
                cuda::force_tile(*network, "");
            }
            for (const Fill how : fills) {
                const auto pixels = pictures(dims.image_size, 4, how);
                const auto expected = cpu::make_backend(0)->load(q)->run(pixels, 4, {})->integer_logits;
                for (const int batch : {1, 2, 4}) {
                    INFO(tokens << " tokens, width " << dims.width << ", " << spec << ", fill "
                                << static_cast<int>(how) << ", batch " << batch);
                    const auto some = std::span(pixels).first(pixels.size() / 4 * static_cast<size_t>(batch));
                    REQUIRE(network->run(some, batch, {})->integer_logits ==
                            std::vector<int32_t>(expected.begin(), expected.begin() + 10 * batch));
                }
            }
        }
    }
}

TEST_CASE("cuda equals cpu on DeiT-T in batches of 1 to 300", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    for (const char* arch : {"deit_tiny_patch16_48", "deit_tiny_patch16_224"}) {
        const auto model = random_model(arch);
        const auto q = quantize(model, calibration_of(*model), QuantConfig());
        const auto network = backend->load(q);
        const int most = model->graph->image_size > 100 ? 100 : 300;  // 89 and more: attention_sm90.cu
        const auto pixels = pictures(model->graph->image_size, most, Fill::random);
        const auto expected = cpu::make_backend(0)->load(q)->run(pixels, most, {})->integer_logits;
        const size_t picture = pixels.size() / static_cast<size_t>(most);
        for (const int batch : {1, 2, 3, 5, 8, 13, 32, 64, 70, 89, 100, 255, 256, 257, 300}) {
            if (batch > most) break;
            INFO(arch << ", batch " << batch);
            const auto got =
                network->run(std::span(pixels).first(picture * static_cast<size_t>(batch)), batch, {});
            REQUIRE(got->integer_logits ==
                    std::vector<int32_t>(expected.begin(),
                                         expected.begin() + int64_t{batch} * q->graph->classes));
        }
    }
}

TEST_CASE("cuda equals reference on the bundled model", "[cuda][gpu]") {
    const std::filesystem::path bundled = IVIT_SOURCE_DIR "/assets/vit_tiny_cifar10.safetensors";
    if (!gpu() || !std::filesystem::exists(bundled)) return;
    const auto backend = cuda::make_backend();
    const auto model = load_model(bundled);
    const Calibration calibration = calibration_of(*model);
    for (const char* spec : {"W8A8", "W4A8", "W4A4", "W6A6", "W3A5"})
        compare_networks(*backend, quantize(model, calibration, QuantConfig::from_spec(spec)),
                         test::picture(model->graph->image_size, 5), 1, spec);
}

TEST_CASE("cuda runs one node alone as reference does", "[cuda][gpu]") {
    if (!gpu()) return;
    const auto backend = cuda::make_backend();
    const auto model = test::small_model(4, {24, 4, 60, 3, 111, 1, 10, 1e-6f});
    for (const char* preset : {"refined", "paper"})
        for (const char* spec : {"W8A8", "W2A4/16"}) {
            QuantConfig config = QuantConfig::from_spec(spec);
            config.set_preset(preset);
            config.logits_bits = spec[1] == '2' ? 12 : 8;
            const auto q = quantize(model, calibration_of(*model), config);
            INFO(spec << " " << preset);
            check_nodes(*backend->load(q), q);
        }
}

TEST_CASE("cuda: a stop request ends the run, timings name every node once, bad input is refused",
          "[cuda][gpu]") {
    if (!gpu()) return;
    const auto model = test::small_model(2, {16, 8, 48, 3, 96, 2, 10, 1e-6f});
    const auto q = quantize(model, calibration_of(*model), QuantConfig());
    const auto network = cuda::make_backend()->load(q);
    const auto pixels = pictures(16, 2, Fill::random);
    std::stop_source source;
    source.request_stop();
    RunOptions options;
    options.stop = source.get_token();
    CHECK_THROWS_AS(network->run(pixels, 2, options), Cancelled);
    options = {};
    options.time_nodes = true;
    for (const bool taps : {false, true}) {
        options.taps.assign(q->graph->nodes.size(), taps);
        check_timings(*network->run(pixels, 2, options));
    }
    CHECK_THROWS_AS(network->run(std::span(pixels).first(10), 1, {}), Error);
    CHECK(cuda::device_ms(*network, pixels, 2, 3).size() == 3);
    CHECK_THROWS_AS(cuda::force_tile(*network, "rows17"), Error);
}
