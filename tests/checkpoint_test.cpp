// SPDX-License-Identifier: Apache-2.0
// load_model(): both namings give one model, the rest is refused by name.
#include "engine/checkpoint.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <limits>

#include "tests/checkpoint_loading.h"
#include "tests/fuzz/one_input.h"

using namespace ivit;
using namespace ivit::test;
namespace fs = std::filesystem;

TEST_CASE("checkpoint: timm's names; dimensions come from the shapes") {
    const auto model = load(timm());
    const Graph& g = *model->graph;
    CHECK(g.image_size == 8);
    CHECK(g.patch_size == 4);
    CHECK(g.tokens == 5);
    CHECK(g.width == 12);
    CHECK(g.heads == 3);
    CHECK(g.hidden == 20);
    CHECK(g.depth == 2);
    CHECK(g.classes == 7);
    CHECK(g.nodes.size() == 5 + 12 * 2);
    CHECK(model->weights.size() == 2 + 2 * (1 + 2 * 6 + 2));
    int64_t parameters = 0;
    for (const auto& spec : vit::weight_specs(small_dims())) {
        CHECK(model->weight(spec.name).shape == spec.shape);
        parameters += elements(spec.shape);
    }
    CHECK(model->info.parameters == parameters);
    CHECK(model->info.labels == std::vector<std::string>{"class 0", "class 1", "class 2", "class 3",
                                                         "class 4", "class 5", "class 6"});
    CHECK(model->weight("blocks.1.attn.qkv.weight").data == timm().at("blocks.1.attn.qkv.weight").data);
    CHECK_THROWS_AS(model->weight("blocks.2.attn.qkv.weight"), Error);
    // Every weight a node names is there.
    for (const Node& n : g.nodes) {
        if (!n.weight.empty()) CHECK_NOTHROW(model->weight(n.weight));
        if (!n.bias.empty()) CHECK_NOTHROW(model->weight(n.bias));
    }
}

TEST_CASE("checkpoint: Hugging Face's names and every wrapping give the same weights") {
    const auto expected = load(timm());
    for (const std::string prefix : {"vit.", "deit.", ""})
        CHECK(same_weights(*expected, *load(huggingface_checkpoint(small_dims(), prefix))));
    for (const std::string wrapper : {"model.", "module.", "module.model."}) {
        Tensors t, h;
        for (const auto& [name, tensor] : timm()) t[wrapper + name] = tensor;
        for (const auto& [name, tensor] : huggingface()) h[wrapper + name] = tensor;
        CHECK(same_weights(*expected, *load(t)));
        CHECK(same_weights(*expected, *load(h)));
    }
    Tensors pooled = huggingface();
    pooled["vit.pooler.dense.weight"] = zeros({12, 12});
    pooled["vit.embeddings.mask_token"] = zeros({1, 1, 12});
    CHECK(same_weights(*expected, *load(pooled)));
    // Without a batch dimension.
    Tensors flat = timm();
    flat["cls_token"].shape = {12};
    flat["pos_embed"].shape = {5, 12};
    CHECK(same_weights(*expected, *load(flat)));
}

TEST_CASE("checkpoint: unusual but sound dimensions load") {
    vit::Dims d = small_dims();
    d.width = 100;
    d.heads = 5;
    d.patch_size = 14;
    d.image_size = 14;  // one patch
    d.depth = 1;
    d.classes = 1;
    CHECK(load(timm_checkpoint(d), {{"num_heads", "5"}})->graph->tokens == 2);
    d.width = 64;
    d.heads = 1;
    const auto model = load(timm_checkpoint(d), {});
    CHECK(model->graph->heads == 1);
    CHECK(assumes(*model, "heads: 1 = width / 64"));
}

TEST_CASE("checkpoint: a missing or misshapen tensor is named in every place") {
    for (const bool hf : {false, true}) {
        const Tensors good = hf ? huggingface() : timm();
        for (const auto& [name, tensor] : good) {
            INFO(name);
            Tensors broken = good;
            broken.erase(name);
            const std::string missing = refusal(broken);
            // Two blocks' biases must both be away to count as left out; these single ones may be absent.
            if (name == "head.bias" || name == "classifier.bias" || name == "patch_embed.proj.bias" ||
                name == "vit.embeddings.patch_embeddings.projection.bias") {
                CHECK(missing == "");
            } else if (name == "cls_token" || name == "vit.embeddings.cls_token") {
                CHECK_THAT(missing, Catch::Contains("no class token"));
            } else {
                CHECK_THAT(missing, Catch::Contains(name));
            }

            broken = good;
            FloatTensor& t = broken[name];
            t.shape.back() += 1;
            t.data.resize(static_cast<size_t>(elements(t.shape)));
            CHECK(refusal(broken) != "");

            broken = good;
            broken[name] = zeros({2, 2, 2, 2, 2});
            CHECK_THAT(refusal(broken), Catch::Contains(name) && Catch::Contains("expected"));

            broken = good;
            broken[name].data.back() = std::numeric_limits<float>::quiet_NaN();
            CHECK_THAT(refusal(broken), Catch::Contains("tensor " + name + " holds NaN"));
        }
    }
    Tensors broken = timm();
    broken["blocks.1.attn.qkv.weight"].shape = {18, 24};
    CHECK(refusal(broken) == "test: tensor blocks.1.attn.qkv.weight has shape [18, 24], expected [36, 12]");
    broken = huggingface();
    broken.erase("vit.encoder.layer.1.attention.attention.key.weight");
    CHECK(refusal(broken) ==
          "test: tensor vit.encoder.layer.1.attention.attention.key.weight (blocks.1.attn.qkv.weight) is "
          "missing, "
          "expected with shape [12, 12]");
}

TEST_CASE("checkpoint: biases that are left out are zeros, and it says so") {
    Tensors t = timm();
    t.erase("blocks.0.attn.qkv.bias");
    t.erase("blocks.1.attn.qkv.bias");
    t.erase("patch_embed.proj.bias");
    t.erase("head.bias");
    const auto model = load(t);
    CHECK(model->weight("blocks.1.attn.qkv.bias").data == std::vector<float>(36));
    CHECK(model->weight("head.bias").data == std::vector<float>(7));
    CHECK(assumes(*model, "attn.qkv has no bias"));
    CHECK(assumes(*model, "patch_embed.proj.bias is not there"));
    CHECK(assumes(*model, "head.bias is not there"));
    CHECK(!assumes(*load(timm()), "bias"));
}

TEST_CASE("checkpoint: networks of other kinds are refused by name") {
    const struct {
        std::string tensor;
        std::string expected;
    } cases[] = {
        {"dist_token", "distillation token"},
        {"head_dist.weight", "distillation head"},
        {"deit.embeddings.distillation_token", "distillation token"},
        {"cls_classifier.weight", "distillation head"},
        {"blocks.0.attn.relative_position_bias_table", "relative positions"},
        {"rel_pos_bias.relative_position_bias_table", "relative positions"},
        {"blocks.0.ls1.gamma", "layer scale"},
        {"blocks.0.gamma_1", "layer scale"},
        {"vit.encoder.layer.0.lambda_1", "layer scale"},
        {"encoder.layer.0.layer_scale1.lambda1", "layer scale"},
        {"blocks.0.attn.q_norm.weight", "qk-norm"},
        {"blocks.0.attn.k_norm.weight", "qk-norm"},
        {"fc_norm.weight", "global average pooling"},
        {"attn_pool.latent", "attention pooling"},
        {"reg_token", "register tokens"},
        {"embeddings.register_tokens", "register tokens"},
        {"norm_pre.weight", "norm_pre"},
        {"blocks.0.mlp.w12.weight", "SwiGLU"},
        {"blocks.0.mlp.fc1_g.weight", "SwiGLU"},
        {"blocks.0.post_norm.weight", "post-norm"},
        {"patch_embed.backbone.stem.conv.weight", "convolutional stem"},
        {"layers.0.downsample.norm.weight", "Swin"},
        {"pre_logits.fc.weight", "pre_logits"},
        {"blocks.0.something.weight", "blocks.0.something.weight"},
        {"blocks.00.norm1.weight", "blocks.00.norm1.weight"},
        {"blocks.-1.norm1.weight", "blocks.-1.norm1.weight"},
        {"blocks.99999999999999999999.norm1.weight", "blocks.99999999999999999999.norm1.weight"},
        {"norm.running_mean", "norm.running_mean"},
        {"", "(empty)"},
    };
    for (const auto& c : cases) {
        INFO(c.tensor);
        Tensors t = timm();
        t[c.tensor] = zeros({2});
        CHECK_THAT(refusal(t), Catch::Contains(c.expected));
    }
}

TEST_CASE("checkpoint: what is missing or misshapen is refused by what it means") {
    Tensors t = timm();
    t.erase("cls_token");
    CHECK_THAT(refusal(t), Catch::Contains("no class token"));
    t = timm();
    t.erase("norm.weight");
    t.erase("norm.bias");
    CHECK_THAT(refusal(t), Catch::Contains("post-norm"));
    t = timm();
    t.erase("head.weight");
    t.erase("head.bias");
    CHECK_THAT(refusal(t), Catch::Contains("no classifier head"));
    t = timm();
    t["blocks.0.mlp.fc1.weight"] = zeros({40, 12});
    CHECK_THAT(refusal(t), Catch::Contains("SwiGLU"));
    t = timm();
    t["pos_embed"] = zeros({1, 4, 12});
    CHECK_THAT(refusal(t), Catch::Contains("none for the class token"));
    t["pos_embed"] = zeros({1, 6, 12});
    CHECK_THAT(refusal(t), Catch::Contains("distillation token"));
    t["pos_embed"] = zeros({1, 0, 12});
    CHECK_THAT(refusal(t), Catch::Contains("pos_embed has 0 positions"));
    t = timm();
    t["patch_embed.proj.weight"] = zeros({12, 3, 4, 2});
    CHECK_THAT(refusal(t), Catch::Contains("square patches"));
    t["patch_embed.proj.weight"] = zeros({12, 1, 4, 4});
    CHECK_THAT(refusal(t), Catch::Contains("3 colours"));
    t = timm();
    for (const auto& spec : vit::weight_specs(small_dims()))
        if (spec.name.rfind("blocks.0.", 0) == 0) t.erase(spec.name);
    CHECK_THAT(refusal(t), Catch::Contains("tensors of blocks.1, but none of blocks.0"));
    t = timm();
    t["module.norm.weight"] = zeros({12});
    CHECK_THAT(refusal(t), Catch::Contains("are both norm.weight"));
    CHECK_THAT(
        refusal({{"conv1.weight", zeros({8, 3, 7, 7})}, {"layer1.0.conv1.weight", zeros({8, 8, 3, 3})}}),
        Catch::Contains("not a ViT"));
    CHECK_THAT(refusal({{"swin.embeddings.patch_embeddings.projection.weight", zeros({8, 3, 4, 4})}}),
               Catch::Contains("Swin"));
    const auto empty = file_bytes("{}", 0);
    CHECK_THROWS_WITH(load_model(Safetensors::parse(empty, "t"), nullptr, nullptr),
                      "t: the file holds no tensors");
    CHECK_THAT(refusal(timm(), {{"format", "ivit-quantized"}}), Catch::Contains("quantized"));
}

TEST_CASE("checkpoint: integer weights are refused") {
    auto bytes = file_bytes(timm(), three_heads);
    const std::string header(reinterpret_cast<const char*>(bytes.data()) + 8, 400);
    const size_t at = 8 + header.find("\"F32\"", header.find("blocks.0.attn.proj.bias"));
    std::memcpy(bytes.data() + at, "\"I32\"", 5);
    CHECK_THROWS_WITH(load_model(Safetensors::parse(bytes, "t"), nullptr, nullptr),
                      "t: tensor blocks.0.attn.proj.bias has dtype I32, expected F32, F16 or BF16");
}

TEST_CASE("checkpoint: absurd dimensions are refused before anything is allocated") {
    // Tensors without elements may claim any size.
    const auto absurd = [](const std::string& name, const Shape& shape) {
        Tensors t = timm();
        t[name] = {shape, {}};
        return refusal(t);
    };
    CHECK_THAT(absurd("patch_embed.proj.weight", {1000000000, 3, 0, 0}),
               Catch::Contains("the width is 1000000000"));
    CHECK_THAT(absurd("patch_embed.proj.weight", {0, 3, 4, 4}), Catch::Contains("the width is 0"));
    CHECK_THAT(absurd("patch_embed.proj.weight", {0, 3, 1 << 28, 1 << 28}),
               Catch::Contains("the width is 0"));
    CHECK_THAT(absurd("head.weight", {1000000, 0}), Catch::Contains("the number of classes is 1000000"));
    CHECK_THAT(absurd("head.weight", {int64_t{1} << 60, 0}), Catch::Contains("the number of classes is"));
    CHECK_THAT(absurd("pos_embed", {1, (int64_t{1} << 40) + 1, 0}), Catch::Contains("the image size is"));
    CHECK_THAT(absurd("pos_embed", {1, (int64_t{1} << 60) + 1, 0}), Catch::Contains("positions"));
    CHECK_THAT(absurd("blocks.0.mlp.fc1.weight", {int64_t{1} << 33, 0}),
               Catch::Contains("the MLP's hidden size"));
    CHECK_THAT(refusal(timm(), {{"num_heads", "5"}}), Catch::Contains("12 is not divisible by 5 heads"));
    CHECK_THAT(refusal(timm(), {}), Catch::Contains("nothing tells the number of heads"));
    CHECK_THAT(refusal(timm(), {{"num_heads", "2147483647"}}), Catch::Contains("the number of heads"));
}

TEST_CASE("checkpoint: the first-steps model") {
    const char* shared = std::getenv("IVIT_SHARED_DATA");
    const fs::path file =
        fs::path(shared ? shared : IVIT_SOURCE_DIR "/../shared/data") / "first_steps_vit.safetensors";
    if (!fs::exists(file)) {
        WARN("no " << file << ": skipped");
        return;
    }
    const auto model = load_model(file);
    CHECK(model->info.name == "first_steps_vit");
    CHECK(model->graph->depth == 6);
    CHECK(model->graph->width == 128);
    CHECK(model->graph->heads == 4);
    CHECK(model->graph->tokens == 65);
    CHECK(model->info.labels[9] == "truck");
    CHECK(model->info.mean[2] == 0.4465);
    CHECK(model->info.sha256.size() == 64);
}

TEST_CASE("checkpoint: the fuzzer's corpus; whole it loads or is refused, cut short it never loads") {
    int loaded = 0;
    for (const auto& entry : fs::directory_iterator(IVIT_SOURCE_DIR "/tests/fuzz/corpus")) {
        INFO(entry.path());
        std::ifstream in(entry.path(), std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
        const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
        if (!one_input(bytes)) continue;
        ++loaded;
        for (size_t n = 0; n < bytes.size(); n += 7) CHECK(!one_input(bytes.first(n)));
    }
    CHECK(loaded >= 6);
}
