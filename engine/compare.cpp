// SPDX-License-Identifier: Apache-2.0
#include "engine/compare.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/thread_pool.h"

namespace ivit {

const char* to_string(Scope s) { return s == Scope::cumulative ? "cumulative" : "isolated"; }

namespace {

double sqnr(double signal, double noise) {
    if (noise <= 0) return sqnr_cap;
    if (signal <= 0) return 0;
    return std::min(sqnr_cap, 10 * std::log10(signal / noise));
}

// What Shiftmax does to attention, against the true softmax of the very same integer logits; so what entered
// it does not count. logits, p [heads, N, N] (a batch of 1 in front does no harm). KL is sum of true *
// ln(true / approx), with approx normalized to sum 1 and never below half its last place.
void attention_error(const IntTensor& logits, const IntTensor& p, NodeError& e) {
    const size_t N = static_cast<size_t>(p.channels()), heads = p.data.size() / N / N;
    const double S = logits.grid.scale[0], step = p.grid.scale[0];
    std::vector<double> t(N);
    for (size_t h = 0; h < heads; ++h) {
        double kl = 0;
        for (size_t i = 0; i < N; ++i) {
            const int32_t* x = &logits.data[(h * N + i) * N];
            const int32_t* q = &p.data[(h * N + i) * N];
            const int32_t max = *std::max_element(x, x + N);
            double sum = 0, row = 0;
            for (size_t j = 0; j < N; ++j) {
                sum += t[j] = std::exp(S * (x[j] - max));
                row += q[j] * step;
            }
            for (size_t j = 0; j < N; ++j)
                if (t[j] > 0)
                    kl += t[j] / sum *
                          std::log(t[j] / sum * std::max(row, step) / std::max(q[j] * step, step / 2));
            e.row_sum_error = std::max(e.row_sum_error, std::fabs(row - 1));
        }
        e.kl_per_head.push_back(std::max(0.0, kl / static_cast<double>(N)));
    }
}

}  // namespace

NodeError node_error(const IntTensor& q, const FloatTensor& fp) {
    if (q.data.size() != fp.data.size())
        throw Error("cannot compare " + to_string(q.shape) + " with " + to_string(fp.shape));
    const int64_t C = q.channels(), rows = static_cast<int64_t>(q.data.size()) / std::max<int64_t>(C, 1);
    std::vector<double> scale(static_cast<size_t>(C));
    for (int64_t c = 0; c < C; ++c) scale[static_cast<size_t>(c)] = q.grid.at(c, C);

    // Partial sums per row, then over rows: keeps the rounding of long double-precision sums far below what
    // is shown.
    double ff = 0, qq = 0, fq = 0, ee = 0, worst = 0;
    int64_t at_limit = 0, magnitude = 0;
    const int64_t low = q.grid.is_unsigned ? INT64_MIN : q.grid.low(), high = q.grid.high();
    for (int64_t r = 0; r < rows; ++r) {
        double rff = 0, rqq = 0, rfq = 0, ree = 0;
        for (int64_t c = 0; c < C; ++c) {
            const int32_t v = q.data[static_cast<size_t>(r * C + c)];
            const double f = fp.data[static_cast<size_t>(r * C + c)],
                         real = v * scale[static_cast<size_t>(c)], e = f - real;
            rff += f * f;
            rqq += real * real;
            rfq += f * real;
            ree += e * e;
            worst = std::max(worst, std::fabs(e));
            at_limit += v <= low || v >= high;
            magnitude = std::max<int64_t>(magnitude, v < 0 ? -static_cast<int64_t>(v) : v);
        }
        ff += rff;
        qq += rqq;
        fq += rfq;
        ee += ree;
    }

    NodeError e;
    const double n = std::max<double>(1, static_cast<double>(q.data.size()));
    e.sqnr_db = sqnr(ff, ee);
    e.cosine = ff > 0 && qq > 0 ? std::clamp(fq / std::sqrt(ff * qq), -1.0, 1.0) : (ff == qq ? 1 : 0);
    e.mse = ee / n;
    e.nmse = ff > 0 ? ee / ff : (ee > 0 ? 1 : 0);
    e.max_abs_error = worst;
    for (const double s : q.grid.scale) e.scale += s / static_cast<double>(q.grid.scale.size());
    e.bits = q.grid.bits;
    if (q.grid.bits < 32) {
        e.saturation = static_cast<double>(at_limit) / n;
        // The least integer is one further out than the greatest: that is all of the range, not more.
        e.range_used = std::min(1.0, static_cast<double>(magnitude) / static_cast<double>(high));
    }
    return e;
}

Comparison compare(Network& float_network, IntegerNetwork& integer_network, std::span<const uint8_t> pixels,
                   std::shared_ptr<const Trace> float_trace, bool isolated, std::stop_token stop) {
    const Graph& graph = integer_network.graph();
    const int count = static_cast<int>(graph.nodes.size());
    RunOptions all;
    all.taps.assign(static_cast<size_t>(count), true);
    all.stop = stop;

    Comparison c;
    c.model = integer_network.model().shared_from_this();
    c.integer_trace = integer_network.run(pixels, 1, all);
    c.float_trace = float_trace ? std::move(float_trace) : float_network.run(pixels, 1, all);

    const auto pool = ThreadPool::get(0);
    c.cumulative.resize(static_cast<size_t>(count));
    pool->run(count, [&](int i) {
        NodeError& e = c.cumulative[static_cast<size_t>(i)];
        const IntTensor& q = c.integer_trace->tap(i)->integers;
        e = node_error(q, c.float_trace->tap(i)->floats);
        e.node = i;
        e.scope = Scope::cumulative;
        const Node& n = graph.nodes[static_cast<size_t>(i)];
        if (n.op == Op::softmax) attention_error(c.integer_trace->tap(n.inputs[0])->integers, q, e);
    });
    if (isolated) isolate(c, integer_network, stop);

    const auto pf = probabilities(*c.float_trace, 0), pi = probabilities(*c.integer_trace, 0);
    double signal = 0, noise = 0;
    for (size_t k = 0; k < pf.size(); ++k) {
        const double f = c.float_trace->logits[k], q = c.integer_trace->logits[k];
        signal += f * f;
        noise += (f - q) * (f - q);
        if (pf[k] > 0) c.logits.kl += pf[k] * std::log(pf[k] / std::max(pi[k], 1e-300));
    }
    c.logits.kl = std::max(0.0, c.logits.kl);
    c.logits.sqnr_db = sqnr(signal, noise);
    const auto tf = top_k(*c.float_trace, 0, 2), ti = top_k(*c.integer_trace, 0, 2);
    const auto margin = [](const std::vector<double>& p, const std::vector<int>& top) {
        return top.size() < 2 ? 1.0 : p[static_cast<size_t>(top[0])] - p[static_cast<size_t>(top[1])];
    };
    c.logits.agree = tf[0] == ti[0];
    c.logits.margin_float = margin(pf, tf);
    c.logits.margin_integer = margin(pi, ti);
    return c;
}

void isolate(Comparison& c, IntegerNetwork& integer_network, std::stop_token stop) {
    const QuantizedModel& model = integer_network.model();
    const Graph& graph = integer_network.graph();
    const int count = static_cast<int>(graph.nodes.size());
    const auto pool = ThreadPool::get(0);
    // The float network's values on every grid: what each node would read were all before it perfect.
    std::vector<IntTensor> perfect(static_cast<size_t>(count)), outputs(static_cast<size_t>(count));
    std::vector<int> last_reader(static_cast<size_t>(count), -1);
    for (int i = 0; i < count; ++i)
        for (const int in : graph.nodes[static_cast<size_t>(i)].inputs)
            last_reader[static_cast<size_t>(in)] = i;
    std::vector<NodeError> errors(static_cast<size_t>(count));

    const auto quantize_node = [&](int i) {
        IntTensor& q = perfect[static_cast<size_t>(i)];
        q = quantize(c.float_trace->tap(i)->floats, model.nodes[static_cast<size_t>(i)]->out);
        q.shape = graph.nodes[static_cast<size_t>(i)].shape;
    };
    const auto run_node = [&](int i) {
        if (stop.stop_requested()) throw Cancelled{};
        const Node& n = graph.nodes[static_cast<size_t>(i)];
        if (n.op == Op::input) return;
        std::vector<const IntTensor*> inputs;
        for (const int in : n.inputs) inputs.push_back(&perfect[static_cast<size_t>(in)]);
        outputs[static_cast<size_t>(i)] = integer_network.run_node(i, inputs);
    };
    const auto judge_node = [&](int i) {
        const Node& n = graph.nodes[static_cast<size_t>(i)];
        NodeError& e = errors[static_cast<size_t>(i)];
        IntTensor& q = outputs[static_cast<size_t>(i)];
        // Nothing comes before the input: both scopes are one.
        if (n.op == Op::input) {
            e = c.cumulative[static_cast<size_t>(i)];
        } else {
            e = node_error(q, c.float_trace->tap(i)->floats);
            if (n.op == Op::softmax) attention_error(perfect[static_cast<size_t>(n.inputs[0])], q, e);
        }
        e.node = i;
        e.scope = Scope::isolated;
        q = {};
    };

    // Two blocks' values at a time: those of a whole DeiT-B, twice, would be 350 MB.
    constexpr int at_once = 24;
    for (int from = 0; from < count; from += at_once) {
        const int to = std::min(count, from + at_once);
        pool->run(to - from, [&](int i) { quantize_node(from + i); });
        for (int i = from; i < to; ++i) run_node(i);
        pool->run(to - from, [&](int i) { judge_node(from + i); });
        for (size_t i = 0; i < static_cast<size_t>(to); ++i)
            if (last_reader[i] < to) perfect[i] = {};
    }
    c.isolated = std::move(errors);
}

}  // namespace ivit
