// SPDX-License-Identifier: Apache-2.0
#include "engine/bench.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/processor_time.h"

namespace ivit {

Latency latency(std::vector<double> ms) {
    if (ms.empty()) return {};
    std::sort(ms.begin(), ms.end());
    const auto rank = [&](double share) {
        return ms[static_cast<size_t>(std::max(0.0, std::ceil(share * static_cast<double>(ms.size())) - 1))];
    };
    return {rank(0.5), rank(0.95), ms.front(), static_cast<int>(ms.size())};
}

bool scatters(const Latency& l) { return l.p95 > 1.5 * l.median; }

bool disturbed(const BenchResult& r) {
    return scatters(r.integers) || scatters(r.floats) || r.processor_share.value_or(1) < undisturbed_share;
}

std::string disturbance(bool disturbed, std::optional<double> processor_share) {
    if (processor_share && *processor_share < undisturbed_share)
        return fmt::format("the processor was shared, the threads had {:.0f} % of the time they wanted",
                           100 * *processor_share);
    return disturbed ? "the runs scatter, another program took the cores now and then" : "";
}

namespace {

// Medians per step over several timed runs; the steps are the same every run.
std::vector<Timing> median_timings(const std::vector<std::vector<Timing>>& runs) {
    std::vector<Timing> result;
    if (runs.empty()) return result;
    for (size_t i = 0; i < runs[0].size(); ++i) {
        std::vector<double> ms;
        for (const auto& r : runs) ms.push_back(r[i].ms);
        result.push_back({runs[0][i].first, runs[0][i].last, latency(ms).median});
    }
    return result;
}

// The two backends fuse differently: a row is the shortest run of nodes that is whole steps in both.
std::vector<BenchLayer> merge(const std::vector<Timing>& f, const std::vector<Timing>& q, const Graph& graph,
                              int batch) {
    std::vector<BenchLayer> rows;
    size_t a = 0, b = 0;
    while (b < q.size()) {
        BenchLayer row{q[b].first, q[b].last, 0, q[b].ms, 0};
        ++b;
        while (a < f.size() && f[a].first <= row.last) {
            row.float_ms += f[a].ms;
            row.last = std::max(row.last, f[a++].last);
            while (b < q.size() && q[b].first <= row.last) {
                row.integer_ms += q[b].ms;
                row.last = std::max(row.last, q[b++].last);
            }
        }
        for (int i = row.first; i <= row.last; ++i) row.macs += graph.macs(i) * batch;
        rows.push_back(row);
    }
    return rows;
}

}  // namespace

BenchResult bench(Network* floats, IntegerNetwork& integers, std::span<const uint8_t> pixels,
                  const BenchOptions& o, std::span<Network* const> others) {
    BenchResult result;
    struct Samples {
        std::vector<double> wall, device;
        void add(const Trace& t) {
            wall.push_back(t.ms);
            if (t.device_ms > 0) device.push_back(t.device_ms);
        }
    };
    Samples f, q;
    std::vector<Samples> more(others.size());
    std::vector<std::vector<Timing>> f_steps, q_steps;
    const int total = o.warm_up + o.runs + (o.per_layer ? o.runs : 0);
    std::optional<ProcessorTime> before;
    for (int r = 0; r < total; ++r) {
        if (r == o.warm_up) before = processor_time();
        if (o.stop.stop_requested()) throw Cancelled{};
        RunOptions options;
        options.stop = o.stop;
        options.time_nodes = r >= o.warm_up + o.runs;
        const bool counts = r >= o.warm_up;
        const auto fp = floats ? floats->run(pixels, o.batch, options) : nullptr;
        const auto in = integers.run(pixels, o.batch, options);
        if (options.time_nodes) {
            if (fp) f_steps.push_back(fp->timings);
            q_steps.push_back(in->timings);
        } else {
            if (fp && counts) f.add(*fp);
            if (counts) q.add(*in);
            for (size_t i = 0; i < others.size(); ++i) {
                const auto other = others[i]->run(pixels, o.batch, options);
                if (counts) more[i].add(*other);
            }
        }
        if (o.progress) o.progress(r + 1, total);
    }
    if (const auto after = processor_time(); before && after)
        result.processor_share = (*after - *before).share();
    result.floats = latency(f.wall);
    result.floats_device = latency(f.device);
    result.integers = latency(q.wall);
    result.integers_device = latency(q.device);
    for (const Samples& s : more) result.others.push_back({latency(s.wall), latency(s.device)});
    if (result.floats.runs) result.speedup = result.floats.median / result.integers.median;
    if (o.per_layer)
        result.layers = merge(median_timings(f_steps), median_timings(q_steps), integers.graph(), o.batch);
    return result;
}

}  // namespace ivit
