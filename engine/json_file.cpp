// SPDX-License-Identifier: Apache-2.0
#include "engine/json_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit {

nlohmann::ordered_json read_json(const std::filesystem::path& file, const std::string& what) {
    const auto cannot_open = [&](const std::string& why) {
        return Error("cannot open " + what + ": " + why, file.string());
    };
    std::error_code none;
    if (std::filesystem::is_directory(file, none)) throw cannot_open("this is a folder");
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) throw cannot_open(std::strerror(errno));
    auto j = nlohmann::ordered_json::parse(in, nullptr, false);
    if (j.is_discarded()) throw Error(what + " is not JSON", file.string());
    return j;
}

void write_json(const nlohmann::ordered_json& j, const std::filesystem::path& file) {
    const std::string text = j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    write_atomically(file, std::as_bytes(std::span(text)));
}

}  // namespace ivit
