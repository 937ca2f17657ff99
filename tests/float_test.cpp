// SPDX-License-Identifier: Apache-2.0
// The float backend: every op against plain loops in double, the network against PyTorch's figures, and what
// must not matter: fusing, batch size, threads, instruction set.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/backend.h"
#include "engine/backends/float/evaluate.h"
#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"
#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/families/vit.h"

using namespace ivit;

namespace {

std::vector<float> normal(size_t n, uint32_t seed, float std = 1) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> d(0, std);
    std::vector<float> v(n);
    for (float& x : v) x = d(rng);
    return v;
}

FloatTensor tensor(const Shape& shape, uint32_t seed, float std = 1) {
    return {shape, normal(static_cast<size_t>(elements(shape)), seed, std)};
}

std::shared_ptr<const Model> model_of(const vit::Dims& dims, uint32_t seed = 1) {
    auto m = std::make_shared<Model>();
    m->graph = vit::make_graph(dims);
    for (const auto& spec : vit::weight_specs(dims)) {
        auto t = tensor(spec.shape, ++seed, spec.shape.size() > 1 ? 0.2f : 0.3f);
        if (spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight"))
            for (float& x : t.data) x += 1;
        m->weights[spec.name] = std::make_shared<const FloatTensor>(std::move(t));
    }
    return m;
}

// Nothing is a multiple of a vector: 17 tokens, 3 heads of 13, 50 hidden, 7 classes.
constexpr vit::Dims odd{20, 5, 39, 3, 50, 2, 7};

std::vector<uint8_t> noise(const Graph& g, int batch, uint32_t seed = 1) {
    std::mt19937 rng(seed);
    std::vector<uint8_t> p(static_cast<size_t>(batch * g.image_size * g.image_size * 3));
    for (auto& x : p) x = static_cast<uint8_t>(rng());
    return p;
}

RunOptions tap_all(const Graph& g) {
    RunOptions o;
    o.taps.assign(g.nodes.size(), true);
    return o;
}

// The node in double, straight from its definition.
std::vector<double> naive(const Model& m, const Node& n, const std::vector<FloatTensor>& in) {
    std::vector<double> y(static_cast<size_t>(elements(n.shape)));
    const auto x = [&](size_t i, int64_t j) {
        return static_cast<double>(in[i].data[static_cast<size_t>(j)]);
    };
    const auto w = [&](const std::string& name, int64_t j) {
        return static_cast<double>(m.weight(name).data[static_cast<size_t>(j)]);
    };
    const int64_t rows = n.rows(), cols = n.cols();
    for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
        const int64_t r = i / cols % rows, c = i % cols, h = i / cols / rows;
        double& v = y[static_cast<size_t>(i)];
        switch (n.op) {
            case Op::input:
                break;
            case Op::patch_embed: {
                const int64_t size = in[0].shape[2], p = n.patch, across = size / p;
                v = w(n.bias, c);
                for (int64_t ch = 0; ch < 3; ++ch)
                    for (int64_t a = 0; a < p; ++a)
                        for (int64_t b = 0; b < p; ++b)
                            v += x(0, (ch * size + r / across * p + a) * size + r % across * p + b) *
                                 w(n.weight, ((c * 3 + ch) * p + a) * p + b);
                break;
            }
            case Op::pos_embed:
                v = w(n.weight, i) + (r == 0 ? w(n.bias, c) : x(0, i - cols));
                break;
            case Op::layernorm: {
                double mean = 0, var = 0;
                for (int64_t k = 0; k < cols; ++k) mean += x(0, r * cols + k) / static_cast<double>(cols);
                for (int64_t k = 0; k < cols; ++k)
                    var += std::pow(x(0, r * cols + k) - mean, 2) / static_cast<double>(cols);
                v = (x(0, i) - mean) / std::sqrt(var + static_cast<double>(n.eps)) * w(n.weight, c) +
                    w(n.bias, c);
                break;
            }
            case Op::linear:
            case Op::head: {
                const int64_t k = in[0].shape.back();
                v = w(n.bias, c);
                for (int64_t j = 0; j < k; ++j) v += x(0, r * k + j) * w(n.weight, c * k + j);
                break;
            }
            case Op::attn_logits: {
                const int64_t c3 = in[0].shape.back(), d = c3 / 3 / n.heads;
                for (int64_t j = 0; j < d; ++j)
                    v += x(0, r * c3 + h * d + j) * x(0, c * c3 + c3 / 3 + h * d + j);
                v /= std::sqrt(static_cast<double>(d));
                break;
            }
            case Op::softmax: {
                double sum = 0;
                for (int64_t j = 0; j < cols; ++j) sum += std::exp(x(0, i - c + j) - x(0, i));
                v = 1 / sum;
                break;
            }
            case Op::attn_context: {
                const int64_t d = cols / n.heads, head = c / d;
                for (int64_t j = 0; j < rows; ++j)
                    v += x(0, (head * rows + r) * rows + j) * x(1, j * 3 * cols + 2 * cols + c);
                break;
            }
            case Op::gelu:
                v = x(0, i) * std::erfc(-x(0, i) / std::sqrt(2.0)) / 2;
                break;
            case Op::residual_add:
                v = x(0, i) + x(1, i);
                break;
        }
    }
    return y;
}

double worst(const std::vector<float>& a, const std::vector<double>& b) {
    double most = 0, top = 1e-30;
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
        most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
        top = std::max(top, std::abs(b[i]));
    }
    return most / top;
}

double worst(const std::vector<float>& a, const std::vector<float>& b) {
    return worst(a, std::vector<double>(b.begin(), b.end()));
}

}  // namespace

TEST_CASE("each float op equals plain loops in double", "[float]") {
    const auto m = model_of(odd);
    const Graph& g = *m->graph;
    for (size_t i = 1; i < g.nodes.size(); ++i) {
        const Node& n = g.nodes[i];
        if (n.block > 0) continue;  // the second block has the ops of the first
        INFO(n.name);
        std::vector<FloatTensor> in;
        for (const int j : n.inputs)
            in.push_back(tensor(g.nodes[static_cast<size_t>(j)].shape, 100 + static_cast<uint32_t>(i), 2));
        std::vector<const FloatTensor*> pointers;
        for (const auto& t : in) pointers.push_back(&t);
        const FloatTensor y = evaluate_node(*m, static_cast<int>(i), pointers);
        CHECK(y.shape == n.shape);
        CHECK(worst(y.data, naive(*m, n, in)) < 3e-6);
    }
    CHECK_THROWS_AS(evaluate_node(*m, 0, {}), Error);
}

TEST_CASE("float softmax and GELU hold at the ends of their range", "[float]") {
    const auto& k = fp32::kernels();
    for (const int64_t n : {1, 2, 15, 16, 17, 31, 33, 197}) {
        INFO(n);
        std::vector<float> x = normal(static_cast<size_t>(n), 3, 5), y(x.size());
        x[0] = 300;  // all the rest vanish
        k.softmax(n, x.data(), 1, y.data());
        CHECK(y[0] == Approx(1.0));
        for (size_t i = 1; i < x.size(); ++i) CHECK(y[i] < 1e-30f);
        x.assign(x.size(), -1e4f);
        k.softmax(n, x.data(), 1, x.data());  // in place
        for (const float p : x) CHECK(p == Approx(1.0 / static_cast<double>(n)));
    }
    std::vector<float> x;
    for (int i = -2000; i <= 2000; ++i) x.push_back(static_cast<float>(i) / 100);
    std::vector<float> y(x.size());
    k.gelu(static_cast<int64_t>(x.size()), x.data(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
        const double v = static_cast<double>(x[i]);
        CHECK(std::abs(static_cast<double>(y[i]) - v * std::erfc(-v / std::sqrt(2.0)) / 2) <=
              4e-7 * std::max(1.0, std::abs(v)));
    }
}

TEST_CASE("the kernels of every instruction set give the same bits", "[float]") {
    const int64_t m = 37, n = 117, k = 53;
    const auto x = normal(static_cast<size_t>(m * k), 1), w = normal(static_cast<size_t>(n * k), 2),
               bias = normal(static_cast<size_t>(n), 3), gamma = normal(static_cast<size_t>(n), 4);
    const auto outputs = [&](const fp32::Kernels& kernels) {
        const size_t size = static_cast<size_t>(m * n);
        std::vector<float> all, y(size), z(size), panel(static_cast<size_t>(k * fp32::panel_width));
        const auto keep = [&](const std::vector<float>& v) { all.insert(all.end(), v.begin(), v.end()); };
        kernels.gemm(m, n, k, x.data(), k, w.data(), 1, k, bias.data(), y.data(), n, panel.data());
        keep(y);
        for (int64_t i = 0; i < m; ++i)
            kernels.softmax(n, &y[static_cast<size_t>(i * n)], 0.3f, &z[static_cast<size_t>(i * n)]);
        keep(z);
        for (int64_t i = 0; i < m; ++i)
            kernels.layernorm(n, &y[static_cast<size_t>(i * n)], gamma.data(), bias.data(), 1e-6f,
                              &z[static_cast<size_t>(i * n)]);
        keep(z);
        kernels.gelu(m * n, y.data(), z.data());
        keep(z);
        kernels.add(m * n, y.data(), z.data(), z.data());
        keep(z);
        return all;
    };
    const auto same = [&](const fp32::Kernels& kernels) {
        const auto a = outputs(fp32::kernels_baseline), b = outputs(kernels);
        return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    if (best_isa() >= Isa::avx2)
        CHECK(same(fp32::kernels_avx2));
    else
        WARN("no AVX2 here: not compared");
    if (best_isa() >= Isa::avx512vnni)
        CHECK(same(fp32::kernels_avx512));
    else
        WARN("no AVX-512 here: not compared");
}

TEST_CASE("the plain product's bits do not depend on the threads", "[float]") {
    const auto m = model_of(odd);
    const Graph& g = *m->graph;
    const Node& n = g.nodes[static_cast<size_t>(g.find("blocks.0.attn.qkv"))];
    const FloatTensor x = tensor({3, n.rows(), 39}, 5);
    const FloatTensor* in[] = {&x};
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
        FloatTensor y{{3, n.rows(), n.cols()},
                      std::vector<float>(static_cast<size_t>(3 * n.rows() * n.cols()))};
        fp32::PlainGemm gemm;
        const auto pool = ThreadPool::get(threads);
        fp32::run_op({n, *m, in, y, gemm, pool.get(), 3});
        results.push_back(y.data);
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
}

TEST_CASE("the float network equals its nodes one by one", "[float]") {
    for (const auto& dims : {odd, vit::Dims{32, 4, 64, 2, 128, 1, 10}, vit::Dims{8, 8, 24, 1, 16, 1, 3}}) {
        const auto m = model_of(dims);
        const Graph& g = *m->graph;
        const auto network = make_float_network(m, 2);
        const auto pixels = noise(g, 1);
        const auto trace = network->run(pixels, 1, tap_all(g));
        REQUIRE(trace->taps.size() == g.nodes.size());
        for (size_t i = 0; i < g.nodes.size(); ++i) {
            const Node& n = g.nodes[i];
            INFO(n.name);
            const FloatTensor& y = trace->tap(static_cast<int>(i))->floats;
            Shape shape = n.shape;
            shape.insert(shape.begin(), 1);
            CHECK(y.shape == shape);
            if (n.op == Op::input) {
                const size_t plane = y.data.size() / 3;
                bool right = true;
                for (size_t c = 0; c < 3; ++c)
                    for (size_t p = 0; p < plane; ++p)
                        right &=
                            std::abs(static_cast<double>(y.data[c * plane + p]) -
                                     (pixels[p * 3 + c] / 255.0 - m->info.mean[c]) / m->info.std[c]) < 1e-6;
                CHECK(right);
                continue;
            }
            std::vector<FloatTensor> in;
            for (const int j : n.inputs) {
                in.push_back(trace->tap(j)->floats);
                in.back().shape.erase(in.back().shape.begin());
            }
            std::vector<const FloatTensor*> pointers;
            for (const auto& t : in) pointers.push_back(&t);
            CHECK(worst(y.data, evaluate_node(*m, static_cast<int>(i), pointers).data) < 1e-5);
        }
    }
}

TEST_CASE("fusing, batch size and threads do not change the float network's answer", "[float]") {
    const auto m = model_of(odd);
    const Graph& g = *m->graph;
    const auto pixels = noise(g, 5);
    const size_t picture = pixels.size() / 5;
    const auto reference = make_float_network(m, 1)->run(pixels, 5, {});
    REQUIRE(reference->logits.size() == 5 * 7);
    for (const int threads : {1, 2, 3, 5}) {
        INFO(threads << " threads");
        const auto network = make_float_network(m, threads);
        CHECK(worst(network->run(pixels, 5, {})->logits, reference->logits) < 1e-5);
        CHECK(worst(network->run(pixels, 5, tap_all(g))->logits, reference->logits) < 1e-5);
        // One by one, then all again: buffers that have grown and shrunk.
        std::vector<float> logits;
        for (size_t b = 0; b < 5; ++b) {
            const auto one = network->run(std::span(pixels).subspan(b * picture, picture), 1, {});
            logits.insert(logits.end(), one->logits.begin(), one->logits.end());
        }
        CHECK(logits == network->run(pixels, 5, {})->logits);  // bits: each picture has products of its own

        // A tap of one part of a fused step, and only that.
        for (const char* name :
             {"blocks.0.attn.softmax", "blocks.1.mlp.fc1", "blocks.0.attn.proj", "blocks.1.mlp.act"}) {
            RunOptions o;
            o.taps.assign(g.nodes.size(), false);
            const int i = g.find(name);
            o.taps[static_cast<size_t>(i)] = true;
            const auto t = network->run(pixels, 5, o);
            REQUIRE(t->taps.size() == 1);
            CHECK(t->tap(i)->floats.data.size() ==
                  static_cast<size_t>(5 * elements(g.nodes[static_cast<size_t>(i)].shape)));
            CHECK(worst(t->logits, reference->logits) < 1e-5);
        }
    }
}

// Two threads once wrote wrong logits here: oneDNN's product of a single row does not bear company.
TEST_CASE("the float head gives the same bits from many threads at once, again and again",
          "[float][threads]") {
    const vit::Dims d{64, 16, 192, 3, 768, 1, 1000};
    const auto m = model_of(d);
    constexpr int batch = 8;
    const auto pixels = noise(*m->graph, batch);
    const auto expected = make_float_network(m, 1)->run(pixels, batch, {})->logits;
    for (const int threads : {2, 4}) {
        const auto network = make_float_network(m, threads);
        const auto first = network->run(pixels, batch, {})->logits;
        CHECK(worst(first, expected) < 1e-5);
        bool same = true;  // CHECK would print a thousand logits
        for (int i = 0; i < 50; ++i) same = same && network->run(pixels, batch, {})->logits == first;
        CHECK(same);
    }
}

TEST_CASE("timings cover every node once; a stop request ends the run", "[float]") {
    const auto m = model_of(odd);
    const auto network = make_float_network(m, 2);
    RunOptions o;
    o.time_nodes = true;
    const auto t = network->run(noise(*m->graph, 1), 1, o);
    int next = 0;
    for (const Timing& s : t->timings) {
        CHECK(s.first == next);
        CHECK(s.ms >= 0);
        next = s.last + 1;
    }
    CHECK(next == static_cast<int>(m->graph->nodes.size()));
    CHECK(t->timings.size() < m->graph->nodes.size());
    CHECK(t->taps.empty());
    CHECK(t->backend == "float");

    std::stop_source stop;
    stop.request_stop();
    o.stop = stop.get_token();
    CHECK_THROWS_AS(network->run(noise(*m->graph, 1), 1, o), Cancelled);
    CHECK_THROWS_AS(network->run({}, 1, {}), Error);
    CHECK_THROWS_AS(network->run(noise(*m->graph, 1), 2, {}), Error);
    CHECK_THROWS_AS(network->run({}, 0, {}), Error);
}

namespace {

// What tools/float_reference.py calls splitmix64, and the formulas it documents at its head.
struct SplitMix {
    uint64_t state;
    uint64_t next() {
        uint64_t z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
};

std::shared_ptr<const Model> formula_model(const nlohmann::json& c) {
    const auto& s = c["shape"];
    vit::Dims dims;
    dims.image_size = s["image_size"];
    dims.patch_size = s["patch_size"];
    dims.width = s["width"];
    dims.heads = s["num_heads"];
    dims.hidden = dims.width * s["mlp_ratio"].get<int>();
    dims.depth = s["depth"];
    dims.classes = s["num_classes"];
    dims.eps = s["eps"];
    auto m = std::make_shared<Model>();
    m->graph = vit::make_graph(dims);
    std::map<std::string, Shape> shapes;
    for (const auto& spec : vit::weight_specs(dims)) shapes[spec.name] = spec.shape;
    SplitMix rng{c["weight_seed"]};
    for (const auto& t : c["tensors"]) {
        const double offset = t["offset"], amplitude = t["amplitude"];
        FloatTensor w{shapes.at(t["name"]), {}};
        for (int64_t i = 0; i < elements(w.shape); ++i)
            w.data.push_back(static_cast<float>(
                offset + amplitude * (2 * (static_cast<double>(rng.next() >> 11) * 0x1p-53) - 1)));
        m->weights[t["name"]] = std::make_shared<const FloatTensor>(std::move(w));
    }
    for (size_t i = 0; i < 3; ++i) {
        m->info.mean[i] = c["mean"][i];
        m->info.std[i] = c["std"][i];
    }
    return m;
}

// Its names are of PyTorch's modules; ours are of the node that yields the same values.
std::string node_name(const std::string& module) {
    if (module == "patch_embed") return "patch_embed.proj";
    if (module.ends_with(".attn")) return module + ".proj";
    if (module.ends_with(".mlp")) return module + ".fc2";
    if (module.starts_with("blocks.") && module.find('.', 7) == std::string::npos) return module + ".add2";
    return module;
}

}  // namespace

TEST_CASE("the float network equals PyTorch's figures to 1e-4", "[float]") {
    std::ifstream file(IVIT_SOURCE_DIR "/tests/golden/float_reference.json");
    if (!file) {
        WARN("tests/golden/float_reference.json is not there: make it with tools/float_reference.py");
        return;
    }
    const auto document = nlohmann::json::parse(file);
    REQUIRE(document["cases"].size() >= 2);
    for (const auto& c : document["cases"]) {
        INFO(c["name"]);
        const auto m =
            c.contains("tensors")
                ? formula_model(c)
                : load_model(std::string(IVIT_SOURCE_DIR "/assets/") + c["file"].get<std::string>());
        const Graph& g = *m->graph;
        SplitMix rng{c["input_seed"]};
        std::vector<uint8_t> pixels(static_cast<size_t>(g.image_size * g.image_size * 3));
        for (auto& p : pixels) p = static_cast<uint8_t>(rng.next() >> 56);
        for (size_t i = 0; i < 16; ++i) REQUIRE(pixels[i] == c["input_first_bytes"][i]);

        const auto network = make_float_network(m, 2);
        const auto trace = network->run(pixels, 1, tap_all(g));
        for (const auto& [name, values] : c["nodes"].items()) {
            INFO(name);
            const int i = g.find(node_name(name));
            REQUIRE(i >= 0);
            const auto& y = trace->tap(i)->floats.data;
            const double count = static_cast<double>(elements(values["shape"].get<Shape>()));
            const double magnitude = values["abs_sum"].get<double>() / count;
            for (size_t j = 0; j < 16 && j < y.size(); ++j)
                CHECK(std::abs(static_cast<double>(y[j]) - values["first"][j].get<double>()) <
                      1e-4 * magnitude);
            if (static_cast<double>(y.size()) != count)
                continue;  // norm: we keep the class token's row alone
            double sum = 0, abs_sum = 0;
            for (const float v : y)
                sum += static_cast<double>(v), abs_sum += std::abs(static_cast<double>(v));
            CHECK(std::abs(sum - values["sum"].get<double>()) < 1e-4 * values["abs_sum"].get<double>());
            CHECK(abs_sum == Approx(values["abs_sum"].get<double>()).epsilon(1e-4));
        }
        const auto logits = c["logits"].get<std::vector<double>>();
        CHECK(worst(trace->logits, logits) < 1e-4);
        CHECK(worst(network->run(pixels, 1, {})->logits, logits) < 1e-4);
    }
}
