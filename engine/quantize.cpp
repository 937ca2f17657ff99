// SPDX-License-Identifier: Apache-2.0
// From a float model, ranges and a person's choice to integers. The only place where scales meet weights;
// every formula is arithmetic.md's, section by section.
#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/multiversion.h"
#include "engine/quantized_model.h"
#include "engine/thread_pool.h"

namespace ivit {

// arithmetic.md, Dyadic numbers.
Dyadic dyadic(double r) {
    if (r == 0) return {};
    if (!std::isfinite(r)) throw Error("a requantization ratio is not finite");
    int p = 0;
    const double f = std::frexp(std::fabs(r), &p);  // 0.5 <= f < 1
    auto m = static_cast<int64_t>(std::floor(f * 2147483648.0 + 0.5));
    if (m == int64_t{1} << 31) {
        m >>= 1;
        ++p;
    }
    const int s = 31 - p;
    if (s > 62) return {};
    if (s < 1)
        throw Error("a requantization ratio of " + std::to_string(r) +
                    " is too large for 31 bits and a shift");
    return {static_cast<int32_t>(r < 0 ? -m : m), s};
}

namespace {

constexpr double bias_limit =
    1073741824.0;  // 2^30: a sum of products (< 2^30 for K <= 2^16) still fits beside it

double top_of(int bits) { return static_cast<double>((1 << (bits - 1)) - 1); }

IVIT_CLONES float greatest_magnitude(const float* x, int64_t n) {
    float best = 0;
    for (int64_t i = 0; i < n; ++i) {
        const float v = x[i] < 0 ? -x[i] : x[i];
        best = v > best ? v : best;
    }
    return best;
}

// The clips that weight_scale tries, as shares of the full range. At 2 bits the grid is -2..1 and the best
// clip lies far below the maximum; at 7 bits it is nearly all of it.
constexpr int clips = 12;
constexpr float clip_share(int i) { return 1.0f - 0.06f * static_cast<float>(i); }

// error[i] = sum over x [n] of (x - scale[i] * q(x))^2. The order of the sums is fixed: the same bits on
// every CPU.
IVIT_CLONES void rounding_errors(const float* x, int64_t n, const float* scale, float top, float* error) {
    constexpr int group = 4;  // clips per pass over x
    static_assert(clips % group == 0);
    for (int first = 0; first < clips; first += group) {
        const float* s = scale + first;
        float inverse[group];
        Lanes16f sum[group] = {};
        for (int g = 0; g < group; ++g) inverse[g] = 1.0f / s[g];
        const auto add = [&](const Lanes16f v) {
            for (int g = 0; g < group; ++g) {
                Lanes16f q = (v * inverse[g] + round_magic_f) - round_magic_f;
                q = q > top ? Lanes16f{} + top : q;
                q = q < -top - 1 ? Lanes16f{} + (-top - 1) : q;
                const Lanes16f e = v - q * s[g];
                sum[g] += e * e;
            }
        };
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) add(*reinterpret_cast<const Lanes16f*>(x + i));
        if (i < n) {
            Lanes16f rest = {};  // zeros are exact on every grid
            for (int l = 0; i + l < n; ++l) rest[l] = x[i + l];
            add(rest);
        }
        for (int g = 0; g < group; ++g) {
            float total = 0;
            for (int l = 0; l < 16; ++l) total += sum[g][l];
            error[first + g] = total;
        }
    }
}

IVIT_CLONES void round_weights(const float* x, int64_t n, double scale, double top, int8_t* q) {
    for (int64_t i = 0; i < n; ++i) {
        double v = __builtin_floor(static_cast<double>(x[i]) / scale + 0.5);
        v = v > top ? top : v;
        v = v < -top - 1 ? -top - 1 : v;
        q[i] = static_cast<int8_t>(static_cast<int32_t>(v));
    }
}

// Least-squares clip of one output channel: below 8 bits, rounding outweighs clipping a few outliers. x [n];
// returns the scale.
double weight_scale(const float* x, int64_t n, int bits) {
    const float top = static_cast<float>(top_of(bits)), full = greatest_magnitude(x, n);
    if (full == 0 || bits == 8) return static_cast<double>(full) / top;
    float scale[clips], error[clips];
    for (int i = 0; i < clips; ++i) scale[i] = full * clip_share(i) / top;
    rounding_errors(x, n, scale, top, error);
    const auto best = std::min_element(error, error + clips) - error;
    return static_cast<double>(full * clip_share(static_cast<int>(best))) / top;
}

class Quantizer {
  public:
    Quantizer(std::shared_ptr<const Model> model, const Calibration& calibration, const QuantConfig& config,
              const QuantizedModel* previous)
        : model_(std::move(model)),
          graph_(*model_->graph),
          calibration_(calibration),
          previous_(previous),
          quants_(resolve(config, graph_)),
          nodes_(graph_.nodes.size()) {}

    std::vector<std::shared_ptr<const QuantNode>> run() {
        // Weights first, all cores; the scales of accumulators depend on them.
        std::vector<int> with_weights;
        for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
            nodes_[static_cast<size_t>(i)] = std::make_shared<QuantNode>();
            node(i).quant = quants_[static_cast<size_t>(i)];
            if (has_weights(graph_.nodes[static_cast<size_t>(i)].op)) with_weights.push_back(i);
        }
        ThreadPool::get(0)->run(static_cast<int>(with_weights.size()),
                                [&](int j) { quantize_weights(with_weights[static_cast<size_t>(j)]); });
        for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
            try {
                quantize_node(i);
            } catch (const Error& e) {
                throw Error(e.sentence(), graph_.nodes[static_cast<size_t>(i)].name, e.hint());
            }
        }
        std::vector<std::shared_ptr<const QuantNode>> result;
        for (size_t i = 0; i < nodes_.size(); ++i)
            result.push_back(kept(i) ? previous_->nodes[i] : nodes_[i]);
        return result;
    }

  private:
    QuantNode& node(int i) { return *nodes_[static_cast<size_t>(i)]; }
    const Grid& input_grid(const Node& n, size_t which = 0) { return node(n.inputs[which]).out; }

    // The same choice on the same grids gives the same integers.
    bool kept(size_t i) const {
        if (!previous_) return false;
        const QuantNode &a = *previous_->nodes[i], &b = *nodes_[i];
        return a.quant == b.quant && a.out.scale == b.out.scale && a.out.bits == b.out.bits && a.m == b.m &&
               a.s == b.s && a.mt == b.mt && a.st == b.st && a.i0 == b.i0 && a.bias == b.bias && a.B == b.B &&
               a.table == b.table && a.constant == b.constant && a.weight == b.weight;
    }

    // Weights: symmetric, one scale per output channel. arithmetic.md, Linear.
    void quantize_weights(int i) {
        const Node& n = graph_.nodes[static_cast<size_t>(i)];
        QuantNode& q = node(i);
        if (previous_ && previous_->nodes[static_cast<size_t>(i)]->quant.weight_bits == q.quant.weight_bits) {
            q.weight = previous_->nodes[static_cast<size_t>(i)]->weight;
            q.weight_scale = previous_->nodes[static_cast<size_t>(i)]->weight_scale;
            return;
        }
        const FloatTensor& w = model_->weight(n.weight);
        const int64_t C = n.cols(), K = static_cast<int64_t>(w.data.size()) / C;
        std::vector<int8_t> weight(w.data.size());
        q.weight_scale.resize(static_cast<size_t>(C));
        for (int64_t c = 0; c < C; ++c) {
            const double scale = weight_scale(&w.data[static_cast<size_t>(c * K)], K, q.quant.weight_bits);
            q.weight_scale[static_cast<size_t>(c)] = scale;
            if (scale > 0)
                round_weights(&w.data[static_cast<size_t>(c * K)], K, scale, top_of(q.quant.weight_bits),
                              &weight[static_cast<size_t>(c * K)]);
        }
        q.weight = std::move(weight);
    }

    // Bias on the grid Sx * Sw[c]. A channel whose weights are next to nothing beside its bias gets the scale
    // its bias needs (arithmetic.md, Widths).
    void quantize_bias(const Node& n, QuantNode& q, double Sx) {
        const FloatTensor& w = model_->weight(n.weight);
        const FloatTensor& b = model_->weight(n.bias);
        const int64_t C = n.cols(), K = static_cast<int64_t>(w.data.size()) / C;
        q.bias.resize(static_cast<size_t>(C));
        std::vector<int8_t> changed;  // a copy of the weights, once a channel needs another scale
        for (size_t c = 0; c < q.bias.size(); ++c) {
            const double B = b.data[c];
            double& Sw = q.weight_scale[c];
            if (std::fabs(B) > bias_limit * Sx * Sw || Sw == 0) {
                if (changed.empty()) changed.assign(q.weight.begin(), q.weight.end());
                Sw = B == 0 ? 1.0 : std::fabs(B) / (Sx * bias_limit);
                round_weights(&w.data[c * static_cast<size_t>(K)], K, Sw, top_of(q.quant.weight_bits),
                              &changed[c * static_cast<size_t>(K)]);
            }
            q.bias[c] = static_cast<int32_t>(std::floor(B / (Sx * Sw) + 0.5));
        }
        if (!changed.empty()) q.weight = std::move(changed);
    }

    static void push_ratio(QuantNode& q, double ratio) {
        const Dyadic d = dyadic(ratio);
        q.m.push_back(d.m);
        q.s.push_back(d.s);
    }

    // Symmetric grid from the calibrated range of node `site`.
    Grid calibrated(const Node& n, const std::string& site, int bits) const {
        Grid g;
        g.bits = bits;
        for (int k = 0; k < n.groups; ++k) g.scale.push_back(calibration_.clip(site, k, bits) / top_of(bits));
        return g;
    }

    // I0 of arithmetic.md, Shiftmax. `terms`: how many exponentials are summed.
    static int64_t shift_i0(double S, const ShiftParams& p, int64_t terms) {
        const double i0 =
            p.t == 0 ? std::ceil(1.0 / S) : std::max(1.0, std::floor(std::ldexp(1.0, p.t) / S + 0.5));
        if (std::log2(i0) + p.n + std::log2(static_cast<double>(terms)) > 61)
            throw Error("the sum of exponentials would pass 62 bits with n = " + std::to_string(p.n) +
                            " and t = " + std::to_string(p.t),
                        {}, "lower n or t");
        return static_cast<int64_t>(i0);
    }

    // Each operator: the grid and the constants of node n, whose weights are integers already.

    void quantize_input(const Node& n, QuantNode& q) {
        q.out = calibrated(n, n.name, q.quant.out_bits);
        for (size_t c = 0; c < 3; ++c)
            for (int u = 0; u < 256; ++u) {
                const double x = (u / 255.0 - model_->info.mean[c]) / model_->info.std[c];
                q.table.push_back(static_cast<int8_t>(std::clamp(std::floor(x / q.out.scale[0] + 0.5),
                                                                 static_cast<double>(q.out.low()),
                                                                 static_cast<double>(q.out.high()))));
            }
    }

    void quantize_patch_embed(int i, const Node& n, QuantNode& q) {
        const size_t C = static_cast<size_t>(n.cols());
        // On the scale of the position embedding's output, so that adding positions is one integer
        // addition.
        const int reader = graph_.readers(i).at(0);
        q.out = calibrated(n, graph_.nodes[static_cast<size_t>(reader)].name, q.quant.out_bits);
        const double Sx = input_grid(n).scale[0];
        quantize_bias(n, q, Sx);
        for (size_t c = 0; c < C; ++c) push_ratio(q, Sx * q.weight_scale[c] / q.out.scale[0]);
    }

    void quantize_pos_embed(const Node& n, QuantNode& q) {
        const size_t C = static_cast<size_t>(n.cols());
        q.out = calibrated(n, n.name, q.quant.out_bits);
        const FloatTensor &pos = model_->weight(n.weight), &cls = model_->weight(n.bias);
        for (size_t e = 0; e < pos.data.size(); ++e) {
            const double v =
                static_cast<double>(pos.data[e]) + (e < C ? static_cast<double>(cls.data[e]) : 0.0);
            q.constant.push_back(static_cast<int32_t>(
                std::clamp(std::floor(v / q.out.scale[0] + 0.5), -bias_limit, bias_limit)));
        }
    }

    void quantize_layernorm(const Node& n, QuantNode& q) {
        const size_t C = static_cast<size_t>(n.cols());
        q.out = calibrated(n, n.name, q.quant.out_bits);
        const FloatTensor &gamma = model_->weight(n.weight), &beta = model_->weight(n.bias);
        for (size_t c = 0; c < C; ++c) {
            const LayernormConstants k =
                layernorm_constants(gamma.data[c], beta.data[c], q.out.scale[0], n.cols());
            q.m.push_back(k.m);
            q.s.push_back(k.s);
            q.B.push_back(k.B);
        }
    }

    void quantize_linear(const Node& n, QuantNode& q) {
        const size_t C = static_cast<size_t>(n.cols());
        const double Sx = input_grid(n).scale[0];
        quantize_bias(n, q, Sx);
        if (n.to_residual) {
            q.out.bits = 32;
            for (const double Sw : q.weight_scale) q.out.scale.push_back(Sx * Sw);
        } else {
            q.out = calibrated(n, n.name, q.quant.out_bits);
            for (size_t c = 0; c < C; ++c)
                push_ratio(q, Sx * q.weight_scale[c] / q.out.at(static_cast<int64_t>(c), n.cols()));
        }
    }

    void quantize_attn_logits(const Node& n, QuantNode& q) {
        q.out = calibrated(n, n.name, q.quant.out_bits);
        const Grid& qkv = input_grid(n);
        const double d =
            static_cast<double>(graph_.nodes[static_cast<size_t>(n.inputs[0])].cols()) / 3 / n.heads;
        push_ratio(q, qkv.scale[0] * qkv.scale[1] / std::sqrt(d) / q.out.scale[0]);
    }

    void quantize_softmax(const Node& n, QuantNode& q) {
        q.out = {{std::ldexp(1.0, 1 - q.quant.shift.k)}, q.quant.shift.k, true};
        q.i0 = shift_i0(input_grid(n).scale[0], q.quant.shift, n.cols());
    }

    void quantize_attn_context(const Node& n, QuantNode& q) {
        q.out = calibrated(n, n.name, q.quant.out_bits);
        push_ratio(q, input_grid(n, 1).scale[2] * input_grid(n, 0).scale[0] / q.out.scale[0]);
    }

    void quantize_gelu(const Node& n, QuantNode& q) {
        q.out = calibrated(n, n.name, q.quant.out_bits);
        const double S = input_grid(n).scale[0];
        q.i0 = shift_i0(1.702 * S, q.quant.shift, 2);
        push_ratio(q, std::ldexp(S, 1 - q.quant.shift.k) / q.out.scale[0]);
        if (!q.quant.shift.row_pivot) q.table = gelu_table(q);
    }

    void quantize_residual_add(const Node& n, QuantNode& q) {
        q.out = calibrated(n, n.name, q.quant.out_bits);
        for (const double S : input_grid(n, 0).scale) push_ratio(q, S / q.out.scale[0]);
        const Dyadic old = dyadic(input_grid(n, 1).scale[0] / q.out.scale[0]);
        q.mt = old.m;
        q.st = old.s;
    }

    void quantize_head(const Node& n, QuantNode& q) {
        const double Sx = input_grid(n).scale[0];
        quantize_bias(n, q, Sx);
        const double S = Sx * *std::max_element(q.weight_scale.begin(), q.weight_scale.end()) / 16;
        q.out = {{S}, 32, false};
        for (const double Sw : q.weight_scale) push_ratio(q, Sx * Sw / S);
    }

    void quantize_node(int i) {
        const Node& n = graph_.nodes[static_cast<size_t>(i)];
        QuantNode& q = node(i);
        switch (n.op) {
            case Op::input:
                return quantize_input(n, q);
            case Op::patch_embed:
                return quantize_patch_embed(i, n, q);
            case Op::pos_embed:
                return quantize_pos_embed(n, q);
            case Op::layernorm:
                return quantize_layernorm(n, q);
            case Op::linear:
                return quantize_linear(n, q);
            case Op::attn_logits:
                return quantize_attn_logits(n, q);
            case Op::softmax:
                return quantize_softmax(n, q);
            case Op::attn_context:
                return quantize_attn_context(n, q);
            case Op::gelu:
                return quantize_gelu(n, q);
            case Op::residual_add:
                return quantize_residual_add(n, q);
            case Op::head:
                return quantize_head(n, q);
        }
    }

    std::shared_ptr<const Model> model_;
    const Graph& graph_;
    const Calibration& calibration_;
    const QuantizedModel* previous_;
    std::vector<NodeQuant> quants_;
    std::vector<std::shared_ptr<QuantNode>> nodes_;
};

}  // namespace

LayernormConstants layernorm_constants(double gamma, double beta, double S_out, int64_t C) {
    const double r = gamma * std::sqrt(static_cast<double>(C)) / 1073741824.0 / S_out;
    LayernormConstants k;
    const Dyadic d = dyadic(r);
    k.m = d.m;
    k.s = d.s;
    if (d.s > 54 || (d.m == 0 && r != 0)) {
        k.s = 54;
        const auto m = static_cast<int32_t>(std::floor(std::ldexp(std::fabs(r), 54) + 0.5));
        k.m = r < 0 ? -m : m;
    }
    const double limit = std::ldexp(1.0, 61);
    k.B = static_cast<int64_t>(std::clamp(std::floor(std::ldexp(beta / S_out, k.s) + 0.5), -limit, limit));
    return k;
}

std::vector<int8_t> gelu_table(const QuantNode& q) {
    std::vector<int8_t> table;
    for (int64_t x = -128; x < 128; ++x) {
        const ShiftParams& p = q.quant.shift;
        const int64_t c = x > 0 ? x : 0, scale = int64_t{1} << p.t;
        const int64_t e = arith::shift_exp((x - c) * scale, q.i0, p.n),
                      e0 = arith::shift_exp(-c * scale, q.i0, p.n);
        const int64_t y = x * arith::shift_share(e, arith::shift_reciprocal(e + e0, p.M), p.M, p.k);
        table.push_back(static_cast<int8_t>(arith::requant(y, q.m[0], q.s[0], q.out.bits)));
    }
    return table;
}

std::shared_ptr<const QuantizedModel> quantize(std::shared_ptr<const Model> model,
                                               const Calibration& calibration, const QuantConfig& config,
                                               const QuantizedModel* previous) {
    auto q = std::make_shared<QuantizedModel>();
    q->graph = model->graph;
    q->info = model->info;
    q->config = config;
    q->calibration = calibration;
    q->nodes = Quantizer(model, calibration, config, previous).run();
    q->source = std::move(model);
    return q;
}

int64_t QuantizedModel::weight_bytes() const {
    int64_t bytes = 0;
    for (const auto& q : nodes)
        bytes += (static_cast<int64_t>(q->weight.size()) * q->quant.weight_bits + 7) / 8;
    return bytes;
}

}  // namespace ivit
