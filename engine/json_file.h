// SPDX-License-Identifier: Apache-2.0
// JSON files that people hand in and take away.
#pragma once
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

namespace ivit {

// Parses the whole file. Throws Error "cannot open <what>: why" or "<what> is not JSON"; what: "the report".
nlohmann::ordered_json read_json(const std::filesystem::path& file, const std::string& what);

// Indented, atomically (write_atomically). Text that is not UTF-8, which file names need not be, becomes it.
void write_json(const nlohmann::ordered_json& j, const std::filesystem::path& file);

}  // namespace ivit
