// SPDX-License-Identifier: Apache-2.0
// A small checkpoint loaded from memory, or refused.
#pragma once
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/checkpoint.h"
#include "engine/error.h"
#include "tests/checkpoint_files.h"

namespace ivit::test {

using nlohmann::json;

inline const std::map<std::string, std::string> three_heads = {{"num_heads", "3"}};

inline std::shared_ptr<const Model> load(const Tensors& tensors,
                                         const std::map<std::string, std::string>& metadata = three_heads,
                                         const json& config = nullptr, const json& preprocessor = nullptr) {
    const auto bytes = file_bytes(tensors, metadata);
    return load_model(Safetensors::parse(bytes, "test"), config, preprocessor);
}

// The sentence with which it is refused; "" when it is not.
inline std::string refusal(const Tensors& tensors,
                           const std::map<std::string, std::string>& metadata = three_heads,
                           const json& config = nullptr, const json& preprocessor = nullptr) {
    try {
        load(tensors, metadata, config, preprocessor);
    } catch (const Error& e) {
        CHECK(e.sentence().find('\n') == std::string::npos);
        return e.what();
    }
    return "";
}

inline Tensors timm() { return timm_checkpoint(small_dims()); }
inline Tensors huggingface() { return huggingface_checkpoint(small_dims()); }

inline FloatTensor zeros(const Shape& shape) {
    return {shape, std::vector<float>(static_cast<size_t>(elements(shape)))};
}

inline bool assumes(const Model& model, const std::string& part) {
    for (const std::string& sentence : model.info.assumptions)
        if (sentence.find(part) != std::string::npos) return true;
    return false;
}

inline bool same_weights(const Model& a, const Model& b) {
    if (a.weights.size() != b.weights.size()) return false;
    for (const auto& [name, tensor] : a.weights)
        if (!b.weights.count(name) || b.weight(name).shape != tensor->shape ||
            b.weight(name).data != tensor->data)
            return false;
    return true;
}

}  // namespace ivit::test
