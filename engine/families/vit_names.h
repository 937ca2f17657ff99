// SPDX-License-Identifier: Apache-2.0
// The names a ViT's tensors go by: timm's, which are canonical here, and Hugging Face transformers'.
#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

#include "engine/safetensors.h"

namespace ivit::vit {

// Where the weights are: canonical name to the tensors of the file that make it. One, or for Hugging Face's
// attn.qkv.weight and .bias query, key and value in this order (an absent one's name is empty).
using Sources = std::map<std::string, std::array<std::string, 3>>;

struct Names {
    Sources sources;
    bool huggingface = false;
    std::string prefix;  // stripped from the names: "", "vit.", "module.", ...
};

// Throws Error for a tensor that is no part of a pre-norm ViT with a class token, by the name of what it is
// part of
// ("relative positions (Swin, BEiT)"), and for a name met twice.
Names map_names(const Safetensors& file);

// How the file would call a canonical tensor, for "is missing" sentences: "vit.layernorm.weight
// (norm.weight)".
std::string file_name(const Names& names, const std::string& canonical);

}  // namespace ivit::vit
