// SPDX-License-Identifier: Apache-2.0
#include "engine/dataset.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <unordered_map>

#include "engine/error.h"
#include "engine/image.h"
#include "engine/labels_file.h"

namespace ivit {

extern const std::string_view imagenet1k_labels_tsv;  // "n01440764\ttench\n...", in class order

namespace fs = std::filesystem;

namespace {

std::string folded(std::string s) {
    for (char& c : s) c = c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return s;
}

// The model's classes by everything they are called. A million pictures ask it, so nothing is searched.
class Classes {
  public:
    explicit Classes(const ModelInfo& model) : count_(static_cast<int>(model.labels.size())) {
        // Two passes: a whole label goes before another one's first synonym.
        std::unordered_map<std::string, int> synonyms;
        for (int i = 0; i < count_; ++i) {
            const std::string label = folded(model.labels[static_cast<size_t>(i)]);
            enter(names_, label, i);
            enter(synonyms, label.substr(0, label.find(',')), i);
        }
        names_.insert(synonyms.begin(), synonyms.end());
        if (count_ != 1000) return;
        int wnids = 0;
        std::string_view rest = imagenet1k_labels_tsv;
        while (!rest.empty()) {
            const size_t end = std::min(rest.find('\n'), rest.size());
            const std::string_view line = rest.substr(0, end);
            if (const size_t tab = line.find('\t'); tab != std::string_view::npos)
                names_.emplace(std::string(line.substr(0, tab)), wnids++);
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }

    // -1 when the model has no class of this name. Throws Error about `where` for a name of several classes:
    // ImageNet has two cranes.
    int find(const std::string& name, const fs::path& where) const {
        if (const auto hit = names_.find(folded(name)); hit != names_.end()) {
            if (hit->second == several)
                throw Error("'" + name + "' names more than one class of the model", where.string(),
                            "name it by its index" + std::string(count_ == 1000 ? " or wnid" : ""));
            return hit->second;
        }
        int index = -1;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
        const bool number = error == std::errc() && end == name.data() + name.size();
        return number && index >= 0 && index < count_ ? index : -1;
    }

  private:
    static constexpr int several = -2;
    static void enter(std::unordered_map<std::string, int>& to, const std::string& name, int index) {
        const auto [hit, fresh] = to.emplace(name, index);
        if (!fresh && hit->second != index) hit->second = several;
    }
    std::unordered_map<std::string, int> names_;
    int count_;
};

std::string without_ending(const std::string& file) {
    const size_t dot = file.find_last_of('.'), slash = file.find_last_of('/');
    return dot == std::string::npos || (slash != std::string::npos && dot < slash) ? file
                                                                                   : file.substr(0, dot);
}

// The dataset's pictures by what a labels file may call them.
class Names {
  public:
    Names(Dataset& d, const fs::path& labels) : labels_folder_(fs::absolute(labels).parent_path()) {
        folder_ = fs::absolute(d.folder).lexically_normal();
        for (auto& p : d.pictures) {
            by_file_.emplace(p.file, &p);
            const auto [hit, fresh] = by_stem_.emplace(without_ending(p.file), &p);
            if (!fresh) hit->second = nullptr;  // two pictures of one name: only the ending tells them apart
        }
    }

    // Relative to the folder of pictures, to that of the labels file, or absolute. A name with other folders
    // in front ("val/x.jpg", of a list made elsewhere) is found by what is behind them, unless it is another
    // file that exists. Null: not among the pictures.
    LabelledPicture* find(const std::string& written) const {
        std::string name = written;
        std::replace(name.begin(), name.end(), '\\', '/');
        for (const std::string& w : {written, name})
            if (LabelledPicture* p = exact(fs::path(w).lexically_normal().generic_string())) return p;
        const fs::path whole = (labels_folder_ / name).lexically_normal();
        if (LabelledPicture* p = exact(whole.lexically_relative(folder_).generic_string())) return p;
        LabelledPicture* found = nullptr;
        for (size_t slash = 0; !found && (slash = name.find('/', slash)) != std::string::npos; ++slash)
            found = exact(name.substr(slash + 1));
        std::error_code none;
        return found && !fs::exists(whole, none) ? found : nullptr;
    }

  private:
    LabelledPicture* exact(const std::string& name) const {
        if (const auto hit = by_file_.find(name); hit != by_file_.end()) return hit->second;
        const auto stem = by_stem_.find(name);
        return stem == by_stem_.end() ? nullptr : stem->second;
    }

    fs::path folder_, labels_folder_;
    std::unordered_map<std::string, LabelledPicture*> by_file_, by_stem_;
};

void read_labels(Dataset& d, const fs::path& labels, const Classes& classes) {
    LabelsFile in(labels);
    const Names names(d, labels);
    std::string file, label;
    int64_t found = 0;
    while (in.next(file, label)) {
        LabelledPicture* picture = names.find(file);
        int index = classes.find(label, labels);
        // ImageNet's own list says more behind the wnid: "n03995372 85 1 499 272".
        if (index < 0 && label.size() > 10 && label[0] == 'n' && label[9] == ' ')
            index = classes.find(label.substr(0, 9), labels);
        if (index < 0) {
            if (in.first() && !picture) continue;  // a header of other words
            throw Error(in.where() + " names '" + label.substr(0, 60) + (label.size() > 60 ? "..." : "") +
                            "', which is no class of the model",
                        labels.string());
        }
        if (!picture) {
            ++d.without_picture;
            continue;
        }
        if (picture->label >= 0) throw Error(in.where() + " names " + file + " again", labels.string());
        picture->label = index;
        ++found;
    }
    if (!found) throw Error("the labels file names no picture of " + d.folder.string(), labels.string());
    d.labelled = true;
    d.layout = "labels file " + labels.filename().string();
}

// The class of the first folder on the way to the picture that is called like one.
int class_of_folders(const std::string& file, const Classes& classes, const fs::path& folder,
                     std::unordered_map<std::string, int>& known) {
    const size_t end = file.find_last_of('/');
    if (end == std::string::npos) return -1;
    const auto [hit, fresh] = known.emplace(file.substr(0, end), -1);
    for (size_t begin = 0; fresh && begin < end && hit->second < 0;) {
        const size_t slash = std::min(file.find('/', begin), end);
        hit->second = classes.find(file.substr(begin, slash - begin), folder);
        begin = slash + 1;
    }
    return hit->second;
}

}  // namespace

Dataset open_dataset(const fs::path& folder, const fs::path& labels, const ModelInfo& model) {
    Dataset d;
    d.folder = folder;
    for (auto& file : list_pictures(folder)) {
        d.pictures.push_back({file.lexically_relative(folder).generic_string(), -1});
        fs::path().swap(file);  // of a million names one copy is enough
    }
    std::sort(d.pictures.begin(), d.pictures.end(),
              [](const auto& a, const auto& b) { return a.file < b.file; });
    const Classes classes(model);
    const auto count_unlabelled = [&] {
        d.without_label = std::count_if(d.pictures.begin(), d.pictures.end(),
                                        [](const LabelledPicture& p) { return p.label < 0; });
    };

    fs::path file = labels;
    for (const char* name : {"labels.csv", "labels.tsv", "labels.txt"})
        if (std::error_code none; file.empty() && fs::is_regular_file(folder / name, none))
            file = folder / name;
    if (!file.empty()) {
        read_labels(d, file, classes);
        count_unlabelled();
        return d;
    }

    std::unordered_map<std::string, int> known;
    const LabelledPicture* stranger = nullptr;
    for (auto& p : d.pictures) {
        p.label = class_of_folders(p.file, classes, folder, known);
        d.labelled |= p.label >= 0;
        if (p.label < 0 && !stranger) stranger = &p;
    }
    if (d.labelled && stranger)
        throw Error("'" + stranger->file + "' lies in no class folder of the model, though others do",
                    folder.string(), "move it, or give a labels file with --labels");
    d.layout = d.labelled ? "class folders" : "no labels";
    return d;
}

}  // namespace ivit
