// SPDX-License-Identifier: Apache-2.0
// Graphs, models of random weights, and the grids of tensors.
#include "engine/graph.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/checkpoint_loading.h"

using namespace ivit;
using namespace ivit::test;

TEST_CASE("random models: timm's dimensions, the same weights for a seed") {
    const auto tiny = random_model("deit_tiny_patch16_224");
    CHECK(tiny->info.parameters == 5717416);  // as timm counts them
    CHECK(tiny->graph->heads == 3);
    CHECK(tiny->graph->tokens == 197);
    CHECK(tiny->info.labels[0] == "tench");
    int64_t macs = 0;
    for (size_t i = 0; i < tiny->graph->nodes.size(); ++i) macs += tiny->graph->macs(static_cast<int>(i));
    // Patches, then 12 blocks of four linear layers and two attention products, then the head.
    CHECK(macs == int64_t{196} * 192 * 768 +
                      12 * (int64_t{197} * 192 * 192 * 12 + int64_t{2} * 197 * 197 * 192) + 192 * 1000);

    CHECK(same_weights(*tiny, *random_model("deit_tiny_patch16_224", 1)));
    CHECK(!same_weights(*tiny, *random_model("deit_tiny_patch16_224", 2)));
    const auto& w = tiny->weight("blocks.7.mlp.fc1.weight").data;
    double sum = 0, squares = 0;
    for (const float x : w) sum += x, squares += double{x} * x;
    const double n = static_cast<double>(w.size());
    CHECK(std::abs(sum / n) < 2e-4);
    CHECK(std::sqrt(squares / n) == Approx(0.02).epsilon(0.01));
    // On every machine: these bits were drawn once and must stay.
    CHECK(tiny->weight("cls_token").data[0] == -0x1.cdb188p-8F);
    CHECK(tiny->weight("head.bias").data[999] == 0x1.072b92p-7F);

    CHECK(random_model("vit_tiny_patch16_512")->graph->tokens == 1025);
    CHECK(random_model("vit_tiny_patch16_32")->graph->tokens == 5);
    CHECK(random_model("vit_base_patch32_224")->info.parameters == 88224232);
    for (const char* name :
         {"", "vit", "resnet50", "vit_tiny_patch16_", "vit_tiny_patch16_225", "vit_tiny_patch16_0",
          "vit_tiny_patch0_224", "vit_tiny_patch16_224x", "vit_tiny_patch16_99999999999",
          "deit_giant_patch16_224", "vit_tiny_patch-16_224", "vit_tiny_patch16_16384"})
        CHECK_THROWS_AS(random_model(name), Error);
    for (const std::string& name : architectures()) CHECK(name.find("_patch") != std::string::npos);
}

TEST_CASE("graph: nodes in order, readers and patterns") {
    const auto graph = vit::make_graph(small_dims());
    for (size_t i = 0; i < graph->nodes.size(); ++i) {
        CHECK(graph->find(graph->nodes[i].name) == static_cast<int>(i));
        for (const int input : graph->nodes[i].inputs) CHECK(input < static_cast<int>(i));
    }
    CHECK(graph->find("blocks.2.norm1") == -1);
    const int qkv = graph->find("blocks.1.attn.qkv");
    CHECK(graph->readers(qkv) ==
          std::vector<int>{graph->find("blocks.1.attn.logits"), graph->find("blocks.1.attn.context")});
    CHECK(graph->readers(graph->find("head")).empty());
    CHECK(graph->nodes[static_cast<size_t>(graph->find("norm"))].shape == Shape{1, 12});
    CHECK(graph->nodes[static_cast<size_t>(qkv)].groups == 3);

    CHECK(glob_match("*", ""));
    CHECK(glob_match("blocks.*.mlp.fc2", "blocks.11.mlp.fc2"));
    CHECK(!glob_match("blocks.*.mlp.fc2", "blocks.11.mlp.fc1"));
    CHECK(glob_match("blocks.?.add*", "blocks.3.add2"));
    CHECK(!glob_match("blocks.?.add*", "blocks.13.add2"));
    CHECK(glob_match("*.norm?", "blocks.3.norm2"));
    CHECK(!glob_match("norm", "norm1"));
    CHECK(!glob_match("", "a"));
    CHECK(glob_match("a*b*c", "a.b.b.c"));
    CHECK(!glob_match(std::string(50, '*') + "x", std::string(10000, 'y')));
}

TEST_CASE("tensor: quantize and dequantize round half up, clamp, and follow the groups") {
    Grid grid{{0.5}, 8, false};
    CHECK(quantize({{1, 8}, {0.25F, -0.25F, 0.24F, -0.26F, 1e30F, -1e30F, 63.6F, -64.2F}}, grid).data ==
          std::vector<int32_t>{1, 0, 0, -1, 127, -128, 127, -128});
    CHECK(quantize({{1}, {0.9999F}}, Grid{{1.0 / 128}, 8, true}).data == std::vector<int32_t>{128});
    CHECK(quantize({{1}, {-1.0F}}, Grid{{1.0 / 128}, 8, true}).data == std::vector<int32_t>{0});
    CHECK(quantize({{2}, {1e30F, -1e30F}}, Grid{{1.0}, 32, false}).data ==
          std::vector<int32_t>{2147483647, -2147483647 - 1});
    CHECK(quantize({{2}, {0.0F, std::numeric_limits<float>::quiet_NaN()}}, Grid{{0.0}, 8, false}).data ==
          std::vector<int32_t>{0, 0});
    const Grid three{{1.0, 0.5, 0.25}, 8, false};
    const IntTensor t = quantize({{2, 6}, {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}}, three);
    CHECK(t.data == std::vector<int32_t>{1, 1, 2, 2, 4, 4, 2, 2, 4, 4, 8, 8});
    const FloatTensor back = dequantize(t);
    CHECK(back.shape == Shape{2, 6});
    CHECK(back.data == std::vector<float>{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2});
    for (int64_t i = 0; i < 12; ++i) CHECK(t.real(i) == back.data[static_cast<size_t>(i)]);
}
