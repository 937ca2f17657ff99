// SPDX-License-Identifier: Apache-2.0
// What a checkpoint says besides its tensors, in any of the forms it is met in:
//   timm          config.json {"architecture", "num_classes", "global_pool", "model_args": {...},
//                 "pretrained_cfg": {"input_size": [3, h, w], "mean", "std", "crop_pct", "label_names", ...}}
//   transformers  config.json {"model_type", "num_attention_heads", "layer_norm_eps", "id2label",
//   "hidden_act", ...}
//                 and preprocessor_config.json {"image_mean", "image_std", "size", "crop_size", ...}
//   metadata      num_heads, patch_size, image_size, num_classes, layer_norm_eps, crop_pct: numbers; mean,
//   std:
//                 "r,g,b"; labels: comma-separated; architecture, act_layer: names
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/checkpoint.h"
#include "engine/error.h"

namespace ivit {
namespace {

using nlohmann::json;

// One source of settings, read field by field into what the sources before it left open.
class Reader {
  public:
    Reader(CheckpointSettings& out, std::string source) : out_(out), source_(std::move(source)) {}

    [[noreturn]] void fail(const std::string& field, const std::string& problem) const {
        throw Error(printable(field) + " " + problem, source_);
    }

    void whole(const std::string& field, const json& value, std::optional<int64_t>& slot) const {
        // 32 bits are plenty for any of them; the family checks what is sensible.
        if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > 0x7fffffff)
            fail(field, "is " + show(value) + ", expected a whole number from 1");
        settle(field, value.get<int64_t>(), slot);
    }

    // A square picture or patch: 224, [224, 224], or {"height": 224, "width": 224}.
    void square(const std::string& field, const json& value, std::optional<int64_t>& slot) const {
        if (value.is_array() && value.size() == 2 && value[0] == value[1])
            return whole(field, value[0], slot);
        if (value.is_object() && value.contains("height") && value.contains("width") &&
            value["height"] == value["width"])
            return whole(field, value["height"], slot);
        if (value.is_number()) return whole(field, value, slot);
        fail(field,
             "is " + show(value) + ", expected one size: only square pictures and patches are supported");
    }

    void real(const std::string& field, const json& value, double least, double most,
              std::optional<double>& slot) const {
        const double x = value.is_number() ? value.get<double>() : std::nan("");
        if (!(x >= least && x <= most))
            fail(field,
                 "is " + show(value) + ", expected a number from " + show(least) + " to " + show(most));
        if (!slot) slot = x;
    }

    void rgb(const std::string& field, const json& value, double least, double most,
             std::optional<std::array<double, 3>>& slot) const {
        std::array<double, 3> x{};
        bool good = value.is_array() && value.size() == 3;
        for (size_t c = 0; good && c < 3; ++c) {
            x[c] = value[c].is_number() ? value[c].get<double>() : std::nan("");
            good = x[c] >= least && x[c] <= most;
        }
        if (!good)
            fail(field, "is " + show(value) + ", expected three numbers from " + show(least) + " to " +
                            show(most) + " (pixels are in 0..1)");
        if (!slot) slot = x;
    }
    void mean(const std::string& field, const json& value) const { rgb(field, value, 0, 1, out_.mean); }
    void std(const std::string& field, const json& value) const { rgb(field, value, 1e-4, 10, out_.std); }

    void labels(const std::string& field, const json& value) const {
        if (!value.is_array()) fail(field, "is not a list of names");
        std::vector<std::string> names;
        for (const json& name : value) {
            if (!name.is_string()) fail(field, "holds " + show(name) + ", expected a name");
            names.push_back(printable(name.get<std::string>()));
        }
        if (out_.labels.empty()) out_.labels = std::move(names);
    }

    void activation(const std::string& field, const json& value) const {
        if (value.is_null()) return;
        if (!value.is_string() || value != "gelu")
            out_.unsupported.push_back("the activation " + show(value) + " (" + field +
                                       ") is not supported, only gelu, the exact one by erf");
    }

    void architecture(const json& value) const {
        if (value.is_string() && out_.architecture.empty())
            out_.architecture = printable(value.get<std::string>());
    }

    // Any of the fields above, where the object has it and it is not null.
    template <class Read>
    void each(const json& object, std::initializer_list<const char*> fields, Read read) const {
        for (const char* field : fields)
            if (const auto at = object.find(field); at != object.end() && !at->is_null()) read(field, *at);
    }

    static std::string show(const json& value) {
        return printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
    }

  private:
    void settle(const std::string& field, int64_t value, std::optional<int64_t>& slot) const {
        if (slot && *slot != value)
            fail(field, "is " + std::to_string(value) + ", but the checkpoint says " + std::to_string(*slot) +
                            " elsewhere");
        slot = value;
    }

    CheckpointSettings& out_;
    std::string source_;
};

// Families that go by a name of their own, and what sets them apart. Looked for in architecture names.
constexpr struct {
    const char* part;
    const char* reason;
} foreign[] = {
    {"swin", "Swin (relative positions, shifted windows)"},
    {"beit", "BEiT (relative positions)"},
    {"eva_", "EVA (relative positions)"},
    {"eva0", "EVA (rotary positions)"},
    {"cait", "CaiT (layer scale, class attention)"},
    {"distilled", "a distilled DeiT (distillation token)"},
    {"quickgelu", "the activation quick_gelu"},
    {"_rpn_", "post-norm"},
    {"postnorm", "post-norm"},
    {"post_norm", "post-norm"},
    {"_rope", "rotary positions"},
    {"_gap_", "global average pooling"},
    {"resnet", "a convolutional network (not a ViT)"},
    {"convnext", "a convolutional network (not a ViT)"},
    {"efficientnet", "a convolutional network (not a ViT)"},
    {"mixer", "MLP-Mixer (not a ViT)"},
};

void check_architecture(const std::string& name, std::vector<std::string>& unsupported) {
    std::string lower = name;
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    for (const auto& f : foreign)
        if (lower.find(f.part) != std::string::npos)
            unsupported.push_back("the architecture " + name + " is not supported: it is " + f.reason);
}

// Which network it is, by the names the file gives.
void read_names(const Reader& r, const json& config, CheckpointSettings& out) {
    r.each(config, {"architecture"}, [&](auto, auto& v) { r.architecture(v); });
    r.each(config, {"architectures"}, [&](auto, auto& v) {
        if (v.is_array() && !v.empty()) r.architecture(v[0]);
    });
    r.each(config, {"_name_or_path"}, [&](auto, auto& v) {
        if (v.is_string()) out.hint += " " + v.template get<std::string>();
    });
    check_architecture(out.architecture, out.unsupported);
    r.each(config, {"model_type"}, [&](auto, auto& v) {
        if (v != "vit" && v != "deit")
            out.unsupported.push_back("the model type " + Reader::show(v) +
                                      " is not supported, only vit and deit");
    });
}

void read_dimensions(const Reader& r, const json& object, CheckpointSettings& out) {
    r.each(object, {"num_attention_heads", "num_heads"}, [&](auto f, auto& v) { r.whole(f, v, out.heads); });
    r.each(object, {"num_hidden_layers", "depth"}, [&](auto f, auto& v) { r.whole(f, v, out.depth); });
    r.each(object, {"hidden_size", "embed_dim"}, [&](auto f, auto& v) { r.whole(f, v, out.width); });
    r.each(object, {"intermediate_size"}, [&](auto f, auto& v) { r.whole(f, v, out.hidden); });
    r.each(object, {"patch_size"}, [&](auto f, auto& v) { r.square(f, v, out.patch_size); });
    r.each(object, {"image_size", "img_size"}, [&](auto f, auto& v) { r.square(f, v, out.image_size); });
    r.each(object, {"num_classes", "num_labels"}, [&](auto f, auto& v) { r.whole(f, v, out.classes); });
    r.each(object, {"layer_norm_eps"}, [&](auto f, auto& v) { r.real(f, v, 1e-20, 0.1, out.eps); });
}

// What sets another network apart from the ViT of families/vit.h.
void read_variants(const Reader& r, const json& object, CheckpointSettings& out) {
    const auto post_norm = [&](const std::string& field) {
        out.unsupported.push_back("a post-norm ViT (" + field + ") is not supported");
    };
    r.each(object, {"hidden_act", "act_layer"}, [&](auto f, auto& v) { r.activation(f, v); });
    r.each(object, {"global_pool"}, [&](auto, auto& v) {
        if (v != "token" && v != "")
            out.unsupported.push_back("pooling by " + Reader::show(v) +
                                      " (global_pool) is not supported, only by class token");
    });
    r.each(object, {"class_token"}, [&](auto, auto& v) {
        if (v == false) out.unsupported.push_back("a ViT without a class token is not supported");
    });
    r.each(object, {"norm_first", "normalize_before"}, [&](auto f, auto& v) {
        if (v == false) post_norm(f);
    });
    r.each(object, {"post_norm"}, [&](auto f, auto& v) {
        if (v == true) post_norm(f);
    });
}

void read_preprocessing(const Reader& r, const json& object, CheckpointSettings& out) {
    r.each(object, {"mean"}, [&](auto f, auto& v) { r.mean(f, v); });
    r.each(object, {"std"}, [&](auto f, auto& v) { r.std(f, v); });
    r.each(object, {"crop_pct"}, [&](auto f, auto& v) { r.real(f, v, 0.01, 1, out.crop_pct); });
    r.each(object, {"input_size"}, [&](auto f, auto& v) {
        if (!v.is_array() || v.size() != 3 || v[0] != 3)
            r.fail(f, "is " + Reader::show(v) + ", expected [3, height, width]");
        r.square(f, json::array({v[1], v[2]}), out.image_size);
    });
    r.each(object, {"label_names"}, [&](auto f, auto& v) { r.labels(f, v); });
}

void read_id2label(const Reader& r, const char* field, const json& value) {
    if (!value.is_object()) r.fail(field, "is not an object");
    json names = json::array();
    for (size_t i = 0; i < value.size(); ++i) {
        const auto at = value.find(std::to_string(i));
        if (at == value.end()) r.fail(field, "has no label for class " + std::to_string(i));
        names.push_back(*at);
    }
    // What transformers writes where nobody named the classes.
    if (names.empty() || names[0] == "LABEL_0") return;
    r.labels(field, names);
}

void read_config(const json& config, const std::string& source, CheckpointSettings& out) {
    const Reader r(out, source);
    if (!config.is_object()) throw Error("it is not a JSON object", source);
    const json none = json::object();
    const auto child = [&](const char* field) -> const json& {
        const auto at = config.find(field);
        return at != config.end() && at->is_object() ? *at : none;
    };
    read_names(r, config, out);
    for (const json* object : {&config, &child("model_args")}) {
        read_dimensions(r, *object, out);
        read_variants(r, *object, out);
    }
    // timm of today nests it, timm of before had it at the top.
    for (const json* object : {&child("pretrained_cfg"), &config}) read_preprocessing(r, *object, out);
    r.each(config, {"id2label"}, [&](auto f, auto& v) { read_id2label(r, f, v); });
}

void read_preprocessor(const json& config, const std::string& source, CheckpointSettings& out) {
    const Reader r(out, source);
    if (!config.is_object()) throw Error("it is not a JSON object", source);
    const auto off = [&](const char* field) { return config.contains(field) && config[field] == false; };
    if (off("do_normalize")) {
        if (!out.mean) out.mean = {0, 0, 0};
        if (!out.std) out.std = {1, 1, 1};
    }
    r.each(config, {"image_mean"}, [&](auto f, auto& v) { r.mean(f, v); });
    r.each(config, {"image_std"}, [&](auto f, auto& v) { r.std(f, v); });
    r.each(config, {"rescale_factor"}, [&](auto f, auto& v) {
        if (!v.is_number() || !(std::abs(v.template get<double>() * 255 - 1) < 1e-3))
            r.fail(f, "is " + Reader::show(v) + ", expected 1/255");
    });
    // Resized to `size`, then `crop_size` of it is kept; without a crop, all of it.
    const auto side = [&](const char* field) -> double {
        const auto at = config.find(field);
        if (at == config.end()) return 0;
        const json& v = at->is_object() ? at->contains("shortest_edge") ? (*at)["shortest_edge"]
                                          : at->contains("height")      ? (*at)["height"]
                                                                        : *at
                                        : *at;
        return v.is_number() ? v.get<double>() : 0;
    };
    const double size = side("size"), crop = side("crop_size");
    const bool crops = config.contains("do_center_crop") && config["do_center_crop"] == true;
    if (!out.crop_pct && size > 0) {
        if (!crops)
            out.crop_pct = 1;
        else if (crop > 0 && crop <= size)
            out.crop_pct = crop / size;
    }
}

void read_metadata(const std::map<std::string, std::string>& metadata, const std::string& source,
                   CheckpointSettings& out) {
    const Reader r(out, source);
    const auto number = [&](const std::string& field, std::string_view text) {
        while (text.starts_with(' ')) text.remove_prefix(1);
        while (text.ends_with(' ')) text.remove_suffix(1);
        int64_t whole = 0;
        double real = 0;
        const char *begin = text.data(), *end = begin + text.size();
        if (auto [p, e] = std::from_chars(begin, end, whole); p == end && e == std::errc())
            return json(whole);
        if (auto [p, e] = std::from_chars(begin, end, real); p == end && e == std::errc()) return json(real);
        r.fail(field, "is '" + printable(std::string(text)) + "', expected a number");
    };
    const auto list = [](const std::string& text) {
        std::vector<std::string> parts;
        for (size_t at = 0; at <= text.size();) {
            const size_t comma = std::min(text.find(',', at), text.size());
            parts.push_back(text.substr(at, comma - at));
            at = comma + 1;
        }
        return parts;
    };
    const auto numbers = [&](const std::string& field, const std::string& text) {
        json values = json::array();
        for (const std::string& part : list(text)) values.push_back(number(field, part));
        return values;
    };
    for (const auto& [field, text] : metadata) {
        if (field == "num_heads") r.whole(field, number(field, text), out.heads);
        if (field == "patch_size") r.square(field, number(field, text), out.patch_size);
        if (field == "image_size") r.square(field, number(field, text), out.image_size);
        if (field == "num_classes") r.whole(field, number(field, text), out.classes);
        if (field == "layer_norm_eps") r.real(field, number(field, text), 1e-20, 0.1, out.eps);
        if (field == "crop_pct") r.real(field, number(field, text), 0.01, 1, out.crop_pct);
        if (field == "mean") r.mean(field, numbers(field, text));
        if (field == "std") r.std(field, numbers(field, text));
        if (field == "act_layer") r.activation(field, text);
        if (field == "architecture") r.architecture(text);
        if (field == "labels") r.labels(field, list(text));
    }
}

}  // namespace

CheckpointSettings read_settings(const Safetensors& file, const json& config, const json& preprocessor) {
    CheckpointSettings settings;
    const std::string of_file = file.name() + ", ";
    if (!config.is_null()) read_config(config, of_file + "config.json", settings);
    if (!preprocessor.is_null())
        read_preprocessor(preprocessor, of_file + "preprocessor_config.json", settings);
    read_metadata(file.metadata(), of_file + "metadata", settings);
    return settings;
}

}  // namespace ivit
