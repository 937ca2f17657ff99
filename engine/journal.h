// SPDX-License-Identifier: Apache-2.0
// The journal of an evaluation: a header line, then one JSON line per picture, in the order of the pictures.
// A run killed at any point leaves whole lines and at most one broken last one, which the next run cuts off.
#pragma once
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/evaluation.h"

namespace ivit {

// One line after the other, so that memory does not grow with the pictures.
class JournalReader {
  public:
    // Reads the header. An empty file, or one whose header was cut short by a kill, has none: header() is
    // null then. Throws Error for a file that is no journal.
    explicit JournalReader(const std::filesystem::path& file);

    const Json& header() const { return header_; }
    const std::filesystem::path& file() const { return file_; }
    // False after the last whole line. Throws Error for a line that is broken.
    bool next(PictureRecord& record);
    std::uintmax_t good_bytes() const { return good_bytes_; }  // up to the end of the last line read

  private:
    bool whole_line(std::string& line);
    std::filesystem::path file_;
    std::ifstream in_;
    Json header_;
    size_t configurations_ = 0;
    int64_t line_ = 0;
    std::uintmax_t good_bytes_ = 0;
};

class JournalWriter {
  public:
    // Opens for appending after `good_bytes` (0: writes the header first). Throws Error: not writable, a full
    // disk, another process that writes it.
    JournalWriter(const std::filesystem::path& file, std::uintmax_t good_bytes, const Json& header);
    ~JournalWriter();
    JournalWriter(const JournalWriter&) = delete;
    JournalWriter& operator=(const JournalWriter&) = delete;
    void append(const std::vector<PictureRecord>& records);  // throws Error (full disk)

  private:
    void write(const std::string& text);
    std::filesystem::path file_;
    int fd_ = -1;
};

}  // namespace ivit
