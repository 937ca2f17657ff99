// SPDX-License-Identifier: Apache-2.0
#include "engine/dataset.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>
#include <unordered_map>

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

// The model's classes by everything they are called. A million pictures ask it, so nothing is searched.
class Classes {
  public:
    explicit Classes(const ModelInfo& model) {
        for (size_t i = 0; i < model.labels.size(); ++i)
            by_label_.emplace(folded(model.labels[i]), static_cast<int>(i));
        for (size_t i = 0; i < model.labels.size(); ++i) {
            const std::string label = folded(model.labels[i]);
            by_label_.emplace(label.substr(0, label.find(',')), static_cast<int>(i));
        }
        count_ = static_cast<int>(model.labels.size());
        if (count_ != 1000) return;
        std::string_view rest = imagenet1k_labels_tsv;
        while (!rest.empty()) {
            const size_t end = std::min(rest.find('\n'), rest.size());
            const std::string_view line = rest.substr(0, end);
            if (const size_t tab = line.find('\t'); tab != std::string_view::npos)
                by_label_.emplace(std::string(line.substr(0, tab)), static_cast<int>(wnids_++));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }

    // -1 when the model has no class of this name.
    int find(const std::string& name) const {
        if (const auto hit = by_label_.find(folded(name)); hit != by_label_.end()) return hit->second;
        int index = -1;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
        const bool number = error == std::errc() && end == name.data() + name.size();
        return number && index >= 0 && index < count_ ? index : -1;
    }

  private:
    std::unordered_map<std::string, int> by_label_;
    int count_ = 0, wnids_ = 0;
};

std::string trimmed(const std::string& s) {
    const size_t a = s.find_first_not_of(" \r\t"), b = s.find_last_not_of(" \r\t");
    return a == std::string::npos ? std::string() : s.substr(a, b - a + 1);
}

// The first cell of `rest`, which is left with what comes behind its separator. Quotes as in RFC 4180.
bool take_cell(std::string& rest, const char* separators, std::string& cell) {
    cell.clear();
    rest = trimmed(rest);
    size_t at = 0;
    if (!rest.empty() && rest[0] == '"') {
        for (at = 1;; ++at) {
            if (at >= rest.size()) return false;
            if (rest[at] != '"') {
                cell += rest[at];
            } else if (at + 1 < rest.size() && rest[at + 1] == '"') {
                cell += rest[++at];
            } else {
                break;
            }
        }
        rest = trimmed(rest.substr(at + 1));
        if (!rest.empty() && std::string_view(separators).find(rest[0]) != std::string_view::npos)
            rest.erase(0, 1);
        return true;
    }
    at = rest.find_first_of(separators);
    cell = trimmed(rest.substr(0, at));
    rest = at == std::string::npos ? std::string() : rest.substr(at + 1);
    return true;
}

// "cat_1.png,cat" -> {file, label}. Without comma, semicolon and tab the last space separates: file names may
// hold spaces. A label without quotes may hold commas ("x.png,tench, Tinca tinca").
bool split_line(const std::string& line, std::string& file, std::string& label) {
    std::string rest = line;
    const size_t behind_quotes = line[0] == '"' ? std::min(line.find('"', 1), line.size()) : 0;
    size_t separator = line.find('\t', behind_quotes);
    if (separator == std::string::npos) separator = line.find_first_of(",;", behind_quotes);
    if (separator == std::string::npos && line[0] != '"') {
        const std::string whole = trimmed(line);
        const size_t space = whole.find_last_of(' ');
        if (space == std::string::npos) return false;
        file = trimmed(whole.substr(0, space));
        rest = whole.substr(space + 1);
    } else {
        const char only[2] = {separator == std::string::npos ? ' ' : line[separator], '\0'};
        if (!take_cell(rest, only, file)) return false;
    }
    label = trimmed(rest);
    if (!label.empty() && label[0] == '"' && (!take_cell(rest, ",;\t", label))) return false;
    return !file.empty() && !label.empty();
}

std::string without_ending(const std::string& file) {
    const size_t dot = file.find_last_of('.'), slash = file.find_last_of('/');
    return dot == std::string::npos || (slash != std::string::npos && dot < slash) ? file
                                                                                   : file.substr(0, dot);
}

void read_labels(Dataset& d, const fs::path& labels, const Classes& classes) {
    std::ifstream in(labels, std::ios::binary);
    if (!in || fs::is_directory(labels)) throw Error("cannot open the labels file", labels.string());
    std::unordered_map<std::string, LabelledPicture*> by_file, by_stem;
    for (auto& p : d.pictures) {
        by_file.emplace(p.file, &p);
        const auto [hit, fresh] = by_stem.emplace(without_ending(p.file), &p);
        if (!fresh) hit->second = nullptr;  // two pictures of one name: only the ending tells them apart
    }
    std::string line, file, label;
    int64_t found = 0;
    for (int64_t number = 1; std::getline(in, line); ++number) {
        if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);  // a spreadsheet's mark
        if (line.find_first_not_of(" \r\t") == std::string::npos || line[0] == '#') continue;
        const std::string where = "line " + std::to_string(number);
        if (!split_line(line, file, label)) throw Error(where + " is not 'file label'", labels.string());
        const std::string name = fs::path(file).lexically_normal().generic_string();
        LabelledPicture* picture = nullptr;
        if (const auto exact = by_file.find(name); exact != by_file.end())
            picture = exact->second;
        else if (const auto stem = by_stem.find(name); stem != by_stem.end())
            picture = stem->second;
        const int index = classes.find(label);
        if (index < 0) {
            if (number == 1 && !picture) continue;  // a header
            throw Error(where + " names '" + label + "', which is no class of the model", labels.string());
        }
        if (!picture) {
            ++d.without_picture;
            continue;
        }
        if (picture->label >= 0) throw Error(where + " names " + file + " again", labels.string());
        picture->label = index;
        ++found;
    }
    if (in.bad()) throw Error("the labels file cannot be read", labels.string());
    if (!found) throw Error("the labels file names no picture of " + d.folder.string(), labels.string());
    d.labelled = true;
    d.layout = "labels file " + labels.filename().string();
}

// The class of the first folder on the way to the picture that is called like one.
int class_of_folders(const std::string& file, const Classes& classes,
                     std::unordered_map<std::string, int>& known) {
    const size_t end = file.find_last_of('/');
    if (end == std::string::npos) return -1;
    const auto [hit, fresh] = known.emplace(file.substr(0, end), -1);
    for (size_t begin = 0; fresh && begin < end && hit->second < 0;) {
        const size_t slash = std::min(file.find('/', begin), end);
        hit->second = classes.find(file.substr(begin, slash - begin));
        begin = slash + 1;
    }
    return hit->second;
}

}  // namespace

Dataset open_dataset(const fs::path& folder, const fs::path& labels, const ModelInfo& model) {
    Dataset d;
    d.folder = folder;
    for (const auto& file : list_pictures(folder))
        d.pictures.push_back({file.lexically_relative(folder).generic_string(), -1});
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
        p.label = class_of_folders(p.file, classes, known);
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
