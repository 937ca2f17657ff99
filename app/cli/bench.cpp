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

struct Choice {
    std::string image;
    BenchOptions bench;
};

// What the integers are measured against. Where they run on a GPU, floats do too; the CPU's only where none
// of those can.
struct Baseline {
    Network* network;  // null: none
    std::string name;
};

Baseline baseline_of(const Setup& s, const Opponents& on_gpu) {
    if (!on_gpu.networks.empty())
        return {on_gpu.networks.front(),
                on_gpu.entries[on_gpu.present.front()].what + ", " + cublas_kind + ", alternating"};
    return {s.floats.get(), s.effective.backend.name == "cuda"
                                ? "FP32, oneDNN, on the CPU, alternating"
                                : "FP32, oneDNN, the same threads, alternating"};
}

// The picture, or seeded noise without one.
Pixels one_picture(const std::string& image, const OpenedModel& m) {
    const Graph& g = *m.graph();
    if (!image.empty()) return load_pixels(image, g, m.info());
    std::mt19937 noise(1);
    Pixels pixels(static_cast<size_t>(3 * g.image_size * g.image_size));
    for (auto& v : pixels) v = static_cast<uint8_t>(noise() >> 24);
    return pixels;
}

double gmacs_per_s(const BenchLayer& l) {
    return static_cast<double>(l.macs) * 1e-6 / std::max(1e-9, l.integer_ms);
}

// All that one call measured.
struct Measurement {
    Effective effective;
    Opponents on_gpu;
    Baseline baseline;
    BenchOptions options;
    BenchResult result;
    double peak = 0;  // GMAC/s on registers alone, see Backend::measure_peak(); 0: not measured
};

Json layers_json(const Measurement& m) {
    Json list = Json::array();
    for (const BenchLayer& l : m.result.layers) {
        const auto& nodes = m.effective.graph->nodes;
        Json row = {{"name", nodes[static_cast<size_t>(l.first)].name},
                    {"last", nodes[static_cast<size_t>(l.last)].name},
                    {"integer_ms", l.integer_ms},
                    {"macs", l.macs},
                    {"integer_gmacs_per_s", gmacs_per_s(l)}};
        if (m.peak > 0) row["share_of_peak"] = gmacs_per_s(l) / m.peak;
        if (m.baseline.network) row["float_ms"] = l.float_ms;
        list.push_back(row);
    }
    return list;
}

Json measurement_json(const Measurement& m) {
    const BenchResult& r = m.result;
    Json doc = document("bench", m.effective);
    doc["batch"] = m.options.batch;
    if (m.baseline.network) doc["float_ms"] = latency_json(r.floats);
    doc["integer_ms"] = latency_json(r.integers);
    if (m.baseline.network) doc["speedup"] = r.speedup;
    doc["baseline"] = m.baseline.name;
    doc["disturbed"] = disturbed(r);
    if (r.processor_share) doc["processor_share"] = *r.processor_share;
    if (r.integers_device.runs) doc["integer_device_ms"] = latency_json(r.integers_device);
    if (!m.on_gpu.entries.empty()) doc["opponents"] = opponents_json(m.on_gpu, r);
    if (m.options.per_layer) {
        if (m.peak > 0) doc["peak_gmacs_per_s"] = m.peak;
        doc["layers"] = layers_json(m);
    }
    return doc;
}

// Against the CPU's FP32, and why nothing on a GPU was measured.
void print_times(const Measurement& m) {
    const auto line = [](const std::string& what, const Latency& l) {
        fmt::print("  {:<16} median {:>9.3f} ms   p95 {:>9.3f} ms   min {:>9.3f} ms\n", what, l.median, l.p95,
                   l.min);
    };
    for (size_t i = 0; i < m.on_gpu.entries.size(); ++i)
        fmt::print("  {}: not measured, {}\n", m.on_gpu.entries[i].what, m.on_gpu.absent[i]);
    const bool gpu = m.effective.backend.name == "cuda";
    if (m.baseline.network) line(gpu ? "FP32 on the CPU" : "FP32", m.result.floats);
    line("integer", m.result.integers);
    if (m.baseline.network)
        fmt::print("  {}\n", ink(Ink::bold, fmt::format("integers{} are {:.2f} times as fast{}",
                                                        gpu ? " on the GPU" : "", m.result.speedup,
                                                        gpu ? " as FP32 on the CPU" : "")));
}

void print_layers(const Measurement& m) {
    const auto share = [&](double gmacs) { return fmt::format("{:.0f} %", 100 * gmacs / m.peak); };
    fmt::print("\n  {:<32} {:>10} {:>10} {:>7} {:>10} {:>8}\n", "nodes", "float ms", "integer ms", "ratio",
               "GMAC/s", "of peak");
    double macs = 0;
    for (const BenchLayer& l : m.result.layers) {
        const std::string& first = m.effective.graph->nodes[static_cast<size_t>(l.first)].name;
        fmt::print("  {:<32} {:>10.4f} {:>10.4f} {:>7.2f} {:>10} {:>8}\n",
                   l.first == l.last ? first : fmt::format("{} +{}", first, l.last - l.first), l.float_ms,
                   l.integer_ms, l.float_ms / std::max(1e-9, l.integer_ms),
                   l.macs ? fmt::format("{:.1f}", gmacs_per_s(l)) : "-",
                   l.macs && m.peak > 0 ? share(gmacs_per_s(l)) : "-");
        macs += static_cast<double>(l.macs);
    }
    const double whole = macs * 1e-6 / m.result.integers.median;
    fmt::print("  the network, untimed inside: {:.1f} GMAC/s", whole);
    if (m.peak > 0)
        fmt::print(", {} of the {:.1f} GMAC/s measured here on registers alone", share(whole), m.peak);
    fmt::print("\n");
}

void print_measurement(const Measurement& m) {
    fmt::print("{}\n  batch {}, {} runs of each\n", summary(m.effective), m.options.batch,
               m.result.integers.runs);
    if (m.on_gpu.networks.empty())
        print_times(m);
    else
        print_opponents(m.on_gpu, m.result);
    const std::string why = disturbance(disturbed(m.result), m.result.processor_share);
    if (!why.empty()) fmt::print("  {}\n", ink(Ink::bad, "disturbed: " + why + "; measure again"));
    if (m.options.per_layer) print_layers(m);
}

int measure(const Options& o, const Choice& choice) {
    const Pixels one = one_picture(choice.image, open(o));
    Setup s = prepare(o, [&] { return one; });
    Measurement m;
    m.options = choice.bench;
    m.options.stop = interrupted();
    Pixels pixels;
    for (int i = 0; i < m.options.batch; ++i) pixels.insert(pixels.end(), one.begin(), one.end());
    s.integers->run(pixels, m.options.batch, {});  // takes its memory before the opponents take theirs
    m.on_gpu = opponents(s, pixels, m.options.batch);
    m.baseline = baseline_of(s, m.on_gpu);
    const auto others = std::span(m.on_gpu.networks).subspan(m.on_gpu.networks.empty() ? 0 : 1);
    {
        ProgressBar bar("measuring", m.options.warm_up + m.options.runs * (m.options.per_layer ? 2 : 1));
        BenchOptions options = m.options;
        options.progress = [&](int done, int) { bar.step(done); };
        m.result = ivit::bench(m.baseline.network, *s.integers, pixels, options, others);
    }
    if (!m.on_gpu.networks.empty())
        m.result.others.insert(m.result.others.begin(), {m.result.floats, m.result.floats_device});
    s.follow_backend();
    m.effective = s.effective;
    if (!m.effective.backend.gpu_lost.empty())
        throw Error("the GPU was lost while it was measured: " + m.effective.backend.gpu_lost);
    // In the same run, so that both know the same clock.
    if (m.options.per_layer) m.peak = s.backend->measure_peak() * 1e-9;
    if (o.json)
        print_json(measurement_json(m));
    else
        print_measurement(m);
    return 0;
}

}  // namespace

void add_bench(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand(
        "bench",
        "latency of integers against floats (FP32; on a GPU TF32 and FP16 too), alternating in one process");
    auto o = std::make_shared<Options>();
    auto b = std::make_shared<Choice>();
    add_common(*c, *o);
    c->add_option("image", b->image, "picture (seeded noise without it)");
    c->add_option("--batch", b->bench.batch, "pictures a run")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    c->add_option("--runs", b->bench.runs, "measured runs of each")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    c->add_option("--warm-up", b->bench.warm_up, "runs of each before that")
        ->check(CLI::Range(0, 100000))
        ->capture_default_str();
    c->add_flag("--per-layer", b->bench.per_layer, "step by step too");
    c->callback([=, &run] { run = [=] { return measure(*o, *b); }; });
}

}  // namespace ivit::cli
