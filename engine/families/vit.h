// SPDX-License-Identifier: Apache-2.0
// Pre-norm Vision Transformers with a class token: ViT and DeiT.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/graph.h"

namespace ivit {
struct Checkpoint;
struct Model;
}  // namespace ivit

namespace ivit::vit {

// Everything that tells one ViT from another.
struct Dims {
    int image_size = 0;  // side of the square picture, pixels; a multiple of patch_size
    int patch_size = 0;
    int width = 0;  // C, the residual stream's channels; a multiple of heads
    int heads = 0;
    int hidden = 0;  // of the MLP
    int depth = 0;   // transformer blocks
    int classes = 0;
    float eps = 1e-6F;  // of every LayerNorm

    int tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
};

// Throws Error in one sentence where the dimensions contradict one another or are absurd (a model that no
// machine could hold). Cheap: call it before anything is allocated.
void check(const Dims& dims, const std::string& where);

// The node list. Names are timm's (see Node::name); the last LayerNorm and the head see the class token's row
// alone.
std::shared_ptr<const Graph> make_graph(const Dims& dims);

// One weight tensor a ViT of these dimensions has: canonical name and shape.
struct WeightSpec {
    std::string name;
    Shape shape;
};
std::vector<WeightSpec> weight_specs(const Dims& dims);

// The family's functions: see Family.
bool detect(const Checkpoint& checkpoint);
std::shared_ptr<const Model> load(const Checkpoint& checkpoint);
std::shared_ptr<const Model> random(const std::string& arch, uint64_t seed);
std::vector<std::string> architectures();
std::shared_ptr<const Graph> graph(const Graph& outline, float eps, const std::string& where);

}  // namespace ivit::vit
