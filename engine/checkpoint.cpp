// SPDX-License-Identifier: Apache-2.0
// load_model(): the file, the settings beside it, and the family that knows its tensors' names. What a family
// accepts and refuses is in families/ (vit_names.cpp, vit_load.cpp); forms of config.json in
// checkpoint_settings.cpp.
#include "engine/checkpoint.h"

#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/error.h"
#include "engine/families/family.h"

namespace ivit {

// The text of assets/imagenet1k_labels.tsv, "n01440764<tab>tench" by line; made by engine/CMakeLists.txt.
extern const std::string_view imagenet1k_labels_tsv;

namespace {

namespace fs = std::filesystem;

// The JSON file, or null where there is none. Bounded in size and depth: it is as untrusted as the tensors.
nlohmann::json read_json(const fs::path& file) {
    std::error_code error;
    if (!fs::is_regular_file(file, error)) return nullptr;
    constexpr size_t most = 16 << 20;
    std::ifstream in(file, std::ios::binary);
    std::string text;
    if (in && fs::file_size(file, error) <= most && !error)
        text.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    if (!in || text.empty())
        throw Error("cannot read the file, or it is empty or over 16 MiB", file.string());
    const auto limit_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        if (depth > 64) throw Error("the JSON is nested more than 64 deep", file.string());
        return true;
    };
    try {
        return nlohmann::json::parse(text, limit_depth);
    } catch (const nlohmann::json::exception&) {
        throw Error("the file is not valid JSON", file.string());
    }
}

// What a person would call the model: the file's name, or its folder's where that is "model" as on model
// hubs.
std::string title(const fs::path& file) {
    const std::string stem = file.stem().string();
    if (stem != "model" && stem != "pytorch_model") return stem;
    std::error_code error;
    const std::string folder = fs::absolute(file, error).parent_path().filename().string();
    return error || folder.empty() ? stem : folder;
}

}  // namespace

std::string printable(const std::string& text) {
    constexpr size_t most = 120;
    std::string line = text.substr(0, most);
    for (char& c : line)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    if (line.size() < text.size()) {
        // Not half a UTF-8 sequence at the cut.
        while (!line.empty() && (static_cast<unsigned char>(text[line.size()]) & 0xc0) == 0x80)
            line.pop_back();
        line += "...";
    }
    return line.empty() ? "(empty)" : line;
}

std::vector<std::string> default_labels(int classes) {
    std::vector<std::string> labels;
    if (classes == 1000) {
        for (std::string_view rest = imagenet1k_labels_tsv; !rest.empty();) {
            const size_t end = std::min(rest.find('\n'), rest.size());
            const std::string_view line = rest.substr(0, end);
            if (!line.empty()) labels.emplace_back(line.substr(line.find('\t') + 1));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    } else {
        for (int i = 0; i < classes; ++i) labels.push_back("class " + std::to_string(i));
    }
    return labels;
}

static std::shared_ptr<const Model> load(const Checkpoint& checkpoint) {
    const Safetensors& file = *checkpoint.file;
    if (file.tensors().empty()) throw Error("the file holds no tensors", file.name());
    if (const auto format = file.metadata().find("format");
        format != file.metadata().end() && format->second == "ivit-quantized")
        throw Error("this is a quantized model, expected a float checkpoint", file.name());
    for (const Family& family : families())
        if (family.detect(checkpoint)) return family.load(checkpoint);
    if (!checkpoint.settings.unsupported.empty())
        throw Error(checkpoint.settings.unsupported.front(), file.name());
    throw Error("this is not a ViT: its tensors are called " + printable(file.tensors().begin()->first) +
                    " and the like, expected patch_embed.proj.weight, blocks.0.attn.qkv.weight, ...",
                file.name());
}

std::shared_ptr<const Model> load_model(std::shared_ptr<const Safetensors> file, const nlohmann::json& config,
                                        const nlohmann::json& preprocessor) {
    CheckpointSettings settings = read_settings(*file, config, preprocessor);
    return load({std::move(file), std::move(settings)});
}

std::shared_ptr<const Model> load_model(const fs::path& file) {
    Checkpoint checkpoint;
    checkpoint.file = Safetensors::open(file);
    const fs::path folder = file.parent_path();
    checkpoint.settings = read_settings(*checkpoint.file, read_json(folder / "config.json"),
                                        read_json(folder / "preprocessor_config.json"));
    checkpoint.settings.hint += " " + title(file);

    // The digest of 346 MB takes as long as reading them: side by side.
    auto digest = std::async(std::launch::async, [&] { return sha256_file(file); });
    auto model = std::const_pointer_cast<Model>(load(checkpoint));
    const auto name = checkpoint.file->metadata().find("name");
    model->info.name = name != checkpoint.file->metadata().end() ? printable(name->second) : title(file);
    model->info.sha256 = digest.get();
    return model;
}

}  // namespace ivit
