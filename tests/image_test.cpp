// SPDX-License-Identifier: Apache-2.0
// Decoding: pictures of every format made here, whole and broken.
#include "engine/image.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>

#include "engine/error.h"
#include "tests/made_pictures.h"
#include "tests/temporary_folder.h"

using namespace ivit;
using namespace ivit::test;
namespace fs = std::filesystem;

namespace {

// The error that `run` throws; fails when it throws none.
Error error_of(const std::function<void()>& run) {
    try {
        run();
    } catch (const Error& e) {
        return e;
    }
    FAIL("no error");
    return Error("");
}

// What is written to stderr while it lives, by anybody.
class Stderr {
  public:
    Stderr() {
        std::cerr.rdbuf(nullptr);  // as in our programs, for OpenCV
        std::fflush(stderr);
        dup2(fileno(file_), STDERR_FILENO);
    }
    ~Stderr() {
        std::cerr.rdbuf(cerr_);
        dup2(before_, STDERR_FILENO);
        close(before_);
        std::fclose(file_);
    }
    Stderr(const Stderr&) = delete;
    std::string text() const {
        std::fflush(stderr);
        std::string s(static_cast<size_t>(lseek(fileno(file_), 0, SEEK_END)), ' ');
        REQUIRE(pread(fileno(file_), s.data(), s.size(), 0) == static_cast<ssize_t>(s.size()));
        return s;
    }

  private:
    std::streambuf* cerr_ = std::cerr.rdbuf();
    std::FILE* file_ = std::tmpfile();
    int before_ = dup(STDERR_FILENO);
};

std::string sentence(const Bytes& bytes) {
    const Error e = error_of([&] { decode_image(bytes, "some.file"); });
    CHECK(e.where() == "some.file");
    CHECK(e.sentence().find('\n') == std::string::npos);
    CHECK(e.sentence().back() != '.');
    return e.sentence();
}

}  // namespace

TEST_CASE("every format decodes to RGB") {
    for (const auto& extension : all_formats) {
        INFO(extension);
        const Image image = decode_image(encode(extension, squares(16)), "x");
        CHECK(image.width == 48);
        CHECK(image.height == 32);
        CHECK(layout(image, 16) == "012/345");
    }
    for (const auto& extension : lossless) {
        const cv::Mat m = squares(5);
        CHECK(decode_image(encode(extension, m), "x").rgb == rgb_bytes(m));
    }
}

TEST_CASE("EXIF orientation is applied") {
    for (int o = 1; o <= 8; ++o) {
        INFO("orientation " << o);
        for (const bool little : {true, false})
            CHECK(layout(decode_image(with_exif(encode(".jpg", squares(16)), exif(o, little)), "x"), 16) ==
                  seen[o]);
        CHECK(layout(
                  decode_image(png(3, 2, 8, 2, rgb_bytes(squares(1)), png_chunk("eXIf", exif(o, true))), "x"),
                  1) == seen[o]);
        for (const int bits : {8, 16}) {
            const Bytes samples = rgb_bytes(bits == 8 ? squares(4) : squares<uint16_t>(4, 3, 257));
            TiffOptions options;
            options.bits = bits;
            options.orientation = o;
            INFO(bits << " bit TIFF");
            CHECK(layout(decode_image(tiff(12, 8, samples, options), "x"), 4) == seen[o]);
        }
        // WebP: VP8X with the EXIF flag, the picture, EXIF.
        const Bytes plain = encode(".webp", squares(16), {cv::IMWRITE_WEBP_QUALITY, 101});
        Bytes body, block = exif(o, false);
        put(body, "WEBPVP8X");
        put(body, 10, 4, true);
        put(body, 8, 4, true);
        put(body, 47, 3, true);
        put(body, 31, 3, true);
        body.insert(body.end(), plain.begin() + 12, plain.end());
        put(body, "EXIF");
        put(body, block.size(), 4, true);
        body.insert(body.end(), block.begin(), block.end());
        Bytes webp;
        put(webp, "RIFF");
        put(webp, body.size(), 4, true);
        webp.insert(webp.end(), body.begin(), body.end());
        CHECK(layout(decode_image(webp, "x"), 16) == seen[o]);
    }
}

TEST_CASE("broken EXIF does not break the picture") {
    const Bytes jpeg = encode(".jpg", squares(16));
    for (const Bytes& block :
         {Bytes{}, Bytes{'I', 'I'}, exif(0, true), exif(9, false), exif(65535, true), Bytes(70, 0xFF)})
        CHECK(layout(decode_image(with_exif(jpeg, block), "x"), 16) == "012/345");
    Bytes far = exif(6, true);
    far[4] = far[5] = far[6] = far[7] = 0xFF;  // directory at 4 GB
    CHECK(layout(decode_image(with_exif(jpeg, far), "x"), 16) == "012/345");
}

TEST_CASE("grey is spread to three channels") {
    cv::Mat grey(4, 4, CV_8UC1);
    for (int i = 0; i < 16; ++i) grey.data[i] = static_cast<uint8_t>(i * 16);
    for (const auto& extension : lossless) {
        const Image image = decode_image(encode(extension, grey), "x");
        for (size_t i = 0; i < 48; ++i) REQUIRE(image.rgb[i] == i / 3 * 16);
    }
    CHECK(decode_image(encode(".jpg", grey), "x").rgb.size() == 48);
    CHECK(decode_image(png(8, 1, 1, 0, {0x80}), "x").rgb[0] == 255);  // one bit
    CHECK(decode_image(png(8, 1, 1, 0, {0x80}), "x").rgb[3] == 0);
}

TEST_CASE("alpha goes over white") {
    cv::Mat m(1, 3, CV_8UC4);
    m.at<cv::Vec4b>(0, 0) = {10, 20, 30, 255};
    m.at<cv::Vec4b>(0, 1) = {10, 20, 30, 0};
    m.at<cv::Vec4b>(0, 2) = {0, 100, 200, 128};
    const Bytes expected = {30, 20, 10, 255, 255, 255, 227, 177, 127};
    CHECK(decode_image(encode(".png", m), "x").rgb == expected);
    const Image webp = decode_image(encode(".webp", m, {cv::IMWRITE_WEBP_QUALITY, 101}), "x");
    CHECK(Bytes(webp.rgb.begin() + 6, webp.rgb.end()) == Bytes(expected.begin() + 6, expected.end()));
    CHECK(webp.rgb[3] == 255);
    // Grey and alpha.
    CHECK(decode_image(png(2, 1, 8, 4, {100, 255, 100, 0}), "x").rgb == Bytes{100, 100, 100, 255, 255, 255});
    // Palette of two colours, one see-through.
    Bytes palette = png_chunk("PLTE", {1, 2, 3, 4, 5, 6});
    CHECK(decode_image(png(2, 1, 8, 3, {0, 1}, palette), "x").rgb == Bytes{1, 2, 3, 4, 5, 6});
    const Bytes see_through = png_chunk("tRNS", {255, 0});
    palette.insert(palette.end(), see_through.begin(), see_through.end());
    CHECK(decode_image(png(2, 1, 8, 3, {0, 1}, palette), "x").rgb == Bytes{1, 2, 3, 255, 255, 255});
}

TEST_CASE("alpha in TIFF goes over white, multiplied already or not") {
    const auto close = [](const Bytes& got, const Bytes& expected) {
        REQUIRE(got.size() == expected.size());
        for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) <= 1);
    };
    for (const int bits : {8, 16})
        for (const int extra : {1, 2}) {  // associated, unassociated
            INFO(bits << " bits, ExtraSamples " << extra);
            const int r = extra == 1 ? 100 : 200, g = extra == 1 ? 50 : 100;
            Bytes samples;
            for (const int v : {r, g, 0, 128, 30, 20, 10, 255})
                put(samples, static_cast<uint64_t>(bits == 8 ? v : v * 257), bits / 8, true);
            close(decode_image(tiff(2, 1, samples, {bits, 4, 1, extra, 1}), "x").rgb,
                  {227, 177, 127, 30, 20, 10});
        }
}

TEST_CASE("sixteen bits become eight") {
    for (const auto& extension : {".png", ".tiff"}) {
        CHECK(layout(decode_image(encode(extension, squares<uint16_t>(4, 3, 257)), "x"), 4) == "012/345");
        cv::Mat grey(1, 4, CV_16UC1);
        for (int i = 0; i < 4; ++i) grey.ptr<uint16_t>()[i] = static_cast<uint16_t>(i * 0x5555);
        CHECK(decode_image(encode(extension, grey), "x").rgb ==
              Bytes{0, 0, 0, 0x55, 0x55, 0x55, 0xAA, 0xAA, 0xAA, 255, 255, 255});
    }
}

TEST_CASE("samples without a white are refused") {
    cv::Mat m(2, 2, CV_32FC3, cv::Scalar(0.5, std::nan(""), 1e30));
    CHECK(sentence(encode(".tiff", m)).find("floating point") != std::string::npos);
    Bytes samples(2 * 2 * 3 * 2, 0x10);
    CHECK_FALSE(sentence(tiff(2, 2, samples, {16, 3, 1, -1, 2})).empty());  // signed, if this OpenCV reads it
}

TEST_CASE("32-bit BMP: a zero fourth byte is not transparency") {
    Bytes b;
    put(b, "BM");
    put(b, 54 + 8, 4, true);
    put(b, 0, 4, true);
    put(b, 54, 4, true);
    put(b, 40, 4, true);
    put(b, 2, 4, true);
    put(b, 1, 4, true);
    put(b, 1, 2, true);
    put(b, 32, 2, true);
    for (int i = 0; i < 6; ++i) put(b, 0, 4, true);
    for (const int v : {1, 2, 3, 0, 4, 5, 6, 0}) b.push_back(static_cast<uint8_t>(v));
    CHECK(decode_image(b, "x").rgb == Bytes{3, 2, 1, 6, 5, 4});
}

TEST_CASE("the smallest and the longest pictures") {
    for (const auto& extension : all_formats) {
        INFO(extension);
        CHECK(decode_image(encode(extension, cv::Mat(1, 1, CV_8UC3, cv::Scalar(1, 2, 3))), "x").rgb.size() ==
              3);
        const auto [w, h] = extension == ".webp" ? std::pair{16383, 100} : std::pair{20000, 100};
        const Image wide = decode_image(encode(extension, cv::Mat(h, w, CV_8UC3, cv::Scalar(9, 9, 9))), "x");
        CHECK(wide.width == w);
        CHECK(wide.height == h);
        const Image tall = decode_image(encode(extension, cv::Mat(w, h, CV_8UC3, cv::Scalar(9, 9, 9))), "x");
        CHECK(tall.height == w);
    }
}

TEST_CASE("pictures of too many pixels are refused before they are decoded") {
    // Headers alone: nothing here has the pixels it promises.
    for (const auto& [w, h] : {std::pair{20000, 20000}, {1 << 21, 1}, {0x7FFFFFFF, 0x7FFFFFFF}}) {
        Bytes b = png(1, 1, 8, 2, {1, 2, 3}), sides;
        put(sides, static_cast<uint64_t>(w), 4, false);
        put(sides, static_cast<uint64_t>(h), 4, false);
        std::copy(sides.begin(), sides.end(), b.begin() + 16);
        const std::string text = sentence(b);
        CHECK(text.find("pixels, more than the") != std::string::npos);
    }
    Bytes jpeg = encode(".jpg", squares(16));
    for (size_t i = 0; i + 9 < jpeg.size(); ++i)
        if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0) {
            for (size_t k = 5; k < 9; ++k) jpeg[i + k] = 0xFF;
            break;
        }
    CHECK(sentence(jpeg) == "this picture has 65535 x 65535 pixels, more than the 200 million that are read");
    CHECK(sentence(tiff(0x7FFFFFFF, 0x7FFFFFFF, Bytes(12), {})).find("more than") != std::string::npos);
    Bytes empty = png(1, 1, 8, 2, {1, 2, 3});
    empty[19] = 0;
    CHECK(sentence(empty) == "this picture has no pixels");
}

TEST_CASE("a JPEG of countless scans is refused") {
    Bytes jpeg = encode(".jpg", squares(16), {cv::IMWRITE_JPEG_PROGRESSIVE, 1});
    size_t scan = 0;
    for (size_t i = 0; i + 1 < jpeg.size(); ++i)
        if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xDA) scan = i;
    REQUIRE(scan > 0);
    const Bytes last(jpeg.begin() + static_cast<ptrdiff_t>(scan), jpeg.end() - 2);
    CHECK(decode_image(jpeg, "x").width == 48);
    for (int i = 0; i < 300; ++i) jpeg.insert(jpeg.end() - 2, last.begin(), last.end());
    CHECK(sentence(jpeg).find("more than 200 scans") != std::string::npos);
}

TEST_CASE("truncated pictures are refused, wherever they end") {
    for (const auto& extension : all_formats) {
        const Bytes whole = encode(extension, squares(16));
        for (size_t size = 0; size < whole.size(); size += std::max<size_t>(1, whole.size() / 300)) {
            INFO(extension << " cut to " << size << " of " << whole.size());
            CHECK_FALSE(sentence(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))).empty());
        }
        const Bytes most(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(whole.size() * 3 / 4));
        CHECK(sentence(most).find("truncated") != std::string::npos);
    }
}

TEST_CASE("damaged pictures are refused or decoded, never a crash, and no library prints what it thinks") {
    const Stderr printed;
    uint64_t state = 1;
    const auto random = [&] {
        return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33;
    };
    for (const auto& extension : all_formats) {
        const Bytes whole = encode(extension, squares(16));
        for (int round = 0; round < 400; ++round) {
            Bytes b = whole;
            for (int i = 0; i < 1 + round % 5; ++i)
                b[random() % (round % 2 ? b.size() : std::min<size_t>(b.size(), 64))] =
                    static_cast<uint8_t>(random());
            try {
                const Image image = decode_image(b, "x");
                REQUIRE(image.rgb.size() ==
                        static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3);
            } catch (const Error&) {
            }
        }
    }
    CHECK(printed.text() == "");
}

TEST_CASE("a picture whose data are damaged is refused with the reason") {
    Bytes png = encode(".png", squares(16));
    png[png.size() - 16] ^= 1;  // IEND is 12 bytes; before it, the checksum of the only IDAT
    CHECK(sentence(png) == "this PNG picture cannot be decoded (IDAT: CRC error)");

    // Half of the only scan, and then the end as if it were whole.
    Bytes jpeg = encode(".jpg", noise(64));
    jpeg.erase(jpeg.begin() + static_cast<ptrdiff_t>(jpeg.size() / 2), jpeg.end() - 2);
    CHECK(sentence(jpeg) ==
          "this JPEG picture cannot be decoded (Corrupt JPEG data: premature end of data segment)");

    // Bytes too many cost nothing; cameras leave some.
    Bytes stray = encode(".jpg", squares(16));
    stray.insert(stray.end() - 2, {0, 0, 0});
    CHECK(layout(decode_image(stray, "x"), 16) == "012/345");
}

TEST_CASE("inks become colours: 255 is no ink") {
    // Adobe's marker, as all who write CMYK leave it; libjpeg writes what it is given.
    CHECK(decode_image(cmyk_jpeg({255, 255, 255, 255}), "x").rgb[0] == 255);
    const Image red = decode_image(cmyk_jpeg({255, 20, 20, 255}), "x");
    CHECK(std::abs(red.rgb[0] - 255) <= 3);
    CHECK(std::abs(red.rgb[1] - 20) <= 3);
    const Image grey = decode_image(cmyk_jpeg({255, 255, 255, 100}), "x");
    CHECK(std::abs(grey.rgb[2] - 100) <= 3);
}

TEST_CASE("what is not a picture is told apart") {
    const auto text = [](const std::string& s) { return sentence(Bytes(s.begin(), s.end())); };
    CHECK(text("") == "the file is empty");
    CHECK(text("x") == "this is not a picture");
    CHECK(text("BM") == "this is not a picture");
    CHECK(text("once upon a time there was a text file") == "this is not a picture");
    CHECK(text("GIF89a and so on") == "this is a GIF file, which is not read");
    CHECK(text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 99\n") ==
          "this is a Git LFS pointer, which stands for the picture until that is fetched");
    CHECK(text(std::string("\0\0\0\x18"
                           "ftypheic",
                           12)) == "this is a HEIC file, which is not read");
    CHECK(text("\xFF\xD8\xFF") == "this JPEG picture ends early: it is truncated");
    CHECK(text("P6\n1 1\n255\nabc") == "this is a PNM file, which is not read");  // OpenCV would
    Bytes hollow = {0xFF, 0xD8, 0xFF, 0xD9};
    CHECK(sentence(hollow) == "this picture has no pixels");
}

TEST_CASE("files that cannot be read are told in one sentence with their name") {
    const TemporaryFolder folder;
    const fs::path good = folder.write("good.png", encode(".png", squares(2)));
    CHECK(read_image(good).width == 6);
    CHECK(read_image(folder.write("wrong extension.txt", encode(".jpg", squares(16)))).width == 48);
    CHECK(read_image(folder.write("sp\xC3\xA4t \xE2\x98\x83.png", encode(".png", squares(2)))).width == 6);

    const fs::path missing = folder.path / "missing.jpg";
    const Error e = error_of([&] { read_image(missing); });
    CHECK(e.sentence() == "there is no such file");
    CHECK(e.where() == missing.string());
    CHECK(error_of([&] { read_image(folder.path); }).sentence() == "this is a folder, not a picture");
    CHECK(error_of([&] { read_image("/dev/zero"); }).sentence() ==
          "this is a device or pipe, not a picture file");
    CHECK(error_of([&] { read_image(folder.write("empty.jpg", "")); }).sentence() == "the file is empty");
    CHECK(error_of([&] { read_image(good / "inside"); }).where() == (good / "inside").string());
    CHECK_THROWS_AS(read_image(""), Error);
    fs::create_symlink("loop", folder.path / "loop");
    CHECK_THROWS_AS(read_image(folder.path / "loop"), Error);
    if (geteuid() != 0) {  // root reads everything
        fs::permissions(good, fs::perms::none);
        CHECK(error_of([&] { read_image(good); }).sentence().find("cannot be read") != std::string::npos);
    }
}

TEST_CASE("list_pictures finds pictures by extension, in order") {
    const TemporaryFolder folder;
    for (const char* name : {"b.JPG", "a.png", "sub/c.webp", "sub/deeper/d.tif", "notes.txt", ".hidden.png",
                             "._b.jpg", ".thumbnails/x.png", "e.bmp", "no_extension"})
        folder.write(name, "x");
    fs::create_directories(folder.path / "folder.png");
    fs::create_symlink("nowhere", folder.path / "broken.png");
    fs::create_symlink("loop.png", folder.path / "loop.png");
    fs::create_symlink("/dev/null", folder.path / "device.png");
    fs::create_directory_symlink(folder.path, folder.path / "sub/again");
    std::vector<std::string> names;
    for (const auto& file : list_pictures(folder.path))
        names.push_back(file.lexically_relative(folder.path).string());
    CHECK(names == std::vector<std::string>{"a.png", "b.JPG", "broken.png", "e.bmp", "loop.png", "sub/c.webp",
                                            "sub/deeper/d.tif"});

    CHECK(error_of([&] { list_pictures(folder.path / "missing"); }).sentence() == "there is no such folder");
    CHECK(error_of([&] { list_pictures(folder.path / "a.png"); }).sentence() == "this is not a folder");
    CHECK(error_of([&] { list_pictures(folder.path / "folder.png"); }).sentence() ==
          "there is no picture in this folder");
}
