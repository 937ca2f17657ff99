// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_math.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace attention {

namespace {

size_t tokens_of(const ivit::Tap& tap) {
    const ivit::Shape& s = tap.integers.data.empty() ? tap.floats.shape : tap.integers.shape;
    return s.empty() ? 0 : static_cast<size_t>(s.back());
}

}  // namespace

std::vector<double> row(const ivit::Trace& t, int node, int head, int token) {
    const ivit::Tap* tap = t.tap(node);
    if (!tap) return {};
    const size_t n = tokens_of(*tap), at = (static_cast<size_t>(head) * n + static_cast<size_t>(token)) * n;
    std::vector<double> out(n);
    if (!tap->integers.data.empty()) {
        if (at + n > tap->integers.data.size()) return {};
        for (size_t i = 0; i < n; ++i) out[i] = tap->integers.real(static_cast<int64_t>(at + i));
    } else {
        if (at + n > tap->floats.data.size()) return {};
        for (size_t i = 0; i < n; ++i) out[i] = tap->floats.data[at + i];
    }
    return out;
}

std::vector<double> softmax_of_logits(const ivit::Trace& t, int softmax_node, int head, int token) {
    std::vector<double> p =
        row(t, t.graph->nodes[static_cast<size_t>(softmax_node)].inputs.at(0), head, token);
    if (p.empty()) return p;
    const double most = *std::max_element(p.begin(), p.end());
    double total = 0;
    for (double& x : p) total += x = std::exp(x - most);
    for (double& x : p) x /= total;
    return p;
}

double sum(const std::vector<double>& row) {
    double s = 0;
    for (const double x : row) s += x;
    return s;
}

double kl(const std::vector<double>& p, const std::vector<double>& q, double floor) {
    if (p.size() != q.size() || p.empty()) return std::nan("");
    const double total = sum(q);
    if (!(total > 0)) return INFINITY;
    double k = 0;
    for (size_t i = 0; i < p.size(); ++i) {
        if (p[i] > 0) k += p[i] * std::log(p[i] / std::max(q[i] / total, floor));
    }
    return std::max(0.0, k);
}

int top_overlap(const std::vector<double>& p, const std::vector<double>& q, int k) {
    const auto top = [k](const std::vector<double>& v) {
        std::vector<size_t> order(v.size());
        std::iota(order.begin(), order.end(), size_t{0});
        const auto end = order.begin() + std::min<std::ptrdiff_t>(k, std::ssize(order));
        std::partial_sort(order.begin(), end, order.end(),
                          [&v](size_t a, size_t b) { return v[a] != v[b] ? v[a] > v[b] : a < b; });
        return std::vector<size_t>(order.begin(), end);
    };
    const std::vector<size_t> a = top(p), b = top(q);
    return static_cast<int>(std::count_if(
        a.begin(), a.end(), [&b](size_t i) { return std::find(b.begin(), b.end(), i) != b.end(); }));
}

std::vector<int> layers(const ivit::Graph& g) {
    std::vector<int> out;
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        if (g.nodes[i].op == ivit::Op::softmax) out.push_back(static_cast<int>(i));
    }
    return out;
}

namespace {

// The heads of a layer as one matrix [n, n].
std::vector<float> fuse(const ivit::Tap& tap, size_t n, size_t heads, Fusion fusion) {
    const bool integers = !tap.integers.data.empty();
    const double scale = integers ? tap.integers.grid.scale[0] : 1;
    std::vector<float> fused(n * n);
    for (size_t i = 0; i < n * n; ++i) {
        double v = fusion == Fusion::min ? INFINITY : 0;
        for (size_t h = 0; h < heads; ++h) {
            const size_t at = h * n * n + i;
            const double a =
                integers ? tap.integers.data[at] * scale : static_cast<double>(tap.floats.data[at]);
            v = fusion == Fusion::mean  ? v + a / static_cast<double>(heads)
                : fusion == Fusion::max ? std::max(v, a)
                                        : std::min(v, a);
        }
        fused[i] = static_cast<float>(v);
    }
    return fused;
}

// The weakest `share` of the entries of [n, n] become 0, but for the class token's column.
void drop_weakest(std::vector<float>& fused, size_t n, double share) {
    const size_t drop = std::min(static_cast<size_t>(share * static_cast<double>(n * n)), n * n - 1);
    if (drop == 0) return;
    std::vector<float> sorted = fused;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(drop), sorted.end());
    const float least = sorted[drop];
    for (size_t i = 0; i < n * n; ++i)
        if (fused[i] < least && i % n != 0) fused[i] = 0;
}

// The row r times a layer's matrix with the identity added and its rows normalised.
std::vector<double> through(const std::vector<double>& r, const std::vector<float>& fused) {
    const size_t n = r.size();
    std::vector<double> next(n, 0.0);
    for (size_t i = 0; i < n; ++i) {
        if (r[i] == 0) continue;
        double total = 1;
        for (size_t j = 0; j < n; ++j) total += static_cast<double>(fused[i * n + j]);
        const double weight = r[i] / total;
        for (size_t j = 0; j < n; ++j) next[j] += weight * static_cast<double>(fused[i * n + j]);
        next[i] += weight;
    }
    return next;
}

}  // namespace

std::vector<double> rollout(const ivit::Trace& t, int token, Fusion fusion, double discard) {
    const std::vector<int> all = layers(*t.graph);
    std::vector<double> r;
    // One row of A_L ... A_1 needs only vector times matrix, from the last layer back.
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
        const ivit::Tap* tap = t.tap(*it);
        if (!tap) return {};
        const size_t n = tokens_of(*tap),
                     heads = static_cast<size_t>(t.graph->nodes[static_cast<size_t>(*it)].heads);
        if (r.empty()) {
            if (token < 0 || static_cast<size_t>(token) >= n) return {};
            r.assign(n, 0.0);
            r[static_cast<size_t>(token)] = 1;
        }
        if (r.size() != n || heads == 0) return {};
        std::vector<float> fused = fuse(*tap, n, heads, fusion);
        drop_weakest(fused, n, discard);
        r = through(r, fused);
    }
    return r;
}

PatchGrid patch_grid(int64_t tokens) {
    for (const int first : {1, 0}) {
        const int side = static_cast<int>(
            std::lround(std::sqrt(static_cast<double>(std::max<int64_t>(0, tokens - first)))));
        if (side > 0 && static_cast<int64_t>(side) * side + first == tokens && tokens > 1)
            return {side, first};
    }
    return {};
}

}  // namespace attention
