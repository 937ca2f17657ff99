// SPDX-License-Identifier: Apache-2.0
#include "engine/families/vit_names.h"

#include "engine/checkpoint.h"
#include "engine/error.h"

namespace ivit::vit {
namespace {

// Hugging Face's name, timm's name; N stands for the block's index. Names that hold no .weight and .bias end
// in '!'.
struct Pair {
    const char *huggingface, *timm;
    int part = 0;  // of q, k, v
};
constexpr Pair pairs[] = {
    {"embeddings.cls_token!", "cls_token!"},
    {"embeddings.position_embeddings!", "pos_embed!"},
    {"embeddings.patch_embeddings.projection", "patch_embed.proj"},
    {"encoder.layer.N.layernorm_before", "blocks.N.norm1"},
    {"encoder.layer.N.attention.attention.query", "blocks.N.attn.qkv", 0},
    {"encoder.layer.N.attention.attention.key", "blocks.N.attn.qkv", 1},
    {"encoder.layer.N.attention.attention.value", "blocks.N.attn.qkv", 2},
    {"encoder.layer.N.attention.output.dense", "blocks.N.attn.proj"},
    {"encoder.layer.N.layernorm_after", "blocks.N.norm2"},
    {"encoder.layer.N.intermediate.dense", "blocks.N.mlp.fc1"},
    {"encoder.layer.N.output.dense", "blocks.N.mlp.fc2"},
    {"layernorm", "norm"},
    {"classifier", "head"},
};

// What a part of a name gives away. The first that fits is named, so the particular come before the general.
constexpr struct {
    const char* part;
    const char* what;
} refused[] = {
    {"relative_position", "relative positions (Swin, BEiT)"},
    {"rel_pos", "relative positions (Swin, BEiT)"},
    {"swin", "shifted windows and relative positions (Swin)"},
    {"downsample", "a pyramid of stages (Swin)"},
    {"dist_token", "a distillation token (distilled DeiT)"},
    {"distillation_", "a distillation token (distilled DeiT)"},
    {"head_dist", "a distillation head (distilled DeiT)"},
    {"cls_classifier", "a distillation head (distilled DeiT)"},
    {"ls1.", "layer scale"},
    {"ls2.", "layer scale"},
    {"gamma_1", "layer scale"},
    {"gamma_2", "layer scale"},
    {"lambda", "layer scale"},
    {"layer_scale", "layer scale"},
    {"q_norm", "query and key norms (qk-norm)"},
    {"k_norm", "query and key norms (qk-norm)"},
    {"fc_norm", "global average pooling (fc_norm)"},
    {"attn_pool", "attention pooling"},
    {"reg_token", "register tokens"},
    {"register_tokens", "register tokens"},
    {"norm_pre", "a norm before the first block (norm_pre)"},
    {"pre_layrnorm", "a norm before the first block (CLIP)"},
    {"pre_layernorm", "a norm before the first block (CLIP)"},
    {"post_norm", "post-norm blocks"},
    {"postnorm", "post-norm blocks"},
    {"rope", "rotary positions"},
    {"fc1_g", "a gated MLP (SwiGLU)"},
    {"fc1_x", "a gated MLP (SwiGLU)"},
    {"mlp.gate", "a gated MLP (SwiGLU)"},
    {"mlp.w1", "a gated MLP (SwiGLU)"},
    {"mlp.w3", "a gated MLP (SwiGLU)"},
    {"mlp.norm", "a norm inside the MLP"},
    {"attn.norm", "a norm inside the attention"},
    {"patch_embed.backbone", "a convolutional stem (hybrid ViT)"},
    {"patch_embed.norm", "a norm after the patch embedding (Swin)"},
    {"pre_logits", "a representation layer before the head (pre_logits)"},
    {"mask_decoder", "a segmentation head"},
};

// Removes `prefix` where the name begins with it.
bool strip(std::string& name, const char* prefix) {
    if (name.rfind(prefix, 0) != 0) return false;
    name.erase(0, std::char_traits<char>::length(prefix));
    return true;
}

// Whether `name` is `pattern` + .weight or .bias (or `pattern` itself where that ends in '!'); the block's
// digits go to `index`, the ending to `suffix`.
bool matches(const char* pattern, const std::string& name, std::string& index, std::string& suffix) {
    size_t at = 0;
    index.clear();
    for (; *pattern && *pattern != '!'; ++pattern) {
        if (*pattern == 'N') {
            const size_t from = at;
            while (at < name.size() && name[at] >= '0' && name[at] <= '9') ++at;
            index = name.substr(from, at - from);
            // One spelling per number, or blocks.1 and blocks.01 would be two names of one tensor.
            if (index.empty() || index.size() > 6 || (index.size() > 1 && index[0] == '0')) return false;
        } else if (at < name.size() && name[at] == *pattern) {
            ++at;
        } else {
            return false;
        }
    }
    suffix = name.substr(at);
    return *pattern == '!' ? suffix.empty() : suffix == ".weight" || suffix == ".bias";
}

// The pattern with N and '!' replaced.
std::string fill(const char* pattern, const std::string& index, const std::string& suffix) {
    std::string text;
    for (; *pattern && *pattern != '!'; ++pattern)
        if (*pattern == 'N')
            text += index;
        else
            text += *pattern;
    return text + suffix;
}

}  // namespace

Names map_names(const Safetensors& file) {
    Names names;
    const auto add = [&](const std::string& canonical, int part, const std::string& original) {
        std::string& slot = names.sources[canonical][static_cast<size_t>(part)];
        if (!slot.empty())
            throw Error(
                "tensors " + printable(slot) + " and " + printable(original) + " are both " + canonical,
                file.name());
        slot = original;
    };
    std::string index, suffix;
    const std::string* unknown = nullptr;
    for (const auto& [original, view] : file.tensors()) {
        std::string name = original;
        // Wrappers of training loops, then the model inside a classifier.
        while (strip(name, "module.") || strip(name, "model.")) {
        }
        if (!strip(name, "vit.")) strip(name, "deit.");
        for (const auto& r : refused)
            if (name.find(r.part) != std::string::npos)
                throw Error("this network has " + std::string(r.what) + ", which is not supported (tensor " +
                                printable(original) + ")",
                            file.name());
        // Left over from pre-training; no part of a classifier.
        if (name.rfind("pooler.", 0) == 0 || name == "embeddings.mask_token" || name == "mask_token")
            continue;

        bool known = false;
        for (const Pair& p : pairs) {
            const bool hf = matches(p.huggingface, name, index, suffix);
            if (!hf && (p.part || !matches(p.timm, name, index, suffix))) continue;
            // timm's qkv is one tensor; a file with both forms of it is caught by the slots.
            add(fill(p.timm, index, suffix), hf ? p.part : 0, original);
            if (hf && p.timm[0] != 'h') {
                names.huggingface = true;
                names.prefix = original.substr(0, original.size() - name.size());
            }
            known = true;
            break;
        }
        if (!known && !unknown) unknown = &original;
    }
    if (unknown)
        throw Error(
            "tensor " + printable(*unknown) + " is no part of a pre-norm ViT as timm or transformers name it",
            file.name());
    return names;
}

std::string file_name(const Names& names, const std::string& canonical) {
    if (!names.huggingface) return canonical;
    std::string index, suffix, text;
    for (const Pair& p : pairs)
        if (matches(p.timm, canonical, index, suffix)) {
            // Of query, key and value the first that is not there.
            const auto found = names.sources.find(canonical);
            const bool there =
                found != names.sources.end() && !found->second[static_cast<size_t>(p.part)].empty();
            if (text.empty() && !there)
                text = (p.timm[0] == 'h' ? "" : names.prefix) + fill(p.huggingface, index, suffix);
        }
    return text + " (" + canonical + ")";
}

}  // namespace ivit::vit
