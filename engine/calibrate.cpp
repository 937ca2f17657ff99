// SPDX-License-Identifier: Apache-2.0
// Running the float network over pictures and keeping what the grids need: one histogram per site.
#include <algorithm>

#include <fmt/format.h>

#include "engine/backend.h"
#include "engine/calibration.h"
#include "engine/error.h"
#include "engine/histogram.h"
#include "engine/thread_pool.h"

namespace ivit {

namespace {

constexpr double tail = 0.9999;  // of RangeMethod::percentile

// Nodes whose output has a grid that calibration decides. The patches share the grid of the residual stream's
// first tensor; softmax and the accumulators need no range.
bool is_site(const Node& node) {
    switch (node.op) {
        case Op::input:
        case Op::pos_embed:
        case Op::layernorm:
        case Op::attn_logits:
        case Op::attn_context:
        case Op::gelu:
        case Op::residual_add:
            return true;
        case Op::linear:
            return !node.to_residual;
        case Op::patch_embed:
        case Op::softmax:
        case Op::head:
            return false;
    }
    return false;
}

// One histogram's worth of work: group `group` of the output of `node`, counted into `histogram`.
struct Count {
    int node = 0, group = 0;
    MagnitudeHistogram* histogram = nullptr;
};

SiteRange range_of(const MagnitudeHistogram& h) {
    SiteRange r;
    r.minmax = h.greatest();
    r.percentile = h.percentile(tail);
    r.mse.assign(17, 0.0);
    for (int bits = 4; bits <= 16; ++bits) r.mse[static_cast<size_t>(bits)] = h.mse_clip(bits);
    return r;
}

// The next pictures up to `asked`, from `done` on, one behind the other in `pixels`; those left out are
// skipped. Yields how many there are.
int64_t gather(const std::function<Pixels(int64_t)>& next, int64_t done, int64_t asked, size_t picture_bytes,
               Pixels& pixels) {
    pixels.clear();
    int64_t batch = 0;
    for (int64_t b = 0; b < asked; ++b) {
        const Pixels picture = next(done + b);
        if (picture.empty()) continue;
        if (picture.size() != picture_bytes) {
            throw Error(fmt::format("calibration picture {} has {} bytes, the model takes {}", done + b + 1,
                                    picture.size(), picture_bytes));
        }
        pixels.insert(pixels.end(), picture.begin(), picture.end());
        ++batch;
    }
    return batch;
}

void count_values(const Trace& trace, const std::vector<Count>& work, ThreadPool& pool) {
    std::vector<char> finite(work.size(), 1);  // not vector<bool>: written from several threads
    pool.run(static_cast<int>(work.size()), [&](int w) {
        const Count& c = work[static_cast<size_t>(w)];
        const FloatTensor& x = trace.tap(c.node)->floats;
        const Node& node = trace.graph->nodes[static_cast<size_t>(c.node)];
        const int64_t cols = node.cols(), width = cols / node.groups;
        const int64_t rows = static_cast<int64_t>(x.data.size()) / cols;
        finite[static_cast<size_t>(w)] = c.histogram->add(x.data.data() + c.group * width, rows, width, cols);
    });
    for (size_t w = 0; w < work.size(); ++w) {
        if (!finite[w]) {
            throw Error("the float network yields NaN or infinity here, so there is no range to find",
                        trace.graph->nodes[static_cast<size_t>(work[w].node)].name);
        }
    }
}

using Histograms = std::map<std::string, std::vector<MagnitudeHistogram>>;  // by site, one per output group

// What is counted of every run.
struct Watch {
    std::vector<bool> taps;   // per node
    std::vector<Count> work;  // into the histograms
    int64_t tapped = 0;       // floats per picture
};

// All sites of the graph. `histograms` receives one for each group of each.
Watch watch_sites(const Graph& graph, Histograms& histograms) {
    Watch w;
    w.taps.assign(graph.nodes.size(), false);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
        const Node& node = graph.nodes[i];
        if (!is_site(node)) continue;
        w.taps[i] = true;
        w.tapped += elements(node.shape);
        auto& groups = histograms[node.name];
        groups.resize(static_cast<size_t>(node.groups));
        for (int k = 0; k < node.groups; ++k)
            w.work.push_back({static_cast<int>(i), k, &groups[static_cast<size_t>(k)]});
    }
    return w;
}

std::map<std::string, std::vector<SiteRange>> ranges_of(const Histograms& histograms, ThreadPool& pool) {
    std::map<std::string, std::vector<SiteRange>> sites;
    std::vector<std::pair<const MagnitudeHistogram*, SiteRange*>> ranges;
    for (const auto& [name, groups] : histograms) {
        auto& site = sites[name];
        site.resize(groups.size());
        for (size_t k = 0; k < groups.size(); ++k) ranges.emplace_back(&groups[k], &site[k]);
    }
    pool.run(static_cast<int>(ranges.size()), [&](int i) {
        const auto& [histogram, range] = ranges[static_cast<size_t>(i)];
        *range = range_of(*histogram);
    });
    return sites;
}

}  // namespace

Calibration calibrate(const Model& model, int64_t count, const std::function<Pixels(int64_t)>& next,
                      RangeMethod method, int threads, const Progress& progress, Network* floats) {
    if (count < 1) throw Error("calibration needs at least one picture");
    const Graph& graph = *model.graph;
    Histograms histograms;
    Watch watch = watch_sites(graph, histograms);
    RunOptions options;
    options.taps = watch.taps;

    std::unique_ptr<Network> own;
    if (!floats) {
        // Shared ownership without ownership: the caller's model outlives the network.
        own = make_float_network(std::shared_ptr<const Model>(std::shared_ptr<void>(), &model), threads);
        floats = own.get();
    }
    const auto pool = ThreadPool::get(threads);
    const size_t picture_bytes =
        size_t{3} * static_cast<size_t>(graph.image_size) * static_cast<size_t>(graph.image_size);
    // Small pictures go in batches; the taps of one stay within 64 MB, or are those of one picture.
    const int64_t batch_limit =
        std::clamp<int64_t>((int64_t{16} << 20) / std::max<int64_t>(watch.tapped, 1), 1, 16);

    Pixels pixels;
    int64_t used = 0;
    for (int64_t done = 0; done < count;) {
        const int64_t asked = std::min(batch_limit, count - done);
        const int64_t batch = gather(next, done, asked, picture_bytes, pixels);
        if (batch > 0)
            count_values(*floats->run(pixels, static_cast<int>(batch), options), watch.work, *pool);
        used += batch;
        for (int64_t b = 0; b < asked; ++b) {
            ++done;
            if (progress && !progress(done, count)) throw Cancelled();
        }
    }
    if (used == 0) throw Error("none of the calibration's pictures can be read");

    Calibration result;
    result.method = method;
    result.pictures = used;
    result.source = fmt::format("{} picture{}", used, used == 1 ? "" : "s");
    result.sites = ranges_of(histograms, *pool);
    return result;
}

std::vector<Pixels> augmentations(const Pixels& picture, int image_size) {
    const int n = image_size, shift = std::max(1, n / 12);
    // Pixel (x, y) of the result from pixel (x', y') of the picture, edges repeated.
    const auto moved = [&](bool flip, int dx, int dy) {
        Pixels out(picture.size());
        for (int y = 0; y < n; ++y)
            for (int x = 0; x < n; ++x) {
                const int from_x = std::clamp(flip ? n - 1 - x - dx : x - dx, 0, n - 1),
                          from_y = std::clamp(y - dy, 0, n - 1);
                for (int c = 0; c < 3; ++c) {
                    out[static_cast<size_t>((y * n + x) * 3 + c)] =
                        picture[static_cast<size_t>((from_y * n + from_x) * 3 + c)];
                }
            }
        return out;
    };
    // v -> (v - 128) * contrast / 256 + 128 + brightness
    const auto toned = [](Pixels p, int contrast, int brightness) {
        for (uint8_t& v : p) {
            v = static_cast<uint8_t>(
                std::clamp(((int{v} - 128) * contrast + 128) / 256 + 128 + brightness, 0, 255));
        }
        return p;
    };
    return {
        picture,
        moved(true, 0, 0),
        moved(false, shift, shift),
        moved(true, -shift, shift),
        toned(picture, 256, 32),
        toned(moved(true, 0, 0), 256, -32),
        toned(moved(false, -shift, 0), 320, 0),
        toned(moved(true, 0, -shift), 192, 0),
    };
}

Calibration calibrate_on_picture(const Model& model, const Pixels& picture, int threads,
                                 const Progress& progress, Network* floats) {
    const std::vector<Pixels> pictures = augmentations(picture, model.graph->image_size);
    Calibration c = calibrate(
        model, static_cast<int64_t>(pictures.size()),
        [&](int64_t i) { return pictures[static_cast<size_t>(i)]; }, RangeMethod::mse, threads, progress,
        floats);
    c.source = "the picture at hand and its augmentations";
    c.from_input = true;
    return c;
}

}  // namespace ivit
