// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels share with the CPU: the same source, run here without a GPU.
#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "engine/arithmetic.h"
#include "engine/backends/cuda/layout.h"
#ifdef IVIT_HAS_CUDA
#include "engine/backend.h"
#include "engine/backends/cuda/pack.h"
#include "engine/backends/cuda/plan.h"
#include "tests/small_model.h"
#endif

using namespace ivit;

namespace {

std::mt19937_64& rng() {
    static std::mt19937_64 g(11);
    return g;
}
int64_t uniform(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng()); }

// What cvt.pack.sat.s8 makes of an integer.
int32_t saturated(int64_t x) { return static_cast<int32_t>(arith::clamp(x, -128, 127)); }

}  // namespace

TEST_CASE("division by shifts, which GPUs use, is division", "[cuda][arithmetic]") {
    for (int i = 0; i < 200000; ++i) {
        const uint64_t a = static_cast<uint64_t>(uniform(0, INT64_MAX)) >> uniform(0, 62);
        const uint64_t b = (static_cast<uint64_t>(uniform(0, INT64_MAX)) >> uniform(0, 62)) | 1;
        REQUIRE(arith::divide_by_shifts(a, b) == a / b);
        REQUIRE(arith::divide_by_shifts(a + b, b) == a / b + 1);
    }
    for (const uint64_t a : {uint64_t{0}, uint64_t{1}, uint64_t{INT64_MAX}, ~uint64_t{0}})
        for (const uint64_t b : {uint64_t{1}, uint64_t{2}, uint64_t{INT64_MAX}, ~uint64_t{0}})
            CHECK(arith::divide_by_shifts(a, b) == a / b);
}

TEST_CASE("FastDiv is division by every divisor a network has", "[cuda][arithmetic]") {
    for (int32_t d = 1; d < 5000; ++d) {
        const cuda::FastDiv f(d);
        for (const int64_t n :
             {int64_t{0}, int64_t{d} - 1, int64_t{d}, uniform(0, INT32_MAX), int64_t{INT32_MAX},
              INT32_MAX / d * int64_t{d}, INT32_MAX / d * int64_t{d} - 1}) {
            REQUIRE(f.divide(static_cast<int32_t>(n)) == n / d);
            REQUIRE(f.remainder(static_cast<int32_t>(n)) == n % d);
        }
    }
    for (int i = 0; i < 100000; ++i) {
        const auto d = static_cast<int32_t>(uniform(1, INT32_MAX) >> uniform(0, 30)),
                   n = static_cast<int32_t>(uniform(0, INT32_MAX));
        REQUIRE(cuda::FastDiv(std::max(d, 1)).divide(n) == n / std::max(d, 1));
    }
}

TEST_CASE("the attention kernel's reciprocal is Shiftmax's, to the last bit", "[cuda][arithmetic]") {
    for (int i = 0; i < 400000; ++i) {
        const int M = i % 3 == 0 ? 31 : i % 3 == 1 ? 47 : static_cast<int>(uniform(16, 62));
        const int64_t d = std::max<int64_t>(1, uniform(1, (int64_t{1} << 62) - 1) >> uniform(0, 61));
        const int64_t f = arith::shift_reciprocal(d, M);
        if (f >= int64_t{1} << 32) continue;
        INFO("d " << d << " M " << M);
        REQUIRE(cuda::quick_reciprocal(d, M) == f);
    }
    for (int M = 16; M <= 62; ++M)
        for (int bit = 0; bit < 62; ++bit)
            for (const int64_t off : {-1, 0, 1}) {
                const int64_t d = (int64_t{1} << bit) + off;
                if (d < 1) continue;
                const int64_t f = arith::shift_reciprocal(d, M);
                if (f >= int64_t{1} << 32) continue;
                INFO("d " << d << " M " << M);
                REQUIRE(cuda::quick_reciprocal(d, M) == f);
            }
}

TEST_CASE("the I-LayerNorm kernel's reciprocal of a root is exact", "[cuda][arithmetic]") {
    const auto check = [](int64_t v) {
        const int64_t f = arith::shift_reciprocal(std::max<int64_t>(arith::isqrt(v), 1), 31);
        if (cuda::quick_inverse_root(static_cast<uint64_t>(v)) == f) return;
        INFO("v " << v);
        REQUIRE(cuda::quick_inverse_root(static_cast<uint64_t>(v)) == f);
    };
    for (int64_t v = 0; v < 100000; ++v) check(v);
    for (int64_t root = 300; root < 1 << 25; root += root < 100000 ? 1 : uniform(1, 60))
        for (const int64_t v : {root * root - 1, root * root, root * root + 1}) check(v);
    for (int i = 0; i < 400000; ++i) check(uniform(0, (int64_t{1} << 50) - 1) >> uniform(0, 49));
    for (int bit = 0; bit < 50; ++bit)
        for (const int64_t off : {-1, 0, 1}) check((int64_t{1} << bit) + off);
    check((int64_t{1} << 50) - 1);
}

TEST_CASE("packed weight rows are permutations inside groups of 32 or 16", "[cuda][arithmetic]") {
    std::set<int32_t> seen, paired;
    for (int32_t c = 0; c < 128; ++c) {
        const int32_t r = cuda::packed_row(c), pair = cuda::paired_row(c);
        CHECK(r / 32 == c / 32);
        CHECK(pair / 16 == c / 16);
        seen.insert(r);
        paired.insert(pair);
    }
    CHECK(seen.size() == 128);
    CHECK(paired.size() == 128);
    // Thread g of a product on its side holds rows g and g + 8 of each group of 16: channels 2g and 2g + 1.
    for (int32_t g = 0; g < 8; ++g) {
        CHECK(cuda::paired_row(16 + 2 * g) == 16 + g);
        CHECK(cuda::paired_row(16 + 2 * g + 1) == 16 + g + 8);
    }
    // Thread t of a tensor-core product holds columns 2t and 2t + 1 of each group of 8: eight channels in a
    // row.
    for (int32_t t = 0; t < 4; ++t)
        for (int32_t j = 0; j < 4; ++j)
            for (int32_t e = 0; e < 2; ++e) CHECK(cuda::packed_row(8 * t + 2 * j + e) == 8 * j + 2 * t + e);
}

TEST_CASE("a layout pads every head and the row", "[cuda][arithmetic]") {
    const auto qkv = cuda::Layout::heads(3 * 60, 20);
    CHECK(qkv.padded == 32);
    CHECK(qkv.stride == 320);
    CHECK(qkv.at(0) == 0);
    CHECK(qkv.at(19) == 19);
    CHECK(qkv.at(20) == 32);
    CHECK(qkv.at(179) == 8 * 32 + 19);
    CHECK(cuda::Layout::heads(192, 64).padded == 64);
    CHECK(cuda::Layout::heads(70, 70).padded == 128);
    CHECK(cuda::Layout::flat(21).stride == 64);
}

TEST_CASE("requantization in one word is the reference's at every shift", "[cuda][arithmetic]") {
    int checked[63] = {};
    for (int i = 0; i < 300000; ++i) {
        const int s = static_cast<int>(uniform(1, 62)), bits = static_cast<int>(uniform(4, 32)),
                  spare = bits < 8 && s > 8 - bits ? 8 - bits : 0;
        const int64_t most = uniform(0, int64_t{1} << 30) >> uniform(0, 30), sign = uniform(0, 1) ? 1 : -1;
        // As dyadic() makes them, and any.
        const auto m = static_cast<int32_t>(
            sign * (i % 3 ? uniform(1 << 30, INT32_MAX) : uniform(0, INT32_MAX) >> uniform(0, 30)));
        const int64_t bias = uniform(-(int64_t{1} << 30), int64_t{1} << 30) >> uniform(0, 30),
                      r = bias * m + (int64_t{1} << (s - 1)),
                      limit = uniform(0, 1) ? INT32_MAX : int64_t{1} << 30;
        INFO("s " << s << ", m " << m << ", bias " << bias << ", most " << most << ", spare " << spare);
        const auto exact = [&](int64_t x) { return (x * m + r) >> (s - spare); };
        if (!cuda::word_fits(most, m, r, s - spare, limit)) {
            // Not said of what would fit.
            REQUIRE(std::max(std::abs(exact(most)), std::abs(exact(-most))) >= limit - 1);
            continue;
        }
        ++checked[s];
        for (int64_t x : {-most, -most + 1, -bias - 1, -bias, -bias + 1, int64_t{-1}, int64_t{0}, int64_t{1},
                          most - 1, most, uniform(-most, most), uniform(-most, most), uniform(-most, most)}) {
            if (x < -most || x > most) continue;
            const auto acc = static_cast<int32_t>(x);
            const int32_t y = cuda::scale_word(acc, m, r, s - spare),
                          expected = arith::requant(x + bias, m, s, bits);
            REQUIRE(y == exact(x));
            REQUIRE(std::abs(int64_t{y}) <= limit);
            if (bits > 8) {
                REQUIRE(arith::clamp(y, -(int64_t{1} << (bits - 1)), (int64_t{1} << (bits - 1)) - 1) ==
                        expected);
            } else {
                const auto byte = static_cast<uint32_t>(saturated(y)) & 0xff;
                REQUIRE(static_cast<int8_t>(spare > 0 ? cuda::shift_bytes(byte, spare) : byte) ==
                        (spare == 8 - bits ? expected : saturated(y)));
            }
        }
    }
    for (int s = 20; s <= 62; ++s) CHECK(checked[s] > 100);
    // What every kernel relied on before: from 32 on there is no accumulator that does not fit.
    for (int s = 32; s <= 62; ++s)
        CHECK(cuda::word_fits((int64_t{1} << 30) - 1, INT32_MAX,
                              (int64_t{1} << 30) * INT32_MAX + (int64_t{1} << (s - 1)), s, INT32_MAX));
}

TEST_CASE("a logit that counts from its grid's lowest is the reference's at every shift",
          "[cuda][arithmetic]") {
    for (int i = 0; i < 300000; ++i) {
        const int s = static_cast<int>(uniform(23, 54)), bits = static_cast<int>(uniform(4, 8));
        const int64_t low = -(int64_t{1} << (bits - 1)), most = 1 << 20,
                      x = i % 5   ? uniform(-most, most) >> uniform(0, 20)
                          : i % 2 ? most
                                  : -most;
        const auto m = static_cast<int32_t>(uniform(1 << 30, INT32_MAX) * (uniform(0, 1) ? 1 : -1));
        const int64_t r = (int64_t{1} << (s - 1)) - low * (int64_t{1} << s);
        const int32_t y = cuda::scale_word(static_cast<int32_t>(x), m, r, s);
        REQUIRE(arith::clamp(y, 0, -2 * low - 1) + low == arith::requant(x, m, s, bits));
    }
    // kernels.h, least_attention_shift.
    for (int s = 23; s <= 62; ++s) {
        const int64_t half = int64_t{1} << (s - 1);
        if (s <= 54) CHECK(cuda::word_fits(1 << 21, INT32_MAX, half + (int64_t{128} << s), s, INT32_MAX));
        CHECK(cuda::word_fits(1 << 22, INT32_MAX, half, s, INT32_MAX));
    }
}

TEST_CASE("four bytes are shifted as signed bytes", "[cuda][arithmetic]") {
    for (int by = 1; by <= 7; ++by)
        for (int a = -128; a < 128; ++a)
            for (const int b : {-128, -127, -1, 0, 1, 126, 127, a}) {
                const int four[4] = {a, b, -1 - a, a ^ b};
                uint32_t packed = 0;
                for (int e = 0; e < 4; ++e) packed |= (static_cast<uint32_t>(four[e]) & 0xff) << 8 * e;
                const uint32_t shifted = cuda::shift_bytes(packed, by);
                for (int e = 0; e < 4; ++e)
                    REQUIRE(static_cast<int8_t>(shifted >> 8 * e) == static_cast<int8_t>(four[e]) >> by);
            }
}

#ifdef IVIT_HAS_CUDA
namespace {

// Everything that a network requantizes, packed as network.cpp does: fails unless the fastest kernels take
// it.
void check_packed(const QuantizedModel& q) {
    cuda::Arena arena;
    const Graph& g = *q.graph;
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = g.nodes[i];
        const QuantNode& node = *q.nodes[i];
        INFO(q.config.label() << ", " << n.name);
        if (n.op == Op::attn_logits) {
            CHECK(node.s[0] >= cuda::least_attention_shift);
            CHECK(node.s[0] <= 54);
        }
        if (n.op == Op::attn_context) CHECK(node.s[0] >= cuda::least_attention_shift);
        const bool product = n.op == Op::linear || n.op == Op::patch_embed || n.op == Op::head;
        if (!product && n.op != Op::layernorm) continue;
        const QuantNode& by = n.to_residual ? *q.nodes[i + 1] : node;
        const bool bytes = (n.op == Op::layernorm || n.op == Op::linear) && !n.to_residual;
        const int64_t greatest = cuda::greatest_accumulator(node);
        // With the GELU looked up in the product's epilogue, and apart from it.
        for (const int spare : {0, bytes ? 8 - by.out.bits : 0}) {
            const auto columns = cuda::pack_columns(arena, cuda::form_of(g, static_cast<int>(i)).layout, node,
                                                    by, greatest, spare);
            CHECK(columns.fits);
            CHECK(columns.possible);
        }
        if (product)  // the bound is one: inputs of the lowest byte, each with its weight's sign
            for (size_t c = 0; c < node.bias.size(); ++c) {
                const size_t K = node.weight.size() / node.bias.size();
                int64_t sum = 0;
                for (size_t k = 0; k < K; ++k) sum += 128 * std::abs(int64_t{node.weight[c * K + k]});
                REQUIRE(sum <= greatest);
            }
    }
}

}  // namespace

TEST_CASE("at every width every product is packed for the fastest kernels", "[cuda][arithmetic]") {
    for (const vit::Dims& dims :
         {vit::Dims{16, 4, 24, 3, 40, 2, 7, 1e-6f}, vit::Dims{32, 8, 192, 3, 768, 2, 1000, 1e-6f}}) {
        const auto model = test::small_model(3, dims);
        const Calibration calibration = calibrate(
            *model, 2, [&](int64_t i) { return test::picture(dims.image_size, static_cast<uint32_t>(i)); },
            RangeMethod::mse, 2);
        for (int w = 2; w <= 8; ++w)
            for (int a = 4; a <= 8; ++a) {
                const std::string spec = "W" + std::to_string(w) + "A" + std::to_string(a);
                QuantConfig all = QuantConfig::from_spec(spec);
                check_packed(*quantize(model, calibration, all));
                all.patch_embed = all.head = BitSpec::parse(spec);
                check_packed(*quantize(model, calibration, all));
                for (const char* glob : {"blocks.1.attn.qkv", "blocks.0.attn.proj", "blocks.1.norm1", "*fc1",
                                         "*fc2", "*.act", "*context", "*logits", "head", "input"}) {
                    QuantConfig one;
                    QuantRule rule;
                    rule.glob = glob;
                    rule.bits = BitSpec::parse(spec);
                    one.rules.push_back(rule);
                    check_packed(*quantize(model, calibration, one));
                }
            }
    }
}

TEST_CASE("a ratio no network has is packed for the kernels that saturate", "[cuda][arithmetic]") {
    QuantNode node;
    node.weight = std::vector<int8_t>(4096, -128);
    node.bias = {0, 0};
    node.m = {INT32_MAX, INT32_MAX};
    node.s = {40, 22};
    node.out = {{1.0}, 4, false};
    cuda::Arena arena;
    const cuda::Layout layout = cuda::Layout::flat(2);
    const int64_t greatest = cuda::greatest_accumulator(node);
    CHECK(greatest == int64_t{128} * 128 * 2048);
    CHECK_FALSE(cuda::pack_columns(arena, layout, node, node, greatest, 4).fits);
    node.s = {40, 3};
    CHECK_FALSE(cuda::pack_columns(arena, layout, node, node, greatest, 4).possible);
    node.s = {40, 36};
    CHECK(cuda::pack_columns(arena, layout, node, node, greatest, 4).fits);
}

TEST_CASE("a weight's slabs are its rows or columns, in groups of 64 and 32", "[cuda][arithmetic]") {
    const int32_t N = 24, K = 192;
    std::vector<int8_t> w(static_cast<size_t>(N * K));
    for (int8_t& v : w) v = static_cast<int8_t>(uniform(-128, 127));
    // Element (row, column) of a slab [rows, columns].
    const auto element = [](const std::vector<int8_t>& slabs, int32_t slab, int32_t rows, int32_t columns,
                            int32_t row, int32_t column) {
        const int32_t group = column / 64, width = std::min(64, columns - 64 * group);
        return slabs[static_cast<size_t>(slab * rows * columns + group * 64 * rows + row * width +
                                         column % 64)];
    };
    const auto at = [&](int32_t n, int32_t k) { return w[static_cast<size_t>(n * K + k)]; };
    const auto rows = cuda::pack_slabs(w, N, K, {cuda::Cut::rows, 3});
    const auto depth = cuda::pack_slabs(w, N, K, {cuda::Cut::depth, 2});
    const auto heads = cuda::pack_slabs(w, N, K, {cuda::Cut::heads, 4});
    REQUIRE(rows.size() == w.size());
    REQUIRE(depth.size() == w.size());
    REQUIRE(heads.size() == w.size());
    for (int32_t n = 0; n < N; ++n)
        for (int32_t k = 0; k < K; ++k) {
            REQUIRE(element(rows, n / 8, 8, K, n % 8, k) == at(n, k));
            REQUIRE(element(depth, k / 96, N, 96, n, k % 96) == at(n, k));
            // q, k and v have eight rows each, two of each head.
            REQUIRE(element(heads, n % 8 / 2, 6, K, n / 8 * 2 + n % 2, k) == at(n, k));
        }
}

TEST_CASE("every block of a ViT is found", "[cuda][arithmetic]") {
    const auto graph = vit::make_graph({32, 8, 192, 3, 768, 4, 10, 1e-6f});
    const cuda::Plan plan = cuda::make_plan(*graph);
    const auto blocks = cuda::find_blocks(*graph, plan);
    REQUIRE(blocks.size() == 4);
    for (size_t b = 0; b < blocks.size(); ++b) {
        const cuda::Step* const s = &plan.steps[blocks[b]];
        const std::string block = "blocks." + std::to_string(b) + ".";
        const auto name = [&](int i) { return graph->nodes[static_cast<size_t>(i)].name; };
        CHECK(name(s[0].first) == block + "norm1");
        CHECK(name(s[2].first) == block + "attn.proj");
        CHECK(name(s[4].first) == block + "mlp.fc2");
    }
    // One that somebody else reads too is none: its attention would have to leave the kernel.
    Graph other = *graph;
    for (Node& n : other.nodes)
        if (n.name == "blocks.2.attn.proj") n.inputs[0] -= 3;
    CHECK(cuda::find_blocks(other, cuda::make_plan(other)).size() == 3);
}
#endif
