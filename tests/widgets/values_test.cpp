// SPDX-License-Identifier: GPL-3.0-or-later
// What needs no window: numbers, colours, edits of a configuration, the arithmetic of the attention view and
// the lens.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/widgets/fixture.h"
#include "widgets/attention_math.h"
#include "widgets/colormap.h"
#include "widgets/config_edit.h"
#include "widgets/logit_lens.h"
#include "widgets/numbers.h"
#include "widgets/tensor_overlay.h"
#include "widgets/tensor_slice.h"

TEST_CASE("numbers: three significant digits, and never a rounded lie", "[values]") {
    CHECK(numbers::significant(3.14159) == "3.14");
    CHECK(numbers::significant(9.996) == "10.0");
    CHECK(numbers::significant(999.6) == "1000");
    CHECK(numbers::significant(0.00012345) == "0.000123");
    CHECK(numbers::significant(0) == "0");
    CHECK(numbers::significant(-4.1) == QString::fromUtf8("−4.10"));
    CHECK(numbers::significant(1.5e-7) == QString::fromUtf8("1.50e−7"));
    CHECK(numbers::significant(std::nan("")) == QString::fromUtf8("—"));
    CHECK(numbers::decibels(38.06) == "38.1 dB");
    CHECK(numbers::decibels(ivit::sqnr_cap) == "exact");
    CHECK(numbers::percent(0.99999) == "> 99.9 %");
    CHECK(numbers::percent(1) == "100 %");
    CHECK(numbers::milliseconds(1234) == "1.23 s");
    CHECK(numbers::bytes(5717416) == "5.72 MB");
    CHECK(numbers::change(0.4, "dB") == "+0.400 dB");
    CHECK(numbers::change(0) == QString::fromUtf8("±0"));
    // The same places behind the point, whatever the value: a column of these lines up.
    CHECK(numbers::decibel_change(6.558) == "+6.56 dB");
    CHECK(numbers::decibel_change(-0.0751) == QString::fromUtf8("−0.08 dB"));
    CHECK(numbers::decibel_change(-0.001) == "+0.00 dB");
}

TEST_CASE("colormap: ends, middle and what is readable on them", "[values]") {
    CHECK(QColor(Colormap::viridis().at(0)) == QColor(0x44, 0x01, 0x54));
    CHECK(QColor(Colormap::viridis().at(2)) == QColor(0xfd, 0xe7, 0x25));
    CHECK(Colormap::viridis().at(std::nan("")) == Colormap::viridis().at(0));
    const QColor middle(Colormap::diverging().at(0.5));
    CHECK(middle.lightness() > 240);
    CHECK(readable_on(Qt::white).lightness() < 60);
    CHECK(readable_on(Qt::black).lightness() > 200);
    // Brightness rises all along: readable without colour, too.
    for (const Colormap* map : Colormap::sequential()) {
        double last = -1;
        for (int i = 0; i <= 16; ++i) {
            const QColor c(map->at(i / 16.0));
            const double y = 0.2126 * std::pow(c.redF(), 2.2) + 0.7152 * std::pow(c.greenF(), 2.2) +
                             0.0722 * std::pow(c.blueF(), 2.2);
            CHECK(y > last);
            last = y;
        }
    }
}

TEST_CASE("config_edit: rules keep the general before the particular, and go when empty", "[values]") {
    ivit::QuantConfig c;
    config_edit::edit_rule(c, "blocks.3.attn.qkv", [](ivit::QuantRule& r) { r.bits.weight = 4; });
    config_edit::edit_rule(c, "blocks.3.*", [](ivit::QuantRule& r) { r.bits.weight = 6; });
    const ivit::Graph& g = *fixture::model()->graph;
    config_edit::set_operator_mode(c, g, ivit::Op::softmax, ivit::Mode::exact);
    REQUIRE(c.rules.size() == 3);
    CHECK(c.rules[0].glob == "*.softmax");
    CHECK(c.rules[1].glob == "blocks.3.*");
    CHECK(c.rules[2].glob == "blocks.3.attn.qkv");
    const auto nodes = ivit::resolve(c, g);
    CHECK(nodes[size_t(g.find("blocks.3.attn.qkv"))].weight_bits == 4);
    CHECK(nodes[size_t(g.find("blocks.3.mlp.fc1"))].weight_bits == 6);
    CHECK(nodes[size_t(g.find("blocks.2.mlp.fc1"))].weight_bits == 8);
    CHECK(nodes[size_t(g.find("blocks.0.attn.softmax"))].mode == ivit::Mode::exact);
    CHECK(config_edit::operator_mode(c, g, ivit::Op::softmax) == ivit::Mode::exact);
    for (const ivit::Op op : {ivit::Op::gelu, ivit::Op::layernorm}) {
        config_edit::set_operator_mode(c, g, op, ivit::Mode::exact);
        const auto now = ivit::resolve(c, g);
        for (size_t i = 0; i < g.nodes.size(); ++i) {
            if (g.nodes[i].op == op) CHECK(now[i].mode == ivit::Mode::exact);
        }
        config_edit::set_operator_mode(c, g, op, ivit::Mode::integer);
    }
    config_edit::edit_rule(c, "blocks.3.*", [](ivit::QuantRule& r) { r.bits.weight.reset(); });
    config_edit::edit_rule(c, "blocks.3.attn.qkv", [](ivit::QuantRule& r) { r.bits.weight.reset(); });
    config_edit::set_operator_mode(c, g, ivit::Op::softmax, ivit::Mode::integer);
    CHECK(c == ivit::QuantConfig());
}

TEST_CASE("attention: rows, KL and patches", "[values]") {
    const ivit::Trace& q = *fixture::shown().current->comparison.integer_trace;
    const ivit::Trace& f = *fixture::shown().current->comparison.float_trace;
    const std::vector<int> layers = attention::layers(*q.graph);
    REQUIRE(layers.size() == 12);
    const auto a = attention::row(q, layers[5], 2, 3), b = attention::row(f, layers[5], 2, 3);
    const auto exact = attention::softmax_of_logits(q, layers[5], 2, 3);
    REQUIRE(a.size() == 17);
    CHECK(attention::sum(b) == Approx(1).margin(1e-5));
    CHECK(attention::sum(exact) == Approx(1).margin(1e-12));
    CHECK(attention::sum(a) == Approx(1).margin(0.01));
    CHECK(attention::kl(exact, exact, 1e-12) == Approx(0).margin(1e-12));
    CHECK(attention::kl({0.5, 0.5}, {0.25, 0.75}, 1e-12) ==
          Approx(0.5 * std::log(2) + 0.5 * std::log(2.0 / 3)));
    CHECK(attention::kl(exact, a, 1e-9) < 0.05);
    CHECK(attention::row(q, layers[5], 3, 3).empty());  // DeiT-tiny has three heads
    CHECK(attention::row(q, 0, 0, 0).size() == 64);     // any node has rows

    CHECK(attention::patch_grid(197).side == 14);
    CHECK(attention::patch_grid(197).first == 1);
    CHECK(attention::patch_grid(196).first == 0);
    CHECK(attention::patch_grid(200).side == 0);
    CHECK(attention::patch_grid(1).side == 0);
    CHECK(attention::patch_grid(2).side == 1);  // one patch is laid over the whole picture
    CHECK(attention::patch_grid(2).first == 1);
}

TEST_CASE("attention: rollout against the product of whole matrices", "[values]") {
    const ivit::Trace& t = *fixture::shown().current->comparison.float_trace;
    const std::vector<int> layers = attention::layers(*t.graph);
    const size_t n = 17;
    std::vector<double> product(n * n, 0.0);
    for (size_t i = 0; i < n; ++i) product[i * n + i] = 1;
    for (const int layer : layers) {
        std::vector<double> a(n * n);
        for (size_t i = 0; i < n; ++i) {
            double total = 0;
            for (size_t j = 0; j < n; ++j) {
                for (int h = 0; h < 3; ++h)
                    a[i * n + j] += attention::row(t, layer, h, static_cast<int>(i))[j] / 3;
                a[i * n + j] += i == j;
                total += a[i * n + j];
            }
            for (size_t j = 0; j < n; ++j) a[i * n + j] /= total;
        }
        std::vector<double> next(n * n, 0.0);
        for (size_t i = 0; i < n; ++i) {
            for (size_t k = 0; k < n; ++k) {
                for (size_t j = 0; j < n; ++j) next[i * n + j] += a[i * n + k] * product[k * n + j];
            }
        }
        product = next;
    }
    for (const int token : {0, 5}) {
        const auto r = attention::rollout(t, token, attention::Fusion::mean, 0);
        REQUIRE(r.size() == n);
        for (size_t j = 0; j < n; ++j)
            CHECK(r[j] == Approx(product[static_cast<size_t>(token) * n + j]).margin(1e-6));
    }
    CHECK(attention::sum(attention::rollout(t, 0, attention::Fusion::max, 0.9)) == Approx(1).margin(1e-6));
    CHECK(attention::rollout(t, 99, attention::Fusion::mean, 0).empty());
}

TEST_CASE("tensor_slice: every node of the network can be looked into", "[values]") {
    const ivit::Trace& q = *fixture::shown().current->comparison.integer_trace;
    const ivit::Trace& f = *fixture::shown().current->comparison.float_trace;
    const ivit::Graph& g = *q.graph;
    for (int i = 0; i < static_cast<int>(g.nodes.size()); ++i) {
        INFO(g.nodes[size_t(i)].name);
        const TensorSlice s = tensor_slice(&q, &f, i, 1, 5);
        REQUIRE_FALSE(s.empty());
        REQUIRE(s.integers.size() == s.floats.size());
        const ivit::Tap* tap = q.tap(i);
        const int64_t from = static_cast<int64_t>(s.plane) * s.rows * s.cols;
        const int r = s.rows / 2, c = s.cols / 2;
        CHECK(s.real(r, c) == Approx(tap->integers.real(from + static_cast<int64_t>(r) * s.cols + c)));
        CHECK(s.error_by_row().size() == size_t(s.rows));
        CHECK(s.error_by_column().size() == size_t(s.cols));
        CHECK(s.magnitude(TensorSlice::integer, 1) >= s.magnitude(TensorSlice::integer, 0.5));
    }
    CHECK(tensor_slice(&q, &f, g.find("blocks.0.attn.softmax"), 2, 0).plane == 2);
    CHECK(tensor_slice(&q, &f, g.find("blocks.0.mlp.fc1"), 0, 0).side == 4);
    CHECK(tensor_slice(&q, &f, g.find("input"), 0, 4).plane == 1);
    CHECK(tensor_slice(&q, nullptr, 3, 0, 0).floats.empty());
    CHECK(tensor_slice(nullptr, nullptr, 3, 0, 0).empty());
    CHECK(tensor_slice(&q, &f, -1, 0, 0).empty());
}

TEST_CASE("tensor_overlay: a cell seen in part is not written into the next one", "[values]") {
    const QStringList lines{"1327", "0.0405", "0.0421", "err"};
    CHECK(lines_in_sight(lines, 120, 14) == lines);
    CHECK(lines_in_sight(lines, 56, 14) == lines);
    CHECK(lines_in_sight(lines, 55, 14) == lines.mid(0, 3));
    CHECK(lines_in_sight(lines, 14.5, 14) == lines.mid(0, 1));
    CHECK(lines_in_sight(lines, 13, 14).isEmpty());
    CHECK(lines_in_sight(lines, -3, 14).isEmpty());
}

TEST_CASE("attention: overlap of the greatest", "[values]") {
    const std::vector<double> p{0.4, 0.1, 0.3, 0.2, 0.0}, q{0.1, 0.4, 0.3, 0.2, 0.0};
    CHECK(attention::top_overlap(p, p, 3) == 3);
    CHECK(attention::top_overlap(p, q, 3) == 2);
    CHECK(attention::top_overlap(p, q, 1) == 0);
    CHECK(attention::top_overlap(p, q, 50) == 5);
    CHECK(attention::top_overlap({}, {}, 5) == 0);
    // Of equals the earlier ones, on both sides.
    CHECK(attention::top_overlap(std::vector<double>(9, 0.1), std::vector<double>(9, 0.2), 4) == 4);
}

TEST_CASE("logit lens: after the last block it says what the network says", "[values]") {
    const ivit::Result& r = *fixture::shown().current;
    const ivit::Model& model = *r.request->model;
    const ivit::Trace &floats = *r.comparison.float_trace, &integers = *r.comparison.integer_trace;
    const std::vector<LensBlock> lens = logit_lens(model, floats, integers);
    REQUIRE(int(lens.size()) == model.graph->depth);
    const std::vector<double> p = ivit::probabilities(floats, 0);
    const int answer = ivit::top_k(floats, 0, 1).front();
    CHECK(lens.back().float_class == answer);
    CHECK(lens.back().float_top == Approx(p[size_t(answer)]).epsilon(1e-4));
    CHECK(lens.back().float_answer == lens.back().float_top);
    for (const LensBlock& b : lens) {
        CHECK(model.graph->nodes[size_t(b.node)].op == ivit::Op::residual_add);
        CHECK(model.graph->nodes[size_t(b.node)].block == b.block);
        CHECK(b.kl > 0);  // W4A8: never quite the same
        CHECK(b.float_top >= b.float_answer);
        CHECK(b.integer_top >= b.integer_answer);
    }
    // The same network on both sides differs from itself nowhere.
    for (const LensBlock& b : logit_lens(model, floats, floats)) {
        CHECK(b.kl == Approx(0).margin(1e-12));
        CHECK(b.float_class == b.integer_class);
    }
    ivit::Trace without = floats;
    without.taps.clear();
    CHECK(logit_lens(model, without, integers).empty());
}

TEST_CASE("latency: the ratio of medians, or of the fastest while the clock is disturbed", "[values]") {
    LatencySamples s;
    CHECK(std::isnan(s.ratio()));
    for (int i = 0; i < 20; ++i) {
        s.integer_ms.push_back(2);
        s.float_ms.push_back(8);
    }
    CHECK_FALSE(s.unsettled());
    CHECK(s.ratio() == 4);
    // Half of the integer runs wait for another program.
    for (size_t i = 0; i < 10; ++i) s.integer_ms[i] = 20;
    CHECK(s.unsettled());
    CHECK(s.ratio() == 4);
    CHECK(s.disturbance().contains(QStringLiteral("scatter")));
}

TEST_CASE("latency: runs alike are no proof of a quiet machine; the threads' share of the cores is",
          "[values]") {
    LatencySamples s;
    for (int i = 0; i < 20; ++i) {
        s.integer_ms.push_back(4);
        s.float_ms.push_back(16);
        s.processor.push_back({8, 0.02});
    }
    CHECK_FALSE(s.unsettled());
    CHECK(s.disturbance().isEmpty());
    for (ivit::ProcessorTime& t : s.processor) t = {8, 8};
    CHECK(s.unsettled());
    CHECK(s.disturbance() ==
          QStringLiteral("the processor was shared, the threads had 50 % of the time they wanted"));
}
