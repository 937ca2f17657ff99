// SPDX-License-Identifier: Apache-2.0
// Resampling against Pillow: pictures made by formula against tests/golden/pillow_resize.json (written by
// tools/pillow_reference.py), and the project's photos against a Pillow on this machine where there is one.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/error.h"
#include "engine/image.h"

using namespace ivit;
namespace fs = std::filesystem;

namespace {

// As make() in tools/pillow_reference.py.
Image make(const std::string& kind, int width, int height) {
    Image image;
    image.width = width;
    image.height = height;
    const size_t count = static_cast<size_t>(width) * static_cast<size_t>(height) * 3;
    auto& out = image.rgb;
    out.reserve(count + 8);
    if (kind == "noise") {
        uint64_t state = static_cast<uint64_t>(width) * 1000003 + static_cast<uint64_t>(height);
        while (out.size() < count) {
            uint64_t z = state += 0x9E3779B97F4A7C15;
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
            z = (z ^ z >> 27) * 0x94D049BB133111EB;
            z ^= z >> 31;
            for (int i = 0; i < 8; ++i) out.push_back(static_cast<uint8_t>(z >> 8 * i));
        }
        out.resize(count);
        return image;
    }
    const auto put = [&](int v) { out.push_back(static_cast<uint8_t>(v)); };
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            const bool gradient = kind == "gradient";
            put(gradient ? x * 255 / std::max(width - 1, 1) : (x / 3 + y / 3) % 2 * 255);
            put(gradient ? y * 255 / std::max(height - 1, 1) : (x + y) % 2 * 255);
            put(gradient ? (x + y) & 255 : ((x / 8 ^ y / 8) & 1) * 255);
        }
    return image;
}

Image make(const nlohmann::json& c) { return make(c["kind"], c["from"][0], c["from"][1]); }

std::string hex(const std::vector<uint8_t>& bytes) {
    std::string text;
    for (const uint8_t b : bytes) {
        text += "0123456789abcdef"[b >> 4];
        text += "0123456789abcdef"[b & 15];
    }
    return text;
}

std::string fnv1a(const std::vector<uint8_t>& bytes) {
    uint64_t h = 0xCBF29CE484222325;
    for (const uint8_t b : bytes) h = (h ^ b) * 0x100000001B3;
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(h));
    return text;
}

// To the bit: the arithmetic is integer, and the weights come of the same double operations.
void check_same(const nlohmann::json& c, const std::vector<uint8_t>& got) {
    INFO(c["kind"] << " " << c["from"] << (c.contains("to") ? " to " + c["to"].dump() : ""));
    if (c.contains("hex"))
        CHECK((c["hex"] == hex(got)));
    else
        CHECK(c["fnv1a"] == fnv1a(got));
}

nlohmann::json golden() {
    std::ifstream in(fs::path(IVIT_SOURCE_DIR) / "tests/golden/pillow_resize.json");
    REQUIRE(in);
    return nlohmann::json::parse(in);
}

// The part of `image` from (x, y), width x height.
std::vector<uint8_t> cropped(const Image& image, int x, int y, int width, int height) {
    std::vector<uint8_t> out;
    for (int row = y; row < y + height; ++row) {
        const auto from = image.rgb.begin() + (static_cast<ptrdiff_t>(row) * image.width + x) * 3;
        out.insert(out.end(), from, from + width * 3);
    }
    return out;
}

fs::path shared_data() {
    if (const char* given = std::getenv("IVIT_SHARED_DATA")) return given;
    return fs::path(IVIT_SOURCE_DIR) / "../shared/data";
}

}  // namespace

TEST_CASE("resize_bicubic equals Pillow") {
    const nlohmann::json expected = golden();
    for (const auto& c : expected["resize"]) {
        const Image out = resize_bicubic(make(c), c["to"][0], c["to"][1]);
        CHECK(out.width == c["to"][0]);
        CHECK(out.height == c["to"][1]);
        check_same(c, out.rgb);
    }
}

TEST_CASE("preprocess equals Pillow's resize and crop") {
    const nlohmann::json expected = golden();
    for (const auto& c : expected["preprocess"]) check_same(c, preprocess(make(c), c["size"], c["crop_pct"]));
}

TEST_CASE("preprocess computes exactly the crop's part of the whole") {
    const Image image = make("noise", 203, 97);
    const Image whole =
        resize_bicubic(image, 256 * 203 / 97, 256);  // 535 wide: (535 - 224) / 2 = 155.5 -> 156
    CHECK(preprocess(image, 224, 0.875) == cropped(whole, 156, 16, 224, 224));
}

TEST_CASE("a picture of the right size passes unchanged") {
    const Image image = make("noise", 224, 224);
    CHECK(preprocess(image, 224, 1.0) == image.rgb);
    CHECK(resize_bicubic(image, 224, 224).rgb == image.rgb);
}

TEST_CASE("one colour stays that colour at every ratio") {
    for (const int value : {0, 1, 127, 254, 255})
        for (const int side : {1, 2, 5, 31, 32, 33, 100, 777}) {
            Image image{side, 3,
                        std::vector<uint8_t>(static_cast<size_t>(side) * 9, static_cast<uint8_t>(value))};
            for (const uint8_t v : preprocess(image, 32, 0.875)) REQUIRE(v == value);
        }
}

TEST_CASE("extreme pictures cost what their crop costs") {
    for (const auto& [w, h] : {std::pair{20000, 100}, {100, 20000}, {1, 100000}, {1 << 20, 1}, {1 << 20, 64}})
        CHECK(preprocess(make("noise", w, h), 224, 0.875).size() == 224 * 224 * 3);
    CHECK(preprocess(make("noise", 3, 5), 1, 0.01).size() == 3);
    CHECK(resize_bicubic(make("noise", 3, 5), 3000, 1).rgb.size() == 9000);
}

TEST_CASE("bad arguments of resampling are refused in one sentence") {
    const Image image = make("noise", 4, 4);
    for (const double crop : {0.0, -1.0, 1.5, 1e-300, std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(preprocess(image, 32, crop), Error);
    for (const int size : {0, -5, 5000, std::numeric_limits<int>::max()})
        CHECK_THROWS_AS(preprocess(image, size, 0.875), Error);
    CHECK_THROWS_AS(resize_bicubic(image, 0, 5), Error);
    CHECK_THROWS_AS(resize_bicubic(image, 5, -1), Error);
    CHECK_THROWS_AS(resize_bicubic(image, 1 << 30, 1 << 30), Error);
    CHECK_THROWS_WITH(preprocess(Image{}, 32, 0.875), "this picture has no pixels");
    CHECK_THROWS_AS(preprocess(Image{3, 3, std::vector<uint8_t>(26)}, 32, 0.875), Error);
}

TEST_CASE("preprocess may run in several threads at once", "[threads]") {
    const Image image = make("noise", 900, 700);
    const std::vector<uint8_t> expected = preprocess(image, 224, 0.875);
    std::vector<std::vector<uint8_t>> got(4);
    std::vector<std::thread> threads;
    for (auto& result : got) threads.emplace_back([&] { result = preprocess(image, 224, 0.875); });
    for (std::thread& t : threads) t.join();
    for (const auto& result : got) CHECK(result == expected);
}

TEST_CASE("photos come out as with Pillow") {
    const char* given = std::getenv("IVIT_PYTHON");
    const std::string python = given ? given : "python3";
    const fs::path photos = shared_data() / "photos";
    if (!fs::is_directory(photos)) {
        WARN("skipped: no photos (IVIT_SHARED_DATA)");
        return;
    }
    if (std::system((python + " -c 'import PIL' 2>/dev/null").c_str()) != 0) {
        WARN("skipped: no python3 with Pillow (IVIT_PYTHON)");
        return;
    }
    const fs::path raw = fs::temp_directory_path() / ("ivit_pillow_" + std::to_string(getpid()) + ".raw");
    int pictures = 0, greatest = 0;
    int64_t different = 0, pixels = 0;
    for (const fs::path& photo : list_pictures(photos)) {
        const Image image = read_image(photo);
        for (const auto& [size, crop] : {std::pair{32, 1.0}, {224, 0.875}, {224, 1.0}}) {
            const std::string command = python + " '" + IVIT_SOURCE_DIR +
                                        "/tools/pillow_reference.py' --photo '" + photo.string() +
                                        "' --size " + std::to_string(size) + " --crop " +
                                        std::to_string(crop) + " --out '" + raw.string() + "'";
            REQUIRE(std::system(command.c_str()) == 0);
            std::ifstream in(raw, std::ios::binary);
            const std::vector<uint8_t> expected(std::istreambuf_iterator<char>(in), {});
            const std::vector<uint8_t> got = preprocess(image, size, crop);
            REQUIRE(got.size() == expected.size());
            int worst = 0;
            for (size_t i = 0; i < got.size(); ++i) {
                worst = std::max(worst, std::abs(got[i] - expected[i]));
                different += got[i] != expected[i];
            }
            INFO(photo << " at " << size);
            CHECK(worst <= 1);
            greatest = std::max(greatest, worst);
            pixels += static_cast<int64_t>(got.size());
            ++pictures;
        }
    }
    fs::remove(raw);
    std::printf("Pillow on photos: %d inputs, %lld of %lld bytes differ, by %d at most\n", pictures,
                static_cast<long long>(different), static_cast<long long>(pixels), greatest);
}

TEST_CASE("time of preprocessing a 12-megapixel picture (printed, not judged)") {
    const Image image = make("noise", 4000, 3000);
    for (const int size : {224, 32}) {
        double best = 1e9;
        for (int i = 0; i < 5; ++i) {
            const auto start = std::chrono::steady_clock::now();
            CHECK(preprocess(image, size, 0.875).size() == static_cast<size_t>(size * size * 3));
            const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
            best = std::min(best, took.count());
        }
        std::printf("preprocess 4000 x 3000 to %d: %.1f ms\n", size, best);
    }
}
