// SPDX-License-Identifier: GPL-3.0-or-later
// ivit bench: latency of the integers against floating point.
#include <fmt/format.h>

#include <random>

#include "app/cli/command.h"
#include "engine/bench.h"
#include "engine/error.h"

namespace ivit::cli {

namespace {

// The float networks on the integers' device.
struct Opponents {
    std::vector<OpponentEntry> entries;  // that there could be
    std::vector<std::string> absent;     // per entry: why it is not measured; empty where it is
    std::vector<size_t> present;         // entries that are measured, and their networks
    std::vector<std::unique_ptr<Network>> owned;
    std::vector<Network*> networks;
};

const std::string cublas_kind = "cuBLASLt and one fused attention kernel in a CUDA graph";

// Makes those that can be, and has each run once, so that what does not fit in memory is left out here.
Opponents opponents(const Setup& s, std::span<const uint8_t> pixels, int batch) {
    Opponents found;
    if (!s.opened.model) return found;
    for (const OpponentEntry& e : float_opponents()) {
        if (e.backend != s.backend->info().name) continue;
        found.entries.push_back(e);
        std::string& absent = found.absent.emplace_back(e.unavailable());
        if (!absent.empty()) continue;
        try {
            auto network = e.make(s.opened.model);
            network->run(pixels, batch, {});
            found.present.push_back(found.entries.size() - 1);
            found.networks.push_back(network.get());
            found.owned.push_back(std::move(network));
        } catch (const Error& error) {
            absent = error.sentence();
        }
    }
    return found;
}

Json opponents_json(const Opponents& o, const BenchResult& r) {
    Json list = Json::array();
    for (size_t i = 0, k = 0; i < o.entries.size(); ++i) {
        Json j = {{"name", o.entries[i].name}, {"what", o.entries[i].what}};
        if (!o.absent[i].empty()) {
            j["absent"] = o.absent[i];
        } else {
            const Measured& m = r.others[k++];
            j["kind"] = cublas_kind;
            j["wall_ms"] = latency_json(m.wall);
            j["device_ms"] = latency_json(m.device);
            j["speedup"] = m.wall.median / r.integers.median;
            if (r.integers_device.runs) j["device_speedup"] = m.device.median / r.integers_device.median;
        }
        list.push_back(std::move(j));
    }
    return list;
}

// Device time first: it is what the networks cost; the rest of the wall time is the same transfers for all.
void print_opponents(const Opponents& o, const BenchResult& r) {
    fmt::print("  {:<18} {:>10} {:>10} {:>9} {:>12} {:>10} {:>9}\n", "", "device ms", "p95", "ratio",
               "wall ms", "p95", "ratio");
    const auto row = [&](const std::string& what, const Measured& m, bool ratio) {
        const bool device = m.device.runs > 0;
        fmt::print("  {:<18} {:>10} {:>10} {:>9} {:>12.4f} {:>10.4f} {:>9}\n", what,
                   device ? fmt::format("{:.4f}", m.device.median) : "-",
                   device ? fmt::format("{:.4f}", m.device.p95) : "-",
                   ratio && device && r.integers_device.runs
                       ? fmt::format("{:.2f} x", m.device.median / r.integers_device.median)
                       : "",
                   m.wall.median, m.wall.p95,
                   ratio ? fmt::format("{:.2f} x", m.wall.median / r.integers.median) : "");
    };
    for (size_t i = 0, k = 0; i < o.entries.size(); ++i) {
        if (o.absent[i].empty())
            row(o.entries[i].what, r.others[k++], true);
        else
            fmt::print("  {:<18} not measured: {}\n", o.entries[i].what, o.absent[i]);
    }
    row("integers", {r.integers, r.integers_device}, false);
    fmt::print("  ratio: to the integers; floats: {}; all alternate\n", cublas_kind);
    std::string ratios;
    for (size_t i = 0; i < o.present.size(); ++i)
        ratios += fmt::format("{}{:.2f} times as fast as {}", i ? ", " : "",
                              r.others[i].wall.median / r.integers.median, o.entries[o.present[i]].what);
    fmt::print("  {}\n", ink(Ink::bold, "integers, pixels to logits: " + ratios));
}

std::string nodes_of(const Graph& g, const BenchLayer& l) {
    const std::string& first = g.nodes[static_cast<size_t>(l.first)].name;
    return l.first == l.last ? first : fmt::format("{} +{}", first, l.last - l.first);
}

}  // namespace

void add_bench(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand(
        "bench",
        "latency of integers against floats (FP32; on a GPU TF32 and FP16 too), alternating in one process");
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
            // Where the integers run on a GPU, floats do too; the CPU's only where none of those can.
            s.integers->run(pixels, options.batch, {});  // takes its memory first
            Opponents on_gpu = opponents(s, pixels, options.batch);
            Network* baseline = s.floats.get();
            std::string baseline_name = "FP32, oneDNN, the same threads, alternating";
            if (s.effective.backend.name == "cuda") baseline_name = "FP32, oneDNN, on the CPU, alternating";
            if (!on_gpu.networks.empty()) {
                baseline = on_gpu.networks.front();
                baseline_name =
                    on_gpu.entries[on_gpu.present.front()].what + ", " + cublas_kind + ", alternating";
            }
            const auto others = std::span(on_gpu.networks).subspan(on_gpu.networks.empty() ? 0 : 1);
            ProgressBar bar("measuring", options.warm_up + options.runs * (options.per_layer ? 2 : 1));
            options.progress = [&](int done, int) { bar.step(done); };
            BenchResult r = ivit::bench(baseline, *s.integers, pixels, options, others);
            if (!on_gpu.networks.empty()) r.others.insert(r.others.begin(), {r.floats, r.floats_device});
            s.follow_backend();
            if (!s.effective.backend.gpu_lost.empty())
                throw Error("the GPU was lost while it was measured: " + s.effective.backend.gpu_lost);

            Json doc = document("bench", s.effective);
            doc["batch"] = options.batch;
            if (baseline) doc["float_ms"] = latency_json(r.floats);
            doc["integer_ms"] = latency_json(r.integers);
            if (baseline) doc["speedup"] = r.speedup;
            doc["baseline"] = baseline_name;
            const std::string why = disturbance(disturbed(r), r.processor_share);
            doc["disturbed"] = disturbed(r);
            if (r.processor_share) doc["processor_share"] = *r.processor_share;
            if (r.integers_device.runs) doc["integer_device_ms"] = latency_json(r.integers_device);
            if (!on_gpu.entries.empty()) doc["opponents"] = opponents_json(on_gpu, r);
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
                    if (baseline) row["float_ms"] = l.float_ms;
                    doc["layers"].push_back(row);
                }
            }
            if (o->json) {
                print_json(doc);
                return 0;
            }
            fmt::print("{}\n  batch {}, {} runs of each\n", summary(s.effective), options.batch,
                       r.integers.runs);
            const auto line = [](const std::string& what, const Latency& l) {
                fmt::print("  {:<16} median {:>9.3f} ms   p95 {:>9.3f} ms   min {:>9.3f} ms\n", what,
                           l.median, l.p95, l.min);
            };
            if (on_gpu.networks.empty()) {
                for (size_t i = 0; i < on_gpu.entries.size(); ++i)
                    fmt::print("  {}: not measured, {}\n", on_gpu.entries[i].what, on_gpu.absent[i]);
                const bool gpu = s.effective.backend.name == "cuda";
                if (baseline) line(gpu ? "FP32 on the CPU" : "FP32", r.floats);
                line("integer", r.integers);
                if (baseline)
                    fmt::print("  {}\n", ink(Ink::bold, fmt::format("integers{} are {:.2f} times as fast{}",
                                                                    gpu ? " on the GPU" : "", r.speedup,
                                                                    gpu ? " as FP32 on the CPU" : "")));
            } else {
                print_opponents(on_gpu, r);
            }
            if (!why.empty()) fmt::print("  {}\n", ink(Ink::bad, "disturbed: " + why + "; measure again"));
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
