// SPDX-License-Identifier: Apache-2.0
// What stands between a click and new numbers, other than running the networks: making the integers again
// after a change of the configuration, packing them for the cpu backend, and ranges from one picture.
#include <benchmark/benchmark.h>

#include <string>

#include "engine/backend.h"
#include "engine/calibration.h"
#include "engine/cpu_info.h"
#include "engine/families/vit.h"
#include "engine/quantized_model.h"

using namespace ivit;

namespace {

std::shared_ptr<const Model> deit_tiny() {
    static const auto model = vit::random("deit_tiny_patch16_224", 1);
    return model;
}

std::vector<Pixels> pictures() {
    const Model& model = *deit_tiny();
    Pixels p(static_cast<size_t>(model.graph->image_size) * static_cast<size_t>(model.graph->image_size) * 3);
    uint32_t state = 1;
    for (size_t i = 0; i < p.size(); ++i) {
        state = state * 1664525 + 1013904223;
        p[i] =
            static_cast<uint8_t>(128 + static_cast<int>(state >> 27) - 16 + static_cast<int>(i / 600 % 90));
    }
    return augmentations(p, model.graph->image_size);
}

Calibration ranges() {
    const auto some = pictures();
    return calibrate(
        *deit_tiny(), static_cast<int64_t>(some.size()),
        [&](int64_t i) { return some[static_cast<size_t>(i)]; }, RangeMethod::mse, 0);
}

// From W8A8 to `to`, and back, with what stayed the same taken over.
void requantize(benchmark::State& state, const std::string& to) {
    const Calibration calibration = ranges();
    QuantConfig changed = to.front() == 'W' ? QuantConfig::from_spec(to) : QuantConfig();
    if (to.front() != 'W') changed.rules.push_back({to, BitSpec::parse("W4"), {}, {}, {}, {}, {}, {}});
    const auto backend = make_backend("cpu", 0);
    const auto before = quantize(deit_tiny(), calibration, QuantConfig());
    const auto network = backend->load(before);
    for (auto _ : state) {
        const auto after = quantize(deit_tiny(), calibration, changed, before.get());
        benchmark::DoNotOptimize(backend->load(after, network.get()));
    }
}

void calibrate_on_one_picture(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(ranges());
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::AddCustomContext("machine", cpu_name() + ", " + cpu_isa());
    // One node, one rule over all blocks, the whole network: by weights, by activations, by both.
    for (const std::string to : {"blocks.3.mlp.fc2", "blocks.*.mlp.fc2", "W4A8", "W8A6", "W6A6"})
        benchmark::RegisterBenchmark(("requantize/" + to).c_str(), requantize, to)
            ->Unit(benchmark::kMillisecond)
            ->MeasureProcessCPUTime()
            ->UseRealTime();
    benchmark::RegisterBenchmark("calibrate/8 views of a picture", calibrate_on_one_picture)
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime()
        ->UseRealTime();
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
