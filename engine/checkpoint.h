// SPDX-License-Identifier: Apache-2.0
// A checkpoint as a family sees it: the tensors, and what a config.json or the file's own metadata say beside
// them.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/safetensors.h"

namespace ivit {

// What shapes cannot tell, from whichever source told it: absent where none did.
struct CheckpointSettings {
    // "vit_tiny_patch16_224", "DeiTForImageClassification"; empty where nothing names it.
    std::string architecture;
    std::string hint;  // other names the model goes by (file, folder), for "deit" to be found in
    std::optional<int64_t> heads, depth, width, hidden, patch_size, image_size, classes;
    std::optional<double> eps, crop_pct;
    std::optional<std::array<double, 3>> mean, std;
    std::vector<std::string> labels;       // one per class; empty where none are given
    std::vector<std::string> unsupported;  // what the settings ask for and no family supports, as sentences
};

struct Checkpoint {
    std::shared_ptr<const Safetensors> file;
    CheckpointSettings settings;
};

// config: the parsed config.json (timm's form or Hugging Face's); preprocessor: the parsed
// preprocessor_config.json; null values where there are none. They and the file's own metadata fill one
// another's gaps. Throws Error naming the field that has a wrong type or an impossible value, or on which two
// sources disagree.
CheckpointSettings read_settings(const Safetensors& file, const nlohmann::json& config,
                                 const nlohmann::json& preprocessor);

// load_model() without the file system: the result's sha256 is left empty.
std::shared_ptr<const Model> load_model(std::shared_ptr<const Safetensors> file, const nlohmann::json& config,
                                        const nlohmann::json& preprocessor);

// Text from a file, fit for one line of an error or of a table: no control characters, at most 120 bytes.
std::string printable(const std::string& text);

// ImageNet-1k's names for 1000 classes (assets/imagenet1k_labels.tsv, built in), else "class 0", "class 1",
// ...
std::vector<std::string> default_labels(int classes);

}  // namespace ivit
