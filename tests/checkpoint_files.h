// SPDX-License-Identifier: Apache-2.0
// Small ViT checkpoints made on the spot, to be broken in one place each.
#pragma once
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/families/vit.h"
#include "engine/safetensors.h"
#include "tests/temporary_folder.h"

namespace ivit::test {

using Tensors = std::map<std::string, FloatTensor>;

// Width 12 of 3 heads, 2 blocks, MLP 20, 8x8 pictures in patches of 4, 7 classes: every dimension another
// number.
inline vit::Dims small_dims() {
    vit::Dims d;
    d.image_size = 8;
    d.patch_size = 4;
    d.width = 12;
    d.heads = 3;
    d.hidden = 20;
    d.depth = 2;
    d.classes = 7;
    return d;
}

// timm's names and shapes (cls_token and pos_embed with their batch dimension), every element another number.
inline Tensors timm_checkpoint(const vit::Dims& dims) {
    Tensors tensors;
    int k = 0;
    for (const auto& spec : vit::weight_specs(dims)) {
        FloatTensor t{spec.shape, {}};
        for (int64_t i = 0; i < elements(spec.shape); ++i)
            t.data.push_back(static_cast<float>(k++ % 4001 - 2000) / 1024);
        if (spec.name == "cls_token") t.shape = {1, 1, spec.shape[0]};
        if (spec.name == "pos_embed") t.shape = {1, spec.shape[0], spec.shape[1]};
        tensors[spec.name] = std::move(t);
    }
    return tensors;
}

inline void rename(Tensors& tensors, const std::string& from, const std::string& to) {
    auto node = tensors.extract(from);
    node.key() = to;
    tensors.insert(std::move(node));
}

// The same weights by Hugging Face's names.
inline Tensors huggingface_checkpoint(const vit::Dims& dims, const std::string& prefix = "vit.") {
    Tensors tensors = timm_checkpoint(dims);
    rename(tensors, "cls_token", prefix + "embeddings.cls_token");
    rename(tensors, "pos_embed", prefix + "embeddings.position_embeddings");
    for (const std::string end : {".weight", ".bias"}) {
        rename(tensors, "patch_embed.proj" + end, prefix + "embeddings.patch_embeddings.projection" + end);
        rename(tensors, "norm" + end, prefix + "layernorm" + end);
        rename(tensors, "head" + end, "classifier" + end);
        for (int i = 0; i < dims.depth; ++i) {
            const std::string b = "blocks." + std::to_string(i) + ".";
            const std::string l = prefix + "encoder.layer." + std::to_string(i) + ".";
            rename(tensors, b + "norm1" + end, l + "layernorm_before" + end);
            rename(tensors, b + "norm2" + end, l + "layernorm_after" + end);
            rename(tensors, b + "attn.proj" + end, l + "attention.output.dense" + end);
            rename(tensors, b + "mlp.fc1" + end, l + "intermediate.dense" + end);
            rename(tensors, b + "mlp.fc2" + end, l + "output.dense" + end);
            const FloatTensor qkv = tensors.extract(b + "attn.qkv" + end).mapped();
            int64_t part = 0;
            for (const std::string name : {"query", "key", "value"}) {
                FloatTensor t{qkv.shape, {}};
                t.shape[0] /= 3;
                const auto n = elements(t.shape);
                t.data.assign(qkv.data.begin() + part * n, qkv.data.begin() + (part + 1) * n);
                tensors[l + "attention.attention." + name + end] = std::move(t);
                ++part;
            }
        }
    }
    return tensors;
}

// A safetensors file of this header and data.
inline std::vector<std::byte> file_bytes(const std::string& header, size_t data_bytes) {
    std::vector<std::byte> bytes(8 + header.size() + data_bytes);
    const uint64_t length = header.size();
    std::memcpy(bytes.data(), &length, 8);
    std::memcpy(bytes.data() + 8, header.data(), header.size());
    return bytes;
}

inline std::vector<std::byte> file_bytes(const Tensors& tensors,
                                         const std::map<std::string, std::string>& metadata) {
    const auto quoted = [](const std::string& text) {
        return '"' + text + '"';
    };  // no test's text needs escapes
    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        for (const auto& [key, value] : metadata) header += quoted(key) + ":" + quoted(value) + ",";
        header.back() = '}';
        header += ",";
    }
    size_t at = 0;
    for (const auto& [name, t] : tensors) {
        const size_t end = at + 4 * t.data.size();
        header += quoted(name) + R"(:{"dtype":"F32","shape":)" + to_string(t.shape) + ",\"data_offsets\":[" +
                  std::to_string(at) + "," + std::to_string(end) + "]},";
        at = end;
    }
    header.back() = '}';
    std::vector<std::byte> bytes = file_bytes(header, at);
    std::byte* out = bytes.data() + 8 + header.size();
    for (const auto& [name, t] : tensors) {
        if (!t.data.empty()) std::memcpy(out, t.data.data(), 4 * t.data.size());
        out += 4 * t.data.size();
    }
    return bytes;
}

}  // namespace ivit::test
