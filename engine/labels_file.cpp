// SPDX-License-Identifier: Apache-2.0
#include "engine/labels_file.h"

#include <algorithm>
#include <array>

#include "engine/error.h"

namespace ivit {

namespace {

std::string trimmed(const std::string& s) {
    const size_t a = s.find_first_not_of(" \r\t"), b = s.find_last_not_of(" \r\t");
    return a == std::string::npos ? std::string() : s.substr(a, b - a + 1);
}

// The first cell of `rest`, which is left with what comes behind its separator. Quotes as in RFC 4180.
bool take_cell(std::string& rest, const char* separators, std::string& cell) {
    cell.clear();
    const size_t begin = rest.find_first_not_of(' ');
    if (begin != std::string::npos && rest[begin] == '"') {
        size_t at = begin + 1;
        for (;; ++at) {
            if (at >= rest.size()) return false;
            if (rest[at] != '"') {
                cell += rest[at];
            } else if (at + 1 < rest.size() && rest[at + 1] == '"') {
                cell += rest[++at];
            } else {
                break;
            }
        }
        at = rest.find_first_of(separators, at + 1);
        rest = at == std::string::npos ? std::string() : rest.substr(at + 1);
        return true;
    }
    const size_t at = rest.find_first_of(separators);
    cell = trimmed(rest.substr(0, at));
    rest = at == std::string::npos ? std::string() : rest.substr(at + 1);
    return true;
}

// "File_Name" -> "filename".
std::string plain(const std::string& cell) {
    std::string s;
    for (const char c : cell)
        if (c != '_' && c != ' ' && c != '-')
            s += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return s;
}

// Where the first of `names` stands among the cells; cells.size() where none does.
template <size_t n>
size_t column(const std::vector<std::string>& cells, const std::array<const char*, n>& names) {
    for (const char* name : names)
        for (size_t i = 0; i < cells.size(); ++i)
            if (plain(cells[i]) == name) return i;
    return cells.size();
}

}  // namespace

LabelsFile::LabelsFile(const std::filesystem::path& file) : path_(file), in_(file, std::ios::binary) {
    std::error_code none;
    if (!in_ || std::filesystem::is_directory(file, none) || std::filesystem::is_character_file(file, none))
        throw Error("cannot open the labels file", file.string());
}

// True when the line is a header that names both columns.
bool LabelsFile::take_columns(const std::string& line) {
    static constexpr std::array file_names = {"file", "filename", "filepath", "path",  "image",
                                              "img",  "imageid",  "picture",  "photo", "name"};
    static constexpr std::array label_names = {"label",     "class",     "wnid",        "synset",
                                               "classid",   "labelid",   "target",      "category",
                                               "classname", "labelname", "groundtruth", "predictionstring"};
    for (const char* separator : {"\t", ",", ";"}) {
        if (line.find(separator[0]) == std::string::npos) continue;
        std::vector<std::string> cells;
        std::string rest = trimmed(line), cell;
        while (!rest.empty() && take_cell(rest, separator, cell)) cells.push_back(cell);
        const size_t f = column(cells, file_names), l = column(cells, label_names);
        if (f == cells.size() || l == cells.size() || f == l) continue;
        columns_ = true;
        separator_ = separator[0];
        file_column_ = f;
        label_column_ = l;
        count_ = cells.size();
        return true;
    }
    return false;
}

bool LabelsFile::split(const std::string& line, std::string& file, std::string& label) const {
    std::string rest = line;
    file.clear();
    label.clear();
    if (columns_) {
        const char only[2] = {separator_, '\0'};
        std::string cell;
        for (size_t i = 0; i < count_ && !rest.empty(); ++i) {
            // What is last may hold separators of its own.
            const bool quoted = trimmed(rest).starts_with('"');
            if (i + 1 == count_ && !quoted) {
                cell = trimmed(rest);
            } else if (!take_cell(rest, only, cell)) {
                return false;
            }
            if (i == file_column_) file = cell;
            if (i == label_column_) label = cell;
        }
        return !file.empty() && !label.empty();
    }
    const size_t behind_quotes = line[0] == '"' ? std::min(line.find('"', 1), line.size()) : 0;
    size_t separator = line.find('\t', behind_quotes);
    if (separator == std::string::npos) separator = line.find_first_of(",;", behind_quotes);
    if (separator == std::string::npos && line[0] != '"') {
        const std::string whole = trimmed(line);
        const size_t space = whole.find_last_of(" \t");
        if (space == std::string::npos) return false;
        file = trimmed(whole.substr(0, space));
        rest = whole.substr(space + 1);
    } else {
        const char only[2] = {separator == std::string::npos ? ' ' : line[separator], '\0'};
        if (!take_cell(rest, only, file)) return false;
    }
    label = trimmed(rest);
    if (!label.empty() && label[0] == '"' && !take_cell(rest, ",;\t", label)) return false;
    return !file.empty() && !label.empty();
}

bool LabelsFile::next(std::string& file, std::string& label) {
    std::string line;
    while (std::getline(in_, line)) {
        if (++number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);  // a spreadsheet's mark
        if (line.find_first_not_of(" \r\t") == std::string::npos || line[0] == '#') continue;
        if (number_ == 1 && take_columns(line)) continue;
        if (!split(line, file, label)) throw Error(where() + " is not 'file label'", path_.string());
        return true;
    }
    if (in_.bad()) throw Error("the labels file cannot be read", path_.string());
    return false;
}

}  // namespace ivit
