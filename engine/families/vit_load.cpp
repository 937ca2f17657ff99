// SPDX-License-Identifier: Apache-2.0
// A ViT or DeiT from a checkpoint: dimensions from names and shapes, the rest from the settings, then the
// weights.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/checkpoint.h"
#include "engine/error.h"
#include "engine/families/vit.h"
#include "engine/families/vit_names.h"

namespace ivit::vit {
namespace {

// [1, 1, 192] is [192]: cls_token and pos_embed carry a batch dimension in files.
Shape squeezed(Shape shape) {
    while (shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
    return shape;
}

class Loader {
  public:
    explicit Loader(const Checkpoint& checkpoint)
        : file_(*checkpoint.file), settings_(checkpoint.settings), names_(map_names(file_)) {}

    std::shared_ptr<const Model> load() {
        if (!settings_.unsupported.empty()) throw Error(settings_.unsupported.front(), file_.name());
        infer_dims();
        check(dims_, file_.name());
        // Every tensor is looked at before the first is read: a file that lacks one costs no memory.
        const std::vector<WeightSpec> specs = weight_specs(dims_);
        for (const WeightSpec& spec : specs) check_tensor(spec);

        auto model = std::make_shared<Model>();
        model->graph = make_graph(dims_);
        for (const WeightSpec& spec : specs) model->weights[spec.name] = read(spec);
        fill_info(model->info);
        for (const auto& [name, tensor] : model->weights)
            model->info.parameters += static_cast<int64_t>(tensor->data.size());
        return model;
    }

  private:
    // Shape of the tensor behind a canonical name that has one source, refused unless it has `rank`
    // dimensions.
    Shape shape_of(const std::string& canonical, size_t rank, const char* expected) const {
        const auto found = names_.sources.find(canonical);
        if (found == names_.sources.end() || found->second[0].empty()) missing(canonical, expected);
        const Shape shape = squeezed_as(file_.get(found->second[0]).shape, rank);
        if (shape.size() != rank)
            throw Error("tensor " + printable(found->second[0]) + " has shape " +
                            to_string(file_.get(found->second[0]).shape) + ", expected " + expected,
                        file_.name());
        return shape;
    }

    // Leading ones removed until `rank` dimensions are left.
    static Shape squeezed_as(Shape shape, size_t rank) {
        while (shape.size() > rank && shape.front() == 1) shape.erase(shape.begin());
        return shape;
    }

    [[noreturn]] void missing(const std::string& canonical, const std::string& expected) const {
        throw Error("tensor " + file_name(names_, canonical) + " is missing, expected with shape " + expected,
                    file_.name());
    }

    bool has(const std::string& canonical) const { return names_.sources.count(canonical) != 0; }

    // A dimension from a file, brought into an int: what is greater is refused by check() all the same.
    static int narrow(int64_t d) { return static_cast<int>(std::min<int64_t>(d, 0x7fffffff)); }

    void infer_dims() {
        if (!has("cls_token"))
            throw Error("this ViT has no class token, which is not supported", file_.name());
        if (!has("head.weight"))
            throw Error("this model has no classifier head (" + file_name(names_, "head.weight") + ")",
                        file_.name(),
                        "a feature extractor cannot classify; use a checkpoint that was fine-tuned");
        const Shape patch = shape_of("patch_embed.proj.weight", 4, "[width, 3, patch, patch]");
        if (patch[1] != 3 || patch[2] != patch[3])
            throw Error("tensor " + printable(names_.sources.at("patch_embed.proj.weight")[0]) +
                            " has shape " + to_string(patch) +
                            ", expected [width, 3, patch, patch]: 3 colours and square patches",
                        file_.name());
        dims_.width = narrow(patch[0]);
        dims_.patch_size = narrow(patch[2]);
        infer_depth();
        if (!has("norm.weight"))
            throw Error("this network has no norm after the last block (" + file_name(names_, "norm.weight") +
                            "); post-norm ViTs are not supported",
                        file_.name());
        dims_.classes = narrow(shape_of("head.weight", 2, "[classes, width]")[0]);
        const int64_t hidden = shape_of("blocks.0.mlp.fc1.weight", 2, "[hidden, width]")[0];
        const Shape fc2 = shape_of("blocks.0.mlp.fc2.weight", 2, "[width, hidden]");
        if (fc2[1] > 0 && hidden == 2 * fc2[1])
            throw Error("this network has a gated MLP (SwiGLU), which is not supported (tensor " +
                            printable(names_.sources.at("blocks.0.mlp.fc1.weight")[0]) + " has " +
                            std::to_string(hidden) + " rows, twice the " + std::to_string(fc2[1]) +
                            " of fc2)",
                        file_.name());
        dims_.hidden = narrow(hidden);
        infer_image_size();
        infer_heads();
        if (settings_.eps)
            dims_.eps = static_cast<float>(*settings_.eps);
        else
            assume("LayerNorm epsilon: 1e-6");
        // arithmetic.md, I-LayerNorm: as good as nothing up to here beside the variances that networks have.
        if (dims_.eps > 1e-5f)
            assume(
                fmt::format("LayerNorm epsilon: {:g} in float, none in integers, which differ where rows "
                            "vary as little as that",
                            dims_.eps));
        agree("width", settings_.width, dims_.width);
        agree("depth", settings_.depth, dims_.depth);
        agree("MLP size", settings_.hidden, dims_.hidden);
        agree("number of classes", settings_.classes, dims_.classes);
        if (!settings_.labels.empty())
            agree("number of labels", static_cast<int64_t>(settings_.labels.size()), dims_.classes);
    }

    void infer_depth() {
        std::vector<int> blocks;
        for (const auto& [name, source] : names_.sources)
            if (name.rfind("blocks.", 0) == 0) blocks.push_back(std::stoi(name.substr(7)));
        std::sort(blocks.begin(), blocks.end());
        blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
        for (size_t i = 0; i < blocks.size(); ++i)
            if (blocks[i] != static_cast<int>(i))
                throw Error("there are tensors of blocks." + std::to_string(blocks[i]) +
                                ", but none of blocks." + std::to_string(i),
                            file_.name());
        dims_.depth = static_cast<int>(blocks.size());
    }

    void infer_image_size() {
        const Shape pos = shape_of("pos_embed", 2, "[1, tokens, width]");
        const int64_t tokens = pos[0];
        const auto is_square = [](int64_t n, int64_t& side) {
            if (n < 1 || n > int64_t{1} << 40) return false;
            side = std::llround(std::sqrt(static_cast<double>(n)));
            return side * side == n;
        };
        int64_t side = 0;
        const std::string name = printable(names_.sources.at("pos_embed")[0]);
        if (!is_square(tokens - 1, side)) {
            const std::string what = "tensor " + name + " has " + std::to_string(tokens) + " positions";
            if (is_square(tokens, side))
                throw Error(what + ", none for the class token, which is not supported", file_.name());
            throw Error(
                what +
                    ", expected a square number of patches and 1 (is there a distillation token, or are "
                    "pictures not square?)",
                file_.name());
        }
        dims_.image_size = narrow(side * dims_.patch_size);
        agree("patch size", settings_.patch_size, dims_.patch_size);
        agree("image size", settings_.image_size, dims_.image_size);
    }

    void infer_heads() {
        if (settings_.heads) {
            dims_.heads = narrow(*settings_.heads);
        } else if (dims_.width % 64 == 0) {
            dims_.heads = dims_.width / 64;
            assume("heads: " + std::to_string(dims_.heads) + " = width / 64");
        } else {
            throw Error("nothing tells the number of heads, and the width " + std::to_string(dims_.width) +
                            " is no multiple of 64",
                        file_.name(), "put {\"num_heads\": N} into a config.json beside the file");
        }
    }

    void assume(std::string sentence) { assumptions_.push_back(std::move(sentence)); }

    // What the settings say of something the tensors tell too.
    void agree(const char* what, const std::optional<int64_t>& said, int64_t found) const {
        if (said && *said != found)
            throw Error("the settings beside the tensors say that the " + std::string(what) + " is " +
                            std::to_string(*said) + ", but the tensors make it " + std::to_string(found),
                        file_.name(), "is config.json another model's?");
    }

    // Biases that some checkpoints leave out as a whole, and that are then zero.
    bool absent_bias(const std::string& canonical) const {
        if (canonical == "patch_embed.proj.bias" || canonical == "head.bias") return !has(canonical);
        if (!canonical.ends_with(".attn.qkv.bias")) return false;
        for (int i = 0; i < dims_.depth; ++i)
            if (has("blocks." + std::to_string(i) + ".attn.qkv.bias")) return false;
        return true;
    }

    // The file's tensors that make `spec`, each with the shape it must have.
    std::vector<std::pair<std::string, Shape>> parts(const WeightSpec& spec) const {
        const auto found = names_.sources.find(spec.name);
        if (found == names_.sources.end()) missing(spec.name, to_string(spec.shape));
        const auto& source = found->second;
        const bool apart = spec.name.find(".attn.qkv.") != std::string::npos &&
                           (!source[1].empty() || !source[2].empty() ||
                            (names_.huggingface && source[0].find(".query.") != std::string::npos));
        if (!apart) {
            if (source[0].empty()) missing(spec.name, to_string(spec.shape));
            return {{source[0], spec.shape}};
        }
        Shape third = spec.shape;
        third[0] /= 3;
        std::vector<std::pair<std::string, Shape>> result;
        for (const std::string& name : source) {
            if (name.empty()) missing(spec.name, to_string(third));
            result.emplace_back(name, third);
        }
        return result;
    }

    void check_tensor(const WeightSpec& spec) const {
        if (absent_bias(spec.name)) return;
        for (const auto& [name, shape] : parts(spec)) {
            const TensorView& view = file_.get(name);
            if (squeezed(view.shape) != squeezed(shape))
                throw Error("tensor " + printable(name) + " has shape " + to_string(view.shape) +
                                ", expected " + to_string(shape),
                            file_.name());
            if (view.dtype != "F32" && view.dtype != "F16" && view.dtype != "BF16")
                throw Error(
                    "tensor " + printable(name) + " has dtype " + view.dtype + ", expected F32, F16 or BF16",
                    file_.name());
        }
    }

    std::shared_ptr<const FloatTensor> read(const WeightSpec& spec) {
        auto tensor = std::make_shared<FloatTensor>();
        if (absent_bias(spec.name)) {
            tensor->data.resize(static_cast<size_t>(elements(spec.shape)));
            const bool last_block =
                spec.name == "blocks." + std::to_string(dims_.depth - 1) + ".attn.qkv.bias";
            if (spec.name.ends_with("qkv.bias")) {
                if (last_block) assume("attn.qkv has no bias: zeros");
            } else {
                assume(spec.name + " is not there: zeros");
            }
        } else {
            for (const auto& [name, shape] : parts(spec)) {
                FloatTensor part = file_.floats(name, {});
                if (tensor->data.empty())
                    *tensor = std::move(part);
                else
                    tensor->data.insert(tensor->data.end(), part.data.begin(), part.data.end());
            }
        }
        tensor->shape = spec.shape;
        return tensor;
    }

    void fill_info(ModelInfo& info) {
        info.family = "vit";
        info.source = file_.name();
        info.dtype = file_.get(names_.sources.at("blocks.0.mlp.fc1.weight")[0]).dtype;

        // Which of the two schools it was trained in: DeiT with ImageNet's statistics, ViT with 0.5.
        std::string title = settings_.architecture + " " + settings_.hint;
        for (char& c : title)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        const bool deit = title.find("deit") != std::string::npos;
        if (settings_.mean) {
            info.mean = *settings_.mean;
        } else {
            if (deit) info.mean = {0.485, 0.456, 0.406};
            assume(deit ? "mean: ImageNet's, as for a DeiT" : "mean: 0.5, as for a ViT");
        }
        if (settings_.std) {
            info.std = *settings_.std;
        } else {
            if (deit) info.std = {0.229, 0.224, 0.225};
            assume(deit ? "std: ImageNet's, as for a DeiT" : "std: 0.5, as for a ViT");
        }
        if (settings_.crop_pct) {
            info.crop_pct = *settings_.crop_pct;
        } else {
            // As timm's configurations have them, for ViT and DeiT alike.
            const bool whole = dims_.image_size < 64 || dims_.image_size >= 384;
            info.crop_pct = whole ? 1.0 : 0.9;
            std::string text = std::to_string(info.crop_pct);
            text.erase(text.find_last_not_of('0') + 1);
            if (text.back() == '.') text.pop_back();
            assume(whole ? "crop: a square of the picture's shorter side"
                         : "crop: a square of " + text + " of the picture's shorter side");
        }
        if (!settings_.labels.empty()) {
            info.labels = settings_.labels;
        } else {
            info.labels = default_labels(dims_.classes);
            if (dims_.classes == 1000)
                assume("labels: ImageNet-1k's, as for any model of 1000 classes");
            else
                assume("labels: numbers, for nothing names the classes");
        }
        info.assumptions = std::move(assumptions_);
    }

    const Safetensors& file_;
    const CheckpointSettings& settings_;
    const Names names_;
    Dims dims_;
    std::vector<std::string> assumptions_;
};

}  // namespace

bool detect(const Checkpoint& checkpoint) {
    // Any sign of one: load() then says what is missing or what it is instead.
    for (const auto& [name, view] : checkpoint.file->tensors())
        for (const char* part :
             {"patch_embed", "cls_token", "pos_embed", "blocks.0.attn", "encoder.layer.0.attention"})
            if (name.find(part) != std::string::npos) return true;
    return false;
}

std::shared_ptr<const Model> load(const Checkpoint& checkpoint) { return Loader(checkpoint).load(); }

}  // namespace ivit::vit
