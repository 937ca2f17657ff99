// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <numeric>

#include <unistd.h>

#include "engine/safetensors.h"
#include "engine/weights.h"

using namespace ivit;

namespace {

// Kilobytes of `file` that are resident in this process.
long resident(const std::filesystem::path& file) {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    bool ours = false;
    long kilobytes = 0;
    while (std::getline(maps, line)) {
        if (line.find('-') != std::string::npos && line.find(' ') > 8 && line[0] != 'R' && line[0] != 'A')
            ours = line.find(file.filename().string()) != std::string::npos;
        if (ours && line.rfind("Rss:", 0) == 0) kilobytes += std::stol(line.substr(4));
    }
    return kilobytes;
}

}  // namespace

TEST_CASE(
    "weights: of a file lie where it is mapped, stay when the reader goes, and leave memory when let go") {
    const auto file = std::filesystem::temp_directory_path() /
                      ("ivit_weights_" + std::to_string(getpid()) + ".safetensors");
    constexpr int64_t n = 1 << 20;
    TensorOut out{"w", "I8", {n}, std::vector<std::byte>(n)};
    for (int64_t i = 0; i < n; ++i) out.bytes[static_cast<size_t>(i)] = static_cast<std::byte>(i * 37);
    write_safetensors(file, {out}, {});

    Weights w;
    {
        const auto reader = Safetensors::open(file);
        w = reader->weights("w", {n});
        CHECK(static_cast<const void*>(w.data()) == reader->get("w").bytes.data());
    }
    const auto sum = [&] { return std::accumulate(w.begin(), w.end(), int64_t{0}); };
    const int64_t before = sum();
    CHECK(resident(file) >= 1000);
    w.let_go(w.size() / 2);
    CHECK(resident(file) < 600);
    CHECK(resident(file) > 400);
    w.let_go();
    CHECK(resident(file) < 100);
    CHECK(sum() == before);  // back from the file
    std::filesystem::remove(file);
    w.let_go();
    CHECK(sum() == before);  // a file that is gone is kept by its mapping

    std::vector<int8_t> copy(w.begin(), w.end());
    Weights own(copy);
    CHECK(own == w);
    own.let_go();
    CHECK(own == w);
    copy[5] = static_cast<int8_t>(copy[5] + 1);
    CHECK_FALSE(Weights(copy) == w);
    copy.pop_back();
    CHECK_FALSE(Weights(copy) == w);
}
