// SPDX-License-Identifier: Apache-2.0
// Whole networks of one integer backend against the reference, bit for bit: what every such backend is put
// through. A new one calls these with its own networks.
#pragma once
#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/backends/reference/network.h"
#include "engine/calibration.h"

namespace ivit::test {

// How a test fills its inputs: the extremes are where saturation and overflow hide.
enum class Fill { random, lowest, highest, one_hot, signs };
constexpr Fill fills[] = {Fill::random, Fill::lowest, Fill::highest, Fill::one_hot, Fill::signs};

inline std::mt19937& rng() {
    static std::mt19937 g(7);
    return g;
}
inline int64_t uniform(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng());
}

template <typename T>
void fill(T* x, int64_t n, int64_t lo, int64_t hi, Fill how) {
    const int64_t hot = uniform(0, n - 1);
    for (int64_t i = 0; i < n; ++i)
        x[i] = static_cast<T>(how == Fill::random    ? uniform(lo, hi)
                              : how == Fill::lowest  ? lo
                              : how == Fill::highest ? hi
                              : how == Fill::one_hot ? (i == hot ? hi : std::max<int64_t>(lo, 0))
                                                     : (uniform(0, 1) ? lo : hi));
}

inline Pixels pictures(int side, int count, Fill how) {
    Pixels p(static_cast<size_t>(side) * static_cast<size_t>(side) * 3 * static_cast<size_t>(count));
    fill(p.data(), static_cast<int64_t>(p.size()), 0, 255, how);
    return p;
}

inline RunOptions taps_of(const Graph& g, const std::function<bool(const Node&)>& wanted) {
    RunOptions o;
    for (const Node& n : g.nodes) o.taps.push_back(wanted(n));
    return o;
}

// The reference's run, with every tap.
inline std::shared_ptr<const Trace> expected_of(const std::shared_ptr<const QuantizedModel>& q,
                                                const Pixels& pixels, int batch) {
    return reference::make_backend()->load(q)->run(pixels, batch,
                                                   taps_of(*q->graph, [](const Node&) { return true; }));
}

// Logits and taps of `batch` pictures: with no tap, with all, with the outputs of fused steps alone, which
// cost no fusing, and with LayerNorm asked for and attention not, of which one runs node by node and the
// other as it always does.
inline void check_network(IntegerNetwork& network, const Trace& expected, const Pixels& pixels, int batch) {
    const Graph& graph = network.graph();
    REQUIRE(network.run(pixels, batch, {})->integer_logits == expected.integer_logits);
    const auto tapped = network.run(pixels, batch, taps_of(graph, [](const Node&) { return true; }));
    REQUIRE(tapped->integer_logits == expected.integer_logits);
    REQUIRE(tapped->taps.size() == expected.taps.size());
    for (size_t i = 0; i < tapped->taps.size(); ++i) {
        INFO(graph.nodes[i].name);
        REQUIRE(tapped->taps[i].node == expected.taps[i].node);
        REQUIRE(tapped->taps[i].integers.shape == expected.taps[i].integers.shape);
        REQUIRE(tapped->taps[i].integers.data == expected.taps[i].integers.data);
    }
    for (const Op op :
         {Op::pos_embed, Op::linear, Op::attn_context, Op::gelu, Op::residual_add, Op::layernorm}) {
        const auto some =
            network.run(pixels, batch, taps_of(graph, [&](const Node& n) { return n.op == op; }));
        REQUIRE(some->integer_logits == expected.integer_logits);
        for (const Tap& tap : some->taps) {
            INFO(graph.nodes[static_cast<size_t>(tap.node)].name << ", fused");
            REQUIRE(tap.integers.data == expected.tap(tap.node)->integers.data);
        }
    }
    // What a larger batch left in the buffers does not matter to a smaller one.
    const auto one = network.run(std::span(pixels).first(pixels.size() / static_cast<size_t>(batch)), 1, {});
    REQUIRE(one->integer_logits == std::vector<int32_t>(expected.integer_logits.begin(),
                                                        expected.integer_logits.begin() + graph.classes));
}

// Every node alone, on inputs no network would make: anything the grids allow.
inline void check_nodes(IntegerNetwork& network, const std::shared_ptr<const QuantizedModel>& q) {
    const auto reference = reference::make_backend()->load(q);
    for (size_t i = 1; i < q->graph->nodes.size(); ++i)
        for (const Fill how : fills) {
            std::vector<IntTensor> inputs;
            for (const int in : q->graph->nodes[i].inputs) {
                const auto at = static_cast<size_t>(in);
                IntTensor t{q->graph->nodes[at].shape, {}, q->nodes[at]->out};
                t.data.resize(static_cast<size_t>(elements(t.shape)));
                fill(t.data.data(), static_cast<int64_t>(t.data.size()), t.grid.low(), t.grid.high(), how);
                inputs.push_back(std::move(t));
            }
            std::vector<const IntTensor*> pointers;
            for (const IntTensor& t : inputs) pointers.push_back(&t);
            INFO(q->graph->nodes[i].name << ", fill " << static_cast<int>(how));
            const auto a = network.run_node(static_cast<int>(i), pointers),
                       b = reference->run_node(static_cast<int>(i), pointers);
            REQUIRE(a.data == b.data);
            REQUIRE(a.shape == b.shape);
        }
}

// Calls check(configuration, its name) at every width, preset and mode, and with operator parameters at
// random. For a model of two blocks.
inline void for_every_configuration(
    const std::function<void(const QuantConfig&, const std::string&)>& check) {
    for (const char* preset : {"refined", "paper"}) {
        for (const char* spec : {"W8A8", "W6A6", "W4A8", "W4A4", "W2A4", "W8A8/8", "W8A8/11"}) {
            QuantConfig c = QuantConfig::from_spec(spec);
            c.set_preset(preset);
            check(c, std::string(preset) + " " + spec);
        }
        for (int bits = 4; bits <= 16; bits += 3) {
            QuantConfig c;
            c.set_preset(preset);
            c.logits_bits = bits;
            c.shiftmax.k = 20 - bits;
            check(c, std::string(preset) + ", logits " + std::to_string(bits) + ", softmax " +
                         std::to_string(20 - bits));
        }
    }
    for (int trial = 0; trial < 12; ++trial) {
        QuantConfig c;
        for (ShiftParams* p : {&c.shiftmax, &c.shiftgelu}) {
            p->n = static_cast<int>(uniform(1, 30));
            p->M = static_cast<int>(uniform(20, 62));
            p->t = static_cast<int>(uniform(0, 8));
        }
        c.shiftgelu.row_pivot = trial % 2 == 1;
        check(c, "parameters " + c.to_json().dump());
    }
    for (const Mode mode : {Mode::exact, Mode::float_ops})
        for (const char* glob : {"*", "blocks.1.*", "*softmax", "*norm*", "*fc1", "*proj", "input", "head"}) {
            QuantConfig c;
            QuantRule rule;
            rule.glob = glob;
            rule.mode = mode;
            c.rules.push_back(rule);
            check(c, std::string(to_string(mode)) + " " + glob);
        }
}

// Each step names its nodes, all of them once and in order.
inline void check_timings(const Trace& trace) {
    int next = 0;
    for (const Timing& t : trace.timings) {
        CHECK(t.first == next);
        CHECK(t.last >= t.first);
        CHECK(t.ms >= 0);
        next = t.last + 1;
    }
    CHECK(next == static_cast<int>(trace.graph->nodes.size()));
}

}  // namespace ivit::test
