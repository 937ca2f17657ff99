// SPDX-License-Identifier: Apache-2.0
// Device time of the cuda backend: whole networks (pixels on the device to logits on the device, CUDA events
// around the captured graph) and, with --steps, every fused step beside its roofline: the time that its
// operations and bytes would take at the rates this GPU reached a moment before.
// --spec: bit-widths, W8A8 unless said otherwise.
// --float: a float opponent (cuda-fp32, cuda-tf32, cuda-fp16) instead of the integers; with cuBLASLt's tanh
// GELU where its name ends in -tanh.
//   ivit_cuda_bench [--json] [--steps] [--spec SPEC] [--float NAME] [--tile NAME] [--micro N] [--runs N]
//     [ARCH:BATCH...]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend.h"
#include "engine/backends/cuda/ceilings.h"
#include "engine/backends/cuda/network.h"
#include "engine/backends/cuda_float/network.h"
#include "engine/bench.h"
#include "engine/error.h"
#include "engine/model.h"

using namespace ivit;

namespace {

// Bytes that a step must move at least: what it reads and writes once, weights included. Activations are one
// byte, the residual stream two.
double step_bytes(const Graph& g, const Timing& t, int pictures) {
    double bytes = 0;
    const auto width = [&](int node) {
        return g.nodes[static_cast<size_t>(node)].op == Op::residual_add ||
                       g.nodes[static_cast<size_t>(node)].op == Op::pos_embed ||
                       g.nodes[static_cast<size_t>(node)].op == Op::patch_embed
                   ? 2
                   : 1;
    };
    const auto size = [&](int node) {
        return static_cast<double>(elements(g.nodes[static_cast<size_t>(node)].shape)) * width(node) *
               pictures;
    };
    for (int i = t.first; i <= t.last; ++i) {
        const Node& n = g.nodes[static_cast<size_t>(i)];
        for (const int in : n.inputs)
            if (in < t.first && n.op != Op::attn_context) bytes += size(in);  // attn_logits has counted qkv
        if (n.op == Op::linear || n.op == Op::head || n.op == Op::patch_embed)
            bytes += static_cast<double>(g.macs(i)) /
                     static_cast<double>(n.op == Op::patch_embed ? g.tokens - 1 : n.rows());
        if (n.op == Op::input) bytes += size(i);
    }
    return bytes + size(t.last);
}

Pixels noise_for(const Graph& g, int batch) {
    std::mt19937 noise(1);
    Pixels pixels(static_cast<size_t>(g.image_size) * static_cast<size_t>(g.image_size) * 3 *
                  static_cast<size_t>(batch));
    for (auto& v : pixels) v = static_cast<uint8_t>(noise() >> 24);
    return pixels;
}

void print_json(const std::string& arch, int batch, const Latency& l) {
    std::printf(
        "{\"arch\": \"%s\", \"batch\": %d, \"median_ms\": %.6f, \"min_ms\": %.6f, \"p95_ms\": %.6f}\n",
        arch.c_str(), batch, l.median, l.min, l.p95);
}

void run_float(const std::string& arch, int batch, bool json, bool steps, std::string name, int runs) {
    const bool tanh = name.ends_with("-tanh");
    if (tanh) name.resize(name.size() - 5);
    const auto model = random_model(arch);
    const Pixels pixels = noise_for(*model->graph, batch);
    for (const OpponentEntry& o : float_opponents()) {
        if (o.name != name) continue;
        const auto network = o.make(model);
        if (tanh) cuda_float::use_tanh_gelu(*network);
        const Latency l = latency(cuda_float::device_ms(*network, pixels, batch, runs));
        if (json) return print_json(arch, batch, l);
        std::printf("%-24s batch %4d  %s%s  median %9.4f ms  min %9.4f  p95 %9.4f  %8.1f pictures/s\n",
                    arch.c_str(), batch, name.c_str(), tanh ? " (tanh GELU)" : "", l.median, l.min, l.p95,
                    1000.0 * batch / l.median);
        if (!steps) return;
        RunOptions timed;
        timed.time_nodes = true;
        network->run(pixels, batch, timed);
        const auto trace = network->run(pixels, batch, timed);
        for (const Timing& t : trace->timings) {
            const std::string& first = model->graph->nodes[static_cast<size_t>(t.first)].name;
            if (first.find("blocks.") == 0 && first.find("blocks.1.") != 0) continue;
            std::printf("  %-28s %9.3f us\n", first.c_str(), t.ms * 1e3);
        }
        return;
    }
    throw Error("there is no float opponent called '" + name + "'", "--float");
}

// Microseconds that a step takes at least, and what says so. Attention multiplies with mma.sync, its
// probabilities in two planes of 8 bits: three products where the count of macs has two.
std::pair<double, const char*> floor_us(const cuda::Ceilings& c, bool attention, double macs, double bytes) {
    const double tops = attention || c.wgmma_tops == 0 ? c.mma_tops : c.wgmma_tops;
    const double products = (attention ? 3e-6 : 2e-6) * macs / tops, memory = 1e-6 * bytes / c.copy_tbs;
    return products > memory ? std::pair(products, "products") : std::pair(memory, "memory");
}

void run(const std::string& arch, int batch, bool json, bool steps, const std::string& spec,
         const std::string& tile, int micro, int runs, const cuda::Ceilings& ceilings) {
    const auto model = random_model(arch);
    const Pixels pixels = noise_for(*model->graph, batch);
    const int side = model->graph->image_size;
    const Pixels one(pixels.begin(), pixels.begin() + side * side * 3);
    const Calibration calibration = calibrate(
        *model, 1, [&](int64_t) { return one; }, RangeMethod::minmax, 0);
    const auto q = quantize(model, calibration, QuantConfig::from_spec(spec));
    const auto backend = cuda::make_backend();
    const auto network = backend->load(q);
    if (!tile.empty()) cuda::force_tile(*network, tile);
    if (micro > 0) cuda::set_micro_batch(*network, micro);
    const Graph& g = network->graph();
    int64_t macs = 0;
    for (size_t i = 0; i < g.nodes.size(); ++i) macs += g.macs(static_cast<int>(i));
    const Latency l = latency(cuda::device_ms(*network, pixels, batch, runs));
    if (json) return print_json(arch, batch, l);
    const double top_per_s = 2e-9 * static_cast<double>(macs) * batch / l.median;
    std::printf(
        "%-24s %s  batch %4d  at once %4d  median %9.4f ms  min %9.4f  p95 %9.4f  %8.1f pictures/s  %7.1f "
        "TOP/s\n",
        arch.c_str(), spec.c_str(), batch, cuda::pictures_at_once(*network, batch), l.median, l.min, l.p95,
        1000.0 * batch / l.median, top_per_s);
    const cuda::FusedHalves halves = cuda::fused_halves(*network, cuda::pictures_at_once(*network, batch));
    if (halves.attention + halves.mlp > 0)
        std::printf("%-24s             one kernel each: %d attention halves, %d MLP halves\n", "",
                    halves.attention, halves.mlp);
    std::vector<double> whole;
    for (int i = 0; i < std::min(runs, 20) + 3; ++i) {
        const auto trace = network->run(pixels, batch, {});
        if (i >= 3) whole.push_back(trace->ms);
    }
    const Latency w = latency(whole);
    std::printf("%-24s             with both transfers  median %9.4f ms  min %9.4f\n", "", w.median, w.min);
    if (!steps) return;
    const int n = cuda::pictures_at_once(*network, batch);
    double sum = 0;
    for (const Timing& t : cuda::step_ms(*network, pixels, batch, 20)) {
        int64_t step_macs = 0;
        for (int i = t.first; i <= t.last; ++i) step_macs += g.macs(i) * n;
        sum += t.ms;
        const std::string& name = g.nodes[static_cast<size_t>(t.first)].name;
        if (name.find("blocks.") == 0 && name.find("blocks.1.") != 0) continue;  // one block stands for all
        const double bytes = step_bytes(g, t, n);
        const auto [floor, limit] =
            floor_us(ceilings, g.nodes[static_cast<size_t>(t.first)].op == Op::attn_logits,
                     static_cast<double>(step_macs), bytes);
        std::printf(
            "  %-28s %9.3f us  %8.1f MMAC  %7.2f TOP/s  %8.2f MB  %7.2f TB/s  floor %8.3f us (%s), %5.1f %% "
            "of it\n",
            name.c_str(), t.ms * 1e3, 1e-6 * static_cast<double>(step_macs),
            2e-9 * static_cast<double>(step_macs) / t.ms, bytes * 1e-6, 1e-9 * bytes / t.ms, floor, limit,
            0.1 * floor / t.ms);
    }
    std::printf("  sum of the steps on %d pictures %.3f us\n", n, sum * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
    bool steps = false, json = false;
    std::string tile, floats, spec = "W8A8";
    int micro = 0, runs = 100;
    std::vector<std::pair<std::string, int>> cases;
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        if (a == "--steps")
            steps = true;
        else if (a == "--json")
            json = true;
        else if (a == "--float" && i + 1 < argc)
            floats = argv[++i];
        else if (a == "--spec" && i + 1 < argc)
            spec = argv[++i];
        else if (a == "--tile" && i + 1 < argc)
            tile = argv[++i];
        else if (a == "--micro" && i + 1 < argc)
            micro = std::atoi(argv[++i]);
        else if (a == "--runs" && i + 1 < argc)
            runs = std::atoi(argv[++i]);
        else if (a.find(':') != std::string::npos)
            cases.emplace_back(a.substr(0, a.find(':')), std::atoi(a.c_str() + a.find(':') + 1));
        else {
            std::fprintf(stderr,
                         "usage: %s [--json] [--steps] [--spec SPEC] [--float NAME] [--tile NAME] [--micro "
                         "N] [--runs N] "
                         "[ARCH:BATCH...]\n",
                         argv[0]);
            return 2;
        }
    }
    if (cases.empty())
        for (const char* size : {"tiny", "small", "base"})
            for (const int batch : {1, 256})
                cases.emplace_back(std::string("deit_") + size + "_patch16_224", batch);
    try {
        if (const std::string why = cuda::unavailable(); !why.empty()) throw Error(why, "cuda");
        cuda::Ceilings ceilings;
        if (steps && floats.empty()) {
            ceilings = cuda::measure_ceilings();
            std::printf("ceilings: wgmma %.0f TOP/s, mma.sync %.0f TOP/s, copy %.2f TB/s\n",
                        ceilings.wgmma_tops, ceilings.mma_tops, ceilings.copy_tbs);
        }
        for (const auto& [arch, batch] : cases)
            if (floats.empty())
                run(arch, batch, json, steps, spec, tile, micro, runs, ceilings);
            else
                run_float(arch, batch, json, steps, floats, runs);
    } catch (const Error& e) {
        std::fprintf(stderr, "ivit_cuda_bench: %s\n", e.what());
        return 1;
    }
}
