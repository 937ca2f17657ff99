// SPDX-License-Identifier: Apache-2.0
#include "engine/selftest.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/backend.h"
#include "engine/backends/reference/shift_ops.h"
#include "engine/error.h"

namespace ivit {

extern const char* const golden_ops;  // golden.cmake

nlohmann::json built_in_golden() { return nlohmann::json::parse(golden_ops); }

namespace {

using nlohmann::json;
using Row = std::vector<int32_t>;

// Ends the checks of one backend at its first mismatch.
struct Mismatch {
    std::string text;
};

struct Checker {
    SelftestResult& result;

    void equal(const std::string& where, int64_t got, int64_t expected) {
        ++result.checks;
        if (got != expected)
            throw Mismatch{where + ": got " + std::to_string(got) + ", expected " + std::to_string(expected)};
    }
    void equal(const std::string& where, const Row& got, const Row& expected) {
        if (got.size() < expected.size())
            throw Mismatch{where + ": got " + std::to_string(got.size()) + " values, expected " +
                           std::to_string(expected.size())};
        for (size_t i = 0; i < expected.size(); ++i)
            equal(where + ", element " + std::to_string(i), got[i], expected[i]);
    }
};

ShiftParams params(const json& c) {
    ShiftParams p{c.at("n"), c.at("k"), c.at("M"), c.at("t"), c.contains("pivot") && c.at("pivot") == "row"};
    if (p.n < 1 || p.n > 30 || p.k < 2 || p.k > 16 || p.M < 16 || p.M > 62 || p.t < 0 || p.t > 8 ||
        c.at("I0").get<int64_t>() < 1)
        throw Error(
            "a case of the golden file has parameters outside 1 <= n <= 30, 2 <= k <= 16, 16 <= M <= 62, 0 "
            "<= t <= 8, I0 >= 1");
    return p;
}

// One operator on its own: a graph of two nodes, the first of which only stands for the input.
struct Probe {
    Graph graph;
    QuantNode source, node;

    Probe(Op op, Shape in, Shape out) {
        graph.nodes.resize(2);
        graph.nodes[0].name = "input";
        graph.nodes[0].op = Op::input;
        graph.nodes[0].shape = std::move(in);
        graph.nodes[1].name = to_string(op);
        graph.nodes[1].op = op;
        graph.nodes[1].inputs = {0};
        graph.nodes[1].shape = std::move(out);
        graph.nodes[1].heads = 1;
        source.out = {{1.0}, 8, false};
        source.table.assign(768, 0);
        node.out = {{1.0}, 8, false};
    }

    Row run(Backend& backend, const Row& x) const {
        auto q = std::make_shared<QuantizedModel>();
        q->graph = std::make_shared<Graph>(graph);
        q->nodes = {std::make_shared<QuantNode>(source), std::make_shared<QuantNode>(node)};
        const IntTensor in{graph.nodes[0].shape, x, source.out};
        const IntTensor* inputs[] = {&in};
        return backend.load(q)->run_node(1, inputs).data;
    }
};

void check_requant(Backend& backend, const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i) {
        const json& c = cases[i];
        const Row x = c.at("x"), y = c.at("y");
        const int bits = c.at("bits");
        const int64_t C = static_cast<int64_t>(x.size());
        const std::string where = "requant case " + std::to_string(i);
        Row scalar;
        for (const int64_t v : x) scalar.push_back(arith::requant(v, c.at("m"), c.at("s"), bits));
        check.equal(where, scalar, y);
        if (bits > 16 || bits < 4) continue;
        // The values go in as the bias of a linear layer without weights; 9 bits and more only exist on the
        // residual stream, which the patch embedding writes.
        const bool narrow = bits <= 8;
        Probe p(narrow ? Op::linear : Op::patch_embed, narrow ? Shape{1, 12} : Shape{3, 2, 2}, {1, C});
        p.graph.nodes[1].patch = 2;
        p.graph.image_size = p.graph.patch_size = 2;
        p.node.weight = std::vector<int8_t>(static_cast<size_t>(12 * C));
        p.node.bias = x;
        p.node.m.assign(x.size(), c.at("m"));
        p.node.s.assign(x.size(), c.at("s"));
        p.node.out.bits = p.node.quant.out_bits = bits;
        check.equal(where, p.run(backend, Row(12, 0)), y);
    }
}

void check_shift_exp(const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i)
        for (size_t j = 0; j < cases[i].at("x").size(); ++j)
            check.equal(
                "shift_exp case " + std::to_string(i) + ", element " + std::to_string(j),
                arith::shift_exp(cases[i]["x"][j], std::max<int64_t>(1, cases[i].at("I0")), cases[i].at("n")),
                cases[i].at("y").at(j).get<int64_t>());
}

std::string row_name(const char* op, size_t i, size_t r) {
    return std::string(op) + " case " + std::to_string(i) + ", row " + std::to_string(r);
}

int bits_of(const Row& x) {
    int bits = 4;
    for (const int32_t v : x)
        while (v < -(1 << (bits - 1)) || v > (1 << (bits - 1)) - 1) ++bits;
    return bits;
}

void check_shiftmax(Backend& backend, const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i) {
        const json& c = cases[i];
        const ShiftParams q = params(c);
        for (size_t r = 0; r < c.at("x").size(); ++r) {
            const Row x = c["x"][r], expected = c.at("p").at(r);
            const int64_t N = static_cast<int64_t>(x.size());
            Row scalar(x.size());
            reference::shiftmax_row(x, c.at("I0"), q, scalar);
            check.equal(row_name("shiftmax", i, r), scalar, expected);
            if (q.k < 4) continue;
            // A square of N equal rows: the shape an attention map has.
            Probe p(Op::softmax, {1, N, N}, {1, N, N});
            p.source.out.bits = p.source.quant.out_bits = std::max(8, bits_of(x));
            p.node.quant.shift = q;
            p.node.i0 = c.at("I0");
            p.node.out = {{1.0}, q.k, true};
            p.node.quant.out_bits = q.k;
            Row all;
            for (int64_t n = 0; n < N; ++n) all.insert(all.end(), x.begin(), x.end());
            check.equal(row_name("shiftmax", i, r), p.run(backend, all), expected);
        }
    }
}

void check_shiftgelu(Backend& backend, const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i) {
        const json& c = cases[i];
        const ShiftParams q = params(c);
        for (size_t r = 0; r < c.at("x").size(); ++r) {
            const Row x = c["x"][r], expected = c.at("y").at(r);
            Row scalar(x.size());
            reference::shiftgelu_row(x, c.at("I0"), q, scalar);
            check.equal(row_name("shiftgelu", i, r), scalar, expected);
            // The node requantizes to 8 bits at once: y / 2^(k-1).
            Probe p(Op::gelu, {1, static_cast<int64_t>(x.size())}, {1, static_cast<int64_t>(x.size())});
            p.node.quant.shift = q;
            p.node.i0 = c.at("I0");
            p.node.m = {1 << 30};
            p.node.s = {30 + q.k - 1};
            if (!q.row_pivot) p.node.table = gelu_table(p.node);
            Row requantized;
            for (const int32_t y : expected)
                requantized.push_back(arith::requant(y, p.node.m[0], p.node.s[0], 8));
            check.equal(row_name("shiftgelu", i, r) + " (requantized)", p.run(backend, x), requantized);
        }
    }
}

void check_layernorm(Backend& backend, const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i) {
        const json& c = cases[i];
        for (size_t r = 0; r < c.at("x").size(); ++r) {
            const Row x = c["x"][r];
            const int64_t C = static_cast<int64_t>(x.size());
            Row core(x.size());
            reference::layernorm_row(x, core);
            check.equal(row_name("layernorm core", i, r), core, c.at("core").at(r).get<Row>());
            Probe p(Op::layernorm, {1, C}, {1, C});
            p.source.out.bits = p.source.quant.out_bits = 16;
            p.node.m = c.at("m").get<Row>();
            p.node.s = c.at("s").get<Row>();
            p.node.B = c.at("B").get<std::vector<int64_t>>();
            p.node.out.bits = p.node.quant.out_bits = c.at("bits");
            check.equal(row_name("layernorm", i, r), p.run(backend, x), c.at("y").at(r).get<Row>());
        }
    }
}

// A whole small network with random weights, every tap, against the reference.
void check_network(Backend& backend, const QuantizedModel& q, const Trace& expected,
                   std::span<const uint8_t> pixels, Checker& check) {
    RunOptions all;
    all.taps.assign(q.graph->nodes.size(), true);
    const auto got = backend.load(q.shared_from_this())->run(pixels, 1, all);
    for (const Tap& t : expected.taps)
        check.equal("network, " + q.graph->nodes[static_cast<size_t>(t.node)].name,
                    got->tap(t.node)->integers.data, t.integers.data);
    check.equal("network, logits", got->integer_logits, expected.integer_logits);
}

void check_dyadic(const json& cases, Checker& check) {
    for (size_t i = 0; i < cases.size(); ++i) {
        const Dyadic d = dyadic(cases[i].at("r"));
        check.equal("dyadic case " + std::to_string(i) + ", m", d.m, cases[i].at("m"));
        check.equal("dyadic case " + std::to_string(i) + ", s", d.s, cases[i].at("s"));
    }
}

}  // namespace

std::vector<SelftestResult> selftest(const json& golden) {
    if (!golden.is_object()) throw Error("the golden file is not a JSON object");
    const auto sections = {"dyadic", "shift_exp", "requant", "shiftmax", "shiftgelu", "layernorm"};
    if (std::none_of(sections.begin(), sections.end(),
                     [&](const char* s) { return golden.contains(s) && !golden.at(s).empty(); }))
        throw Error("the golden file holds no expectation", {},
                    fmt::format("it has the form of golden_ops.json: {}", fmt::join(sections, ", ")));
    const auto section = [&](const char* name) {
        return golden.contains(name) ? golden.at(name) : json::array();
    };
    std::vector<SelftestResult> results;
    const auto checked = [&](const std::string& name, const std::function<void(Checker&)>& checks) {
        results.push_back({name, {}, 0, {}});
        Checker check{results.back()};
        try {
            checks(check);
        } catch (const Mismatch& m) {
            results.back().mismatch = m.text;
        } catch (const json::exception& e) {
            throw Error("the golden file has another form than golden_ops.json", {}, e.what());
        }
    };
    checked("quantizer", [&](Checker& c) { check_dyadic(section("dyadic"), c); });

    // The network every backend must agree on.
    const auto model = random_model("vit_tiny_patch16_32", 7);
    Pixels pixels(3 * 32 * 32);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
    const auto calibration = calibrate(
        *model, 1, [&](int64_t) { return pixels; }, RangeMethod::minmax, 1);
    const auto q = quantize(model, calibration, QuantConfig());
    RunOptions all;
    all.taps.assign(q->graph->nodes.size(), true);
    const auto expected = make_backend("reference", 1)->load(q)->run(pixels, 1, all);

    for (const auto& entry : backends()) {
        const std::string why = entry.unavailable();
        if (!why.empty()) {
            results.push_back({entry.name, why, 0, {}});
            continue;
        }
        const auto backend = entry.make(0);
        checked(entry.name, [&](Checker& c) {
            if (entry.name == "reference") check_shift_exp(section("shift_exp"), c);
            check_requant(*backend, section("requant"), c);
            check_shiftmax(*backend, section("shiftmax"), c);
            check_shiftgelu(*backend, section("shiftgelu"), c);
            check_layernorm(*backend, section("layernorm"), c);
            check_network(*backend, *q, *expected, pixels, c);
        });
    }
    return results;
}

}  // namespace ivit
