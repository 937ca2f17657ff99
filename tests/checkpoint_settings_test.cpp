// SPDX-License-Identifier: Apache-2.0
// load_model(): what shapes cannot tell comes from the metadata, from the files beside, or is assumed and
// said.
#include <catch2/catch.hpp>
#include <fstream>

#include "tests/checkpoint_loading.h"

using namespace ivit;
using namespace ivit::test;
namespace fs = std::filesystem;

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
    std::map<std::string, std::string> none = three_heads;
    none["num_heads"] = "0";
    CHECK(refusal(timm(), none) == "test, metadata: num_heads is 0, expected a whole number from 1");
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
