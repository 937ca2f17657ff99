// SPDX-License-Identifier: Apache-2.0
// The journal of an evaluation: a header line, then one JSON line per picture. A run killed at any point
// leaves whole lines and at most one broken last one, which the next run cuts off.
#pragma once
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "engine/evaluate.h"

namespace ivit {

struct JournalContent {
    Json header;
    std::vector<PictureRecord> records;
    std::uintmax_t good_bytes = 0;  // up to the end of the last whole line
};
// Throws Error for a file that is no journal.
JournalContent read_journal(const std::filesystem::path& file);

class JournalWriter {
  public:
    // Opens for appending after `good_bytes` (0: writes the header first). Throws Error.
    JournalWriter(const std::filesystem::path& file, std::uintmax_t good_bytes, const Json& header);
    ~JournalWriter();
    void append(const std::vector<PictureRecord>& records);  // throws Error (full disk)

  private:
    void write(const std::string& text);
    std::filesystem::path file_;
    int fd_ = -1;
};

}  // namespace ivit
