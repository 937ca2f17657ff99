// SPDX-License-Identifier: Apache-2.0
// A file that says which class each picture is of, in the many forms people have: one picture a line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ivit {

// "file label" lines, separated by comma, semicolon, tab or space (the last one: file names may hold spaces),
// either part in double quotes. A label without quotes may hold commas ("x.png,tench, Tinca tinca"). A header
// that names the columns ("id,file,label", "class;path") says where they are; lines that are empty or begin
// with '#' are passed over.
class LabelsFile {
  public:
    // Throws Error when it cannot be opened.
    explicit LabelsFile(const std::filesystem::path& file);
    // The next line that says something; false at the end. Throws Error naming a line that is not 'file
    // label', and for a file that cannot be read.
    bool next(std::string& file, std::string& label);
    std::string where() const { return "line " + std::to_string(number_); }  // of the last line
    // The last line is the first one and no header that was understood: it may still be one.
    bool first() const { return number_ == 1 && !columns_; }

  private:
    bool take_columns(const std::string& line);
    bool split(const std::string& line, std::string& file, std::string& label) const;

    std::filesystem::path path_;
    std::ifstream in_;
    int64_t number_ = 0;
    bool columns_ = false;  // a header named them
    char separator_ = ',';
    size_t file_column_ = 0, label_column_ = 1, count_ = 2;
};

}  // namespace ivit
