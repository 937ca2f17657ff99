// SPDX-License-Identifier: Apache-2.0
// A ViT of a few thousand weights for tests: every tensor random, LayerNorm's and the biases too.
#pragma once
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/calibration.h"
#include "engine/families/vit.h"
#include "engine/model.h"

namespace ivit::test {

// The same numbers with every standard library: about normal, from a sum of uniforms.
inline float normal(std::mt19937& random) {
    float sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(random() >> 8) / 16777216.0f;
    return sum - 6;
}

// dims.tokens() = 17, two blocks of 24 in 3 heads, unless said otherwise.
inline std::shared_ptr<const Model> small_model(uint32_t seed = 1,
                                                vit::Dims dims = {16, 4, 24, 3, 40, 2, 7, 1e-6f}) {
    std::mt19937 random(seed);
    auto model = std::make_shared<Model>();
    model->graph = vit::make_graph(dims);
    model->info.name = "small";
    model->info.family = "vit";
    model->info.source = "small random model";
    model->info.dtype = "F32";
    for (int i = 0; i < dims.classes; ++i) model->info.labels.push_back("class " + std::to_string(i));
    for (const vit::WeightSpec& spec : vit::weight_specs(dims)) {
        auto t = std::make_shared<FloatTensor>();
        t->shape = spec.shape;
        t->data.resize(static_cast<size_t>(elements(spec.shape)));
        const bool gamma = spec.name.find("norm") != std::string::npos && spec.name.ends_with(".weight");
        const float fan_in = spec.shape.size() > 1
                                 ? static_cast<float>(t->data.size()) / static_cast<float>(spec.shape[0])
                                 : 50.0f;
        const float sigma = spec.name == "pos_embed" ? 0.5f : 1.0f / std::sqrt(fan_in);
        for (float& v : t->data) v = (gamma ? 1.0f : 0.0f) + sigma * normal(random);
        model->info.parameters += static_cast<int64_t>(t->data.size());
        model->weights[spec.name] = std::move(t);
    }
    return model;
}

// Pictures of blurred noise, RGB [size, size, 3] each.
inline Pixels picture(int size, uint32_t seed) {
    std::mt19937 random(seed);
    Pixels p(static_cast<size_t>(size) * static_cast<size_t>(size) * 3);
    int v[3] = {128, 128, 128};
    for (size_t i = 0; i < p.size(); ++i) {
        int& channel = v[i % 3];
        channel = std::clamp(channel + static_cast<int>(random() % 81) - 40, 0, 255);
        p[i] = static_cast<uint8_t>(channel);
    }
    return p;
}

}  // namespace ivit::test
