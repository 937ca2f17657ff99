// SPDX-License-Identifier: GPL-3.0-or-later
// ivit bench: latency of the integers against floating point.
#include <fmt/format.h>

#include <random>

#include "app/cli/command.h"
#include "engine/bench.h"

namespace ivit::cli {

namespace {

Json latency_json(const Latency& l) {
    return {{"median", l.median}, {"p95", l.p95}, {"min", l.min}, {"runs", l.runs}};
}

std::string nodes_of(const Graph& g, const BenchLayer& l) {
    const std::string& first = g.nodes[static_cast<size_t>(l.first)].name;
    return l.first == l.last ? first : fmt::format("{} +{}", first, l.last - l.first);
}

}  // namespace

void add_bench(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand(
        "bench", "latency of integers against FP32, alternating in one process after warm-up");
    auto o = std::make_shared<Options>();
    auto b = std::make_shared<BenchOptions>();
    auto image = std::make_shared<std::string>();
    add_common(*c, *o);
    c->add_option("image", *image, "picture (seeded noise without it)");
    c->add_option("--batch", b->batch, "pictures a run")->check(CLI::Range(1, 4096))->capture_default_str();
    c->add_option("--runs", b->runs, "measured runs of each")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    c->add_option("--warm-up", b->warm_up, "runs of each before that")
        ->check(CLI::Range(0, 100000))
        ->capture_default_str();
    c->add_flag("--per-layer", b->per_layer, "step by step too");
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel probe = open(*o);
            const Graph& g = *probe.graph();
            Pixels one;
            if (image->empty()) {
                std::mt19937 noise(1);
                one.resize(static_cast<size_t>(3 * g.image_size * g.image_size));
                for (auto& v : one) v = static_cast<uint8_t>(noise() >> 24);
            } else {
                one = load_pixels(*image, g, probe.info());
            }
            Setup s = prepare(*o, [&] { return one; });
            Pixels pixels;
            for (int i = 0; i < b->batch; ++i) pixels.insert(pixels.end(), one.begin(), one.end());
            BenchOptions options = *b;
            options.stop = interrupted();
            ProgressBar bar("measuring", options.warm_up + options.runs * (options.per_layer ? 2 : 1));
            options.progress = [&](int done, int) { bar.step(done); };
            const BenchResult r = ivit::bench(s.floats.get(), *s.integers, pixels, options);

            // The float network has no GPU kernels: tools/bench_peers_gpu.py measures floats on the GPU.
            const bool gpu = s.effective.backend.name == "cuda";
            Json doc = document("bench", s.effective);
            doc["batch"] = options.batch;
            if (s.floats) doc["float_ms"] = latency_json(r.floats);
            doc["integer_ms"] = latency_json(r.integers);
            if (s.floats) doc["speedup"] = r.speedup;
            doc["baseline"] =
                gpu ? "FP32, oneDNN, on the CPU, alternating" : "FP32, oneDNN, the same threads, alternating";
            // In the same run, so that both know the same clock.
            const double peak = options.per_layer ? s.backend->measure_peak() : 0;
            const auto gmacs = [](const BenchLayer& l) {
                return static_cast<double>(l.macs) * 1e-6 / std::max(1e-9, l.integer_ms);
            };
            if (options.per_layer) {
                if (peak > 0) doc["peak_gmacs_per_s"] = peak * 1e-9;
                doc["layers"] = Json::array();
                for (const auto& l : r.layers) {
                    Json row = {{"name", g.nodes[static_cast<size_t>(l.first)].name},
                                {"last", g.nodes[static_cast<size_t>(l.last)].name},
                                {"integer_ms", l.integer_ms},
                                {"macs", l.macs},
                                {"integer_gmacs_per_s", gmacs(l)}};
                    if (peak > 0) row["share_of_peak"] = gmacs(l) / (peak * 1e-9);
                    if (s.floats) row["float_ms"] = l.float_ms;
                    doc["layers"].push_back(row);
                }
            }
            if (o->json) {
                print_json(doc);
                return 0;
            }
            fmt::print("{}\n  batch {}, {} runs of each\n", summary(s.effective), options.batch,
                       r.integers.runs);
            const auto line = [](const char* what, const Latency& l) {
                fmt::print("  {:<8} median {:>9.3f} ms   p95 {:>9.3f} ms   min {:>9.3f} ms\n", what, l.median,
                           l.p95, l.min);
            };
            if (s.floats) line(gpu ? "FP32 CPU" : "FP32", r.floats);
            line("integer", r.integers);
            if (s.floats)
                fmt::print("  {}\n", ink(Ink::bold, fmt::format("integers{} are {:.2f} times as fast{}",
                                                                gpu ? " on the GPU" : "", r.speedup,
                                                                gpu ? " as FP32 on the CPU" : "")));
            if (options.per_layer) {
                fmt::print("\n  {:<32} {:>10} {:>10} {:>7} {:>10} {:>8}\n", "nodes", "float ms", "integer ms",
                           "ratio", "GMAC/s", "of peak");
                for (const auto& l : r.layers)
                    fmt::print("  {:<32} {:>10.4f} {:>10.4f} {:>7.2f} {:>10} {:>8}\n", nodes_of(g, l),
                               l.float_ms, l.integer_ms, l.float_ms / std::max(1e-9, l.integer_ms),
                               l.macs ? fmt::format("{:.1f}", gmacs(l)) : "-",
                               l.macs && peak > 0 ? fmt::format("{:.0f} %", gmacs(l) / peak * 1e11) : "-");
                double all = 0;
                for (const auto& l : r.layers) all += static_cast<double>(l.macs);
                const double whole = all * 1e-6 / r.integers.median;
                fmt::print("  the network, untimed inside: {:.1f} GMAC/s", whole);
                if (peak > 0)
                    fmt::print(", {:.0f} % of the {:.1f} GMAC/s measured here on registers alone",
                               whole / peak * 1e11, peak * 1e-9);
                fmt::print("\n");
            }
            return 0;
        };
    });
}

}  // namespace ivit::cli
