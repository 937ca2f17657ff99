// SPDX-License-Identifier: Apache-2.0
#include "engine/dataset.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <string_view>

#include "engine/error.h"
#include "engine/image.h"

namespace ivit {

extern const std::string_view imagenet1k_labels_tsv;  // "n01440764\ttench\n...", in class order

namespace fs = std::filesystem;

namespace {

std::string folded(std::string s) {
    for (char& c : s) c = c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return s;
}

const std::map<std::string, int>& wnids() {
    static const std::map<std::string, int> map = [] {
        std::map<std::string, int> m;
        std::string_view rest = imagenet1k_labels_tsv;
        while (!rest.empty()) {
            const size_t end = std::min(rest.find('\n'), rest.size());
            const std::string_view line = rest.substr(0, end);
            if (const size_t tab = line.find('\t'); tab != std::string_view::npos)
                m.emplace(line.substr(0, tab), static_cast<int>(m.size()));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        return m;
    }();
    return map;
}

// "cat_1.png,cat" -> {file, label}; the label may hold spaces when a comma or tab separates.
bool split_line(const std::string& line, std::string& file, std::string& label) {
    size_t at = line.find_last_of(",\t");
    if (at == std::string::npos) at = line.find_last_of(' ');
    if (at == std::string::npos || at == 0) return false;
    const auto trimmed = [](const std::string& s) {
        const size_t a = s.find_first_not_of(" \r\t\""), b = s.find_last_not_of(" \r\t\"");
        return a == std::string::npos ? std::string() : s.substr(a, b - a + 1);
    };
    file = trimmed(line.substr(0, at));
    label = trimmed(line.substr(at + 1));
    return !file.empty() && !label.empty();
}

void read_labels(Dataset& d, const fs::path& labels, const ModelInfo& model) {
    std::ifstream in(labels);
    if (!in) throw Error("cannot open the labels file", labels.string());
    std::map<std::string, int> by_file;
    std::string line, file, label;
    for (int number = 1; std::getline(in, line); ++number) {
        if (line.find_first_not_of(" \r\t") == std::string::npos || line[0] == '#') continue;
        if (!split_line(line, file, label))
            throw Error("line " + std::to_string(number) + " is not 'file label'", labels.string());
        const int index = class_index(label, model);
        if (index < 0) {
            if (number == 1) continue;  // a header
            throw Error(
                "line " + std::to_string(number) + " names '" + label + "', which is no class of the model",
                labels.string());
        }
        by_file[fs::path(file).lexically_normal().generic_string()] = index;
    }
    int found = 0;
    for (auto& p : d.pictures) {
        const auto hit = by_file.find(p.file);
        if (hit == by_file.end()) throw Error("the labels file has no line for " + p.file, labels.string());
        p.label = hit->second;
        ++found;
    }
    if (!found) throw Error("the labels file names no picture of " + d.folder.string(), labels.string());
    d.labelled = true;
    d.layout = "labels file " + labels.filename().string();
}

}  // namespace

int class_index(const std::string& name, const ModelInfo& model) {
    const std::string wanted = folded(name);
    for (size_t i = 0; i < model.labels.size(); ++i) {
        const std::string label = folded(model.labels[i]);
        if (label == wanted || label.substr(0, label.find(',')) == wanted) return static_cast<int>(i);
    }
    if (model.labels.size() == 1000)
        if (const auto wnid = wnids().find(name); wnid != wnids().end()) return wnid->second;
    int index = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool number = error == std::errc() && end == name.data() + name.size();
    return number && index >= 0 && index < static_cast<int>(model.labels.size()) ? index : -1;
}

Dataset open_dataset(const fs::path& folder, const fs::path& labels, const ModelInfo& model) {
    Dataset d;
    d.folder = folder;
    for (const auto& file : list_pictures(folder))
        d.pictures.push_back({file.lexically_relative(folder).generic_string(), -1});
    std::sort(d.pictures.begin(), d.pictures.end(),
              [](const auto& a, const auto& b) { return a.file < b.file; });

    fs::path file = labels;
    for (const char* name : {"labels.csv", "labels.tsv", "labels.txt"})
        if (std::error_code none; file.empty() && fs::is_regular_file(folder / name, none))
            file = folder / name;
    if (!file.empty()) {
        read_labels(d, file, model);
        return d;
    }

    // The first part of each path is its class folder, if any is.
    std::string stranger;
    int known = 0;
    for (auto& p : d.pictures) {
        const size_t slash = p.file.find('/');
        if (slash != std::string::npos) p.label = class_index(p.file.substr(0, slash), model);
        if (p.label >= 0)
            ++known;
        else if (stranger.empty())
            stranger = p.file;
    }
    if (known && !stranger.empty())
        throw Error("'" + stranger + "' lies in no class folder of the model, though others do",
                    folder.string(), "move it, or give a labels file with --labels");
    d.labelled = known > 0;
    d.layout = d.labelled ? "class folders" : "no labels";
    return d;
}

}  // namespace ivit
