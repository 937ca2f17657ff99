// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/logit_lens.h"

#include <algorithm>
#include <cmath>

namespace {

// The class token's row [C] of a residual tap, as real numbers; empty when it was not kept.
std::vector<float> class_token(const ivit::Trace& t, int node, int64_t channels) {
    const ivit::Tap* tap = t.tap(node);
    if (!tap) return {};
    const size_t n = static_cast<size_t>(channels);
    if (tap->floats.data.size() >= n) return {tap->floats.data.begin(), tap->floats.data.begin() + channels};
    std::vector<float> row;
    if (tap->integers.data.size() < n) return row;
    for (int64_t c = 0; c < channels; ++c) row.push_back(static_cast<float>(tap->integers.real(c)));
    return row;
}

// LayerNorm over `x` [C], then the head [classes, C] and softmax: probabilities [classes].
std::vector<double> read_out(std::vector<float> x, const ivit::Model& model, const ivit::Node& norm,
                             const ivit::Node& head) {
    const std::vector<float>&gamma = model.weight(norm.weight).data, &beta = model.weight(norm.bias).data;
    const std::vector<float>&weight = model.weight(head.weight).data, &bias = model.weight(head.bias).data;
    const double n = static_cast<double>(x.size());
    double mean = 0, variance = 0;
    for (const float v : x) mean += static_cast<double>(v) / n;
    for (const float v : x) variance += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
    const double scale = 1 / std::sqrt(variance + static_cast<double>(norm.eps));
    for (size_t c = 0; c < x.size(); ++c)
        x[c] = static_cast<float>((static_cast<double>(x[c]) - mean) * scale) * gamma[c] + beta[c];
    std::vector<double> p(bias.size());
    for (size_t k = 0; k < p.size(); ++k) {
        const float* row = &weight[k * x.size()];
        float dot = 0;
        for (size_t c = 0; c < x.size(); ++c) dot += row[c] * x[c];
        p[k] = static_cast<double>(dot + bias[k]);
    }
    const double most = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& v : p) sum += v = std::exp(v - most);
    for (double& v : p) v /= sum;
    return p;
}

int greatest(const std::vector<double>& p) {
    return static_cast<int>(std::max_element(p.begin(), p.end()) - p.begin());
}

}  // namespace

std::vector<LensBlock> logit_lens(const ivit::Model& model, const ivit::Trace& floats,
                                  const ivit::Trace& integers) {
    const ivit::Graph& g = *model.graph;
    const auto head = std::find_if(g.nodes.begin(), g.nodes.end(),
                                   [](const ivit::Node& n) { return n.op == ivit::Op::head; });
    if (head == g.nodes.end() || head->inputs.empty() || floats.logits.empty()) return {};
    const ivit::Node& norm = g.nodes[static_cast<size_t>(head->inputs[0])];
    if (norm.op != ivit::Op::layernorm || head->bias.empty() || norm.bias.empty()) return {};
    const int answer = ivit::top_k(floats, 0, 1).front();
    std::vector<LensBlock> out;
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const ivit::Node& n = g.nodes[i];
        const bool last = i + 1 == g.nodes.size() || g.nodes[i + 1].block != n.block;
        if (n.block < 0 || !last || n.cols() != norm.cols()) continue;
        LensBlock b;
        b.block = n.block;
        b.node = static_cast<int>(i);
        std::vector<float> x = class_token(floats, b.node, n.cols()),
                           y = class_token(integers, b.node, n.cols());
        if (x.empty() || y.empty()) return {};
        const std::vector<double> p = read_out(std::move(x), model, norm, *head),
                                  q = read_out(std::move(y), model, norm, *head);
        b.float_class = greatest(p);
        b.integer_class = greatest(q);
        b.float_top = p[static_cast<size_t>(b.float_class)];
        b.integer_top = q[static_cast<size_t>(b.integer_class)];
        b.float_answer = p[static_cast<size_t>(answer)];
        b.integer_answer = q[static_cast<size_t>(answer)];
        for (size_t k = 0; k < p.size(); ++k) {
            if (p[k] > 0) b.kl += p[k] * std::log(p[k] / std::max(q[k], 1e-300));
        }
        b.kl = std::max(0.0, b.kl);
        out.push_back(b);
    }
    return out;
}
