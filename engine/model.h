// SPDX-License-Identifier: Apache-2.0
// A float model in memory: its graph, its weights in FP32, and what a person needs to know of it.
#pragma once
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/graph.h"

namespace ivit {

struct ModelInfo {
    std::string name;    // "vit_tiny_cifar10", or an architecture's name
    std::string family;  // "vit"
    std::string source;  // path of the checkpoint as given, or "seeded random weights (seed 1)"
    std::string sha256;  // of the checkpoint file, lower-case hex; empty for random weights
    std::string dtype;   // of the stored weights: "F32", "F16", "BF16"
    std::array<double, 3> mean{0.5, 0.5, 0.5}, std{0.5, 0.5, 0.5};  // of pixels in 0..1, RGB
    double crop_pct = 0.9;  // centre crop's share of the resized shorter side, as in timm (0.9: 224 of 248)
    std::vector<std::string> labels;  // one per class; "class 17" where nothing tells
    int64_t parameters = 0;
    // What nothing told and was assumed, one sentence each ("heads: 3 = width / 64").
    std::vector<std::string> assumptions;
};

struct Model {
    std::shared_ptr<const Graph> graph;
    ModelInfo info;
    // FP32 weights by canonical (timm) name: linear [out, in], bias [out], patch_embed.proj.weight [C, 3, p,
    // p], pos_embed [tokens, C], cls_token [C], norms [C].
    std::map<std::string, std::shared_ptr<const FloatTensor>> weights;

    const FloatTensor& weight(const std::string& name) const;  // throws Error when absent
};

// Reads a safetensors checkpoint with timm or Hugging Face names (what is accepted, and what is refused by
// name: families/vit_names.cpp). Throws Error in one sentence that names the tensor.
std::shared_ptr<const Model> load_model(const std::filesystem::path& file);

// A named architecture (timm's names: deit_tiny_patch16_224, vit_small_patch16_224, ...) with seeded random
// weights (truncated normal, std 0.02, as timm initialises; the same on every machine). Throws Error for an
// unknown name.
std::shared_ptr<const Model> random_model(const std::string& arch, uint64_t seed = 1);

// Names random_model() knows.
std::vector<std::string> architectures();

}  // namespace ivit
