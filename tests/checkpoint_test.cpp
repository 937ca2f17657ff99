// SPDX-License-Identifier: Apache-2.0
// load_model(): both namings give one model, settings come from where they are, the rest is refused by name.
#include "engine/checkpoint.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/checkpoint_files.h"
#include "tests/fuzz/one_input.h"

using namespace ivit;
using namespace ivit::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::map<std::string, std::string> three_heads = {{"num_heads", "3"}};

std::shared_ptr<const Model> load(const Tensors& tensors,
                                  const std::map<std::string, std::string>& metadata = three_heads,
                                  const json& config = nullptr, const json& preprocessor = nullptr) {
    const auto bytes = file_bytes(tensors, metadata);
    return load_model(Safetensors::parse(bytes, "test"), config, preprocessor);
}

// The sentence with which it is refused; "" when it is not.
std::string refusal(const Tensors& tensors, const std::map<std::string, std::string>& metadata = three_heads,
                    const json& config = nullptr, const json& preprocessor = nullptr) {
    try {
        load(tensors, metadata, config, preprocessor);
    } catch (const Error& e) {
        CHECK(e.sentence().find('\n') == std::string::npos);
        return e.what();
    }
    return "";
}

Tensors timm() { return timm_checkpoint(small_dims()); }
Tensors huggingface() { return huggingface_checkpoint(small_dims()); }

FloatTensor zeros(const Shape& shape) {
    return {shape, std::vector<float>(static_cast<size_t>(elements(shape)))};
}

bool assumes(const Model& model, const std::string& part) {
    for (const std::string& sentence : model.info.assumptions)
        if (sentence.find(part) != std::string::npos) return true;
    return false;
}

bool same_weights(const Model& a, const Model& b) {
    if (a.weights.size() != b.weights.size()) return false;
    for (const auto& [name, tensor] : a.weights)
        if (!b.weights.count(name) || b.weight(name).shape != tensor->shape ||
            b.weight(name).data != tensor->data)
            return false;
    return true;
}

}  // namespace

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

TEST_CASE("checkpoint: settings from the file's metadata") {
    const auto model = load(timm(), {{"num_heads", "4"},
                                     {"patch_size", "4"},
                                     {"image_size", "8"},
                                     {"mean", "0.1,0.2,0.3"},
                                     {"std", "0.4, 0.5, 0.6"},
                                     {"crop_pct", "0.95"},
                                     {"layer_norm_eps", "1e-5"},
                                     {"labels", "a,b,c,d,e f,g,h"},
                                     {"note", "anything"}});
    CHECK(model->graph->heads == 4);
    CHECK(model->info.mean == std::array<double, 3>{0.1, 0.2, 0.3});
    CHECK(model->info.std == std::array<double, 3>{0.4, 0.5, 0.6});
    CHECK(model->info.crop_pct == 0.95);
    CHECK(model->info.labels[4] == "e f");
    CHECK(model->graph->nodes[static_cast<size_t>(model->graph->find("norm"))].eps == 1e-5F);
    CHECK(model->info.assumptions.empty());

    const std::pair<const char*, const char*> bad[] = {
        {"num_heads", "0"},    {"num_heads", "-3"},   {"num_heads", "three"},  {"num_heads", ""},
        {"num_heads", "3.5"},  {"num_heads", "1e99"}, {"num_heads", "nan"},    {"patch_size", "8"},
        {"image_size", "16"},  {"mean", "0.5"},       {"mean", "0.5,0.5,nan"}, {"mean", "123,117,104"},
        {"mean", "0,0,0,"},    {"std", "0,0,0"},      {"std", "1,1,inf"},      {"crop_pct", "0"},
        {"crop_pct", "87.5"},  {"labels", "a,b"},     {"layer_norm_eps", "0"}, {"layer_norm_eps", "nan"},
        {"num_classes", "10"}, {"act_layer", "relu"},
    };
    for (const auto& [field, value] : bad) {
        INFO(field << " = " << value);
        std::map<std::string, std::string> metadata = three_heads;
        metadata[field] = value;
        CHECK(refusal(timm(), metadata) != "");
    }
}

TEST_CASE("checkpoint: settings from timm's config.json") {
    const json config =
        json::parse(R"({"architecture": "vit_tiny_patch4_8", "num_classes": 7, "num_features": 12,
        "global_pool": "token", "model_args": {"img_size": 8, "num_heads": 6},
        "pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.9,
        "pool_size": null, "label_names": ["a", "b", "c", "d", "e", "f", "g"]}})");
    const auto model = load(timm(), {}, config);
    CHECK(model->graph->heads == 6);
    CHECK(model->info.mean[1] == 0.2);
    CHECK(model->info.std[2] == 0.6);
    CHECK(model->info.crop_pct == 0.9);
    CHECK(model->info.labels[6] == "g");

    const std::pair<const char*, const char*> refused[] = {
        {R"({"global_pool": "avg"})", "avg"},
        {R"({"model_args": {"class_token": false}})", "class token"},
        {R"({"model_args": {"act_layer": "quick_gelu"}})", "quick_gelu"},
        {R"({"architecture": "swin_tiny_patch4_window7_224"})", "Swin"},
        {R"({"architecture": "beit_base_patch16_224"})", "BEiT"},
        {R"({"architecture": "deit_tiny_distilled_patch16_224"})", "distil"},
        {R"({"architecture": "vit_base_patch16_rpn_224"})", "post-norm"},
        {R"({"architecture": "vit_base_patch16_clip_quickgelu_224"})", "quick_gelu"},
        {R"({"norm_first": false})", "post-norm"},
        {R"({"num_classes": 10})", "number of classes is 10"},
        {R"({"num_classes": "7"})", "num_classes"},
        {R"({"pretrained_cfg": {"input_size": [3, 224, 224]}})", "image size is 224"},
        {R"({"pretrained_cfg": {"input_size": [1, 8, 8]}})", "input_size"},
        {R"({"pretrained_cfg": {"input_size": [3, 8, 16]}})", "square"},
        {R"({"pretrained_cfg": {"mean": [0.5]}})", "mean"},
        {R"({"pretrained_cfg": {"std": "x"}})", "std"},
        {R"({"num_heads": 4})", "num_heads"},
        {R"([1])", "not a JSON object"},
    };
    for (const auto& [text, expected] : refused) {
        INFO(text);
        CHECK_THAT(refusal(timm(), three_heads, json::parse(text)), Catch::Contains(expected));
    }
    // Fields of the wrong kind are never a crash.
    for (const auto& field :
         {"architecture", "architectures", "_name_or_path", "model_args", "pretrained_cfg", "num_classes",
          "global_pool", "id2label", "label_names", "patch_size", "image_size", "hidden_act", "mean",
          "input_size", "model_type", "layer_norm_eps", "class_token"})
        for (const auto& value :
             {"null", "0", "-1", "1e300", "\"x\"", "[]", "[[]]", "{}", "true", "[null,null,null]"}) {
            INFO(field << " " << value);
            json config = json::object();
            config[field] = json::parse(value);
            CHECK_NOTHROW(refusal(timm(), three_heads, config));
            CHECK_NOTHROW(refusal(timm(), three_heads, nullptr, config));
        }
}

TEST_CASE("checkpoint: settings from Hugging Face's config.json and preprocessor_config.json") {
    json config = json::parse(
        R"({"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "image_size": 8, "patch_size": 4, "num_channels": 3, "qkv_bias": true,
        "id2label": {"0": "a", "1": "b", "2": "c", "3": "d", "4": "e", "5": "f", "6": "g"}})");
    json preprocessor = json::parse(R"({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6],
        "size": {"shortest_edge": 10}, "crop_size": {"height": 8, "width": 8}, "do_center_crop": true,
        "rescale_factor": 0.00392156862745098})");
    const auto model = load(huggingface(), {{"format", "pt"}}, config, preprocessor);
    CHECK(model->graph->heads == 4);
    CHECK(model->graph->nodes[3].eps == 1e-12F);
    CHECK(model->info.mean[0] == 0.1);
    CHECK(model->info.std[0] == 0.4);
    CHECK(model->info.crop_pct == 0.8);
    CHECK(model->info.labels[3] == "d");
    CHECK(model->info.assumptions.empty());
    // One that matters is not passed over in silence: the integers have none.
    json coarse = config;
    coarse["layer_norm_eps"] = 1e-3;
    const auto with = load(huggingface(), {{"format", "pt"}}, coarse, preprocessor)->info.assumptions;
    REQUIRE(with.size() == 1);
    CHECK_THAT(with[0], Catch::Contains("LayerNorm epsilon: 0.001 in float, none in integers"));

    preprocessor = json::parse(
        R"({"do_normalize": true, "size": 8, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})");
    CHECK(load(huggingface(), {}, config, preprocessor)->info.crop_pct == 1.0);
    CHECK_THAT(refusal(huggingface(), {}, config, json::parse(R"({"rescale_factor": 1.0})")),
               Catch::Contains("rescale_factor"));
    config["id2label"] = json::parse(R"({"0": "LABEL_0", "1": "LABEL_1"})");
    CHECK(load(huggingface(), {}, config)->info.labels[1] == "class 1");

    const std::pair<const char*, json> changes[] = {
        {"hidden_act", "gelu_new"}, {"hidden_act", "quick_gelu"},
        {"hidden_act", "relu"},     {"model_type", "swin"},
        {"model_type", "beit"},     {"hidden_size", 768},
        {"num_hidden_layers", 12},  {"intermediate_size", 24},
        {"num_attention_heads", 5}, {"image_size", 224},
        {"patch_size", 8},          {"image_size", json({8, 16})},
        {"num_labels", 1000},       {"layer_norm_eps", -1},
        {"id2label", {{"0", "a"}}}, {"num_attention_heads", 2.5},
    };
    for (const auto& [field, value] : changes) {
        INFO(field << " = " << value);
        json changed = config;
        changed[field] = value;
        CHECK(refusal(huggingface(), {}, changed) != "");
    }
}

TEST_CASE("checkpoint: what nothing tells is assumed, and said") {
    vit::Dims d = small_dims();
    d.classes = 1000;
    const auto vit = load(timm_checkpoint(d));
    CHECK(vit->info.labels.size() == 1000);
    CHECK(vit->info.labels[0] == "tench");
    CHECK(vit->info.labels[999] != "");
    CHECK(assumes(*vit, "ImageNet-1k"));
    CHECK(vit->info.mean == std::array<double, 3>{0.5, 0.5, 0.5});
    CHECK(assumes(*vit, "mean: 0.5"));
    CHECK(vit->info.crop_pct == 1.0);

    const auto deit =
        load(timm_checkpoint(d), {{"num_heads", "3"}, {"architecture", "deit_tiny_patch16_224"}});
    CHECK(deit->info.mean == std::array<double, 3>{0.485, 0.456, 0.406});
    CHECK(deit->info.std == std::array<double, 3>{0.229, 0.224, 0.225});
    d.image_size = 224;
    d.patch_size = 56;
    CHECK(load(timm_checkpoint(d))->info.crop_pct == 0.9);
}

TEST_CASE("checkpoint: from files, with the settings beside them") {
    TemporaryFolder folder;
    const fs::path home = folder.path / "my_deit";
    fs::create_directory(home);
    const auto write = [](const fs::path& file, const std::string& text) {
        std::ofstream(file, std::ios::binary) << text;
    };
    const auto bytes = file_bytes(timm(), {});
    write_atomically(home / "model.safetensors", bytes);
    CHECK_THROWS_WITH(load_model(home / "model.safetensors"), Catch::Contains("number of heads"));

    write(home / "config.json", R"({"num_heads": 2})");
    auto model = load_model(home / "model.safetensors");
    CHECK(model->graph->heads == 2);
    CHECK(model->info.name == "my_deit");
    CHECK(model->info.mean[0] == 0.485);
    CHECK(model->info.sha256 == sha256(bytes));
    CHECK(model->info.dtype == "F32");
    write(home / "preprocessor_config.json", R"({"image_mean": [0.25, 0.25, 0.25]})");
    CHECK(load_model(home / "model.safetensors")->info.mean[0] == 0.25);

    const std::string broken[] = {
        "", "{", "\xff\xfe", "[1,2", std::string(100000, '['), R"({"a":)" + std::string(5000, '[')};
    for (const std::string& text : broken) {
        write(home / "config.json", text);
        CHECK_THROWS_WITH(load_model(home / "model.safetensors"),
                          Catch::Contains((home / "config.json").string()));
    }
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
