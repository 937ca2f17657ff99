// SPDX-License-Identifier: Apache-2.0
// Pictures of every format, made byte by byte where no library writes what a test needs.
#pragma once
#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdio>  // jpeglib.h does not bring what it uses
#include <cstdlib>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "engine/image.h"

namespace ivit::test {

using Bytes = std::vector<uint8_t>;

inline Bytes encode(const std::string& extension, const cv::Mat& m, const std::vector<int>& options = {}) {
    Bytes out;
    REQUIRE(cv::imencode(extension, m, out, options));
    return out;
}

// 3 x 2 squares of `square` pixels; each has a colour of its own, so that any turn shows.
constexpr std::array<std::array<int, 3>, 6> colours = {
    {{250, 10, 10}, {10, 250, 10}, {10, 10, 250}, {250, 250, 10}, {10, 250, 250}, {120, 120, 120}}};

template <class T = uint8_t>
inline cv::Mat squares(int square, int channels = 3, int times = 1) {
    cv::Mat m(2 * square, 3 * square, CV_MAKETYPE(cv::DataType<T>::depth, channels));
    for (int y = 0; y < m.rows; ++y)
        for (int x = 0; x < m.cols; ++x)
            for (int c = 0; c < channels; ++c)
                m.ptr<T>(y)[x * channels + c] =
                    static_cast<T>(colours[static_cast<size_t>(y / square * 3 + x / square)][2 - c] * times);
    return m;
}

// The colour number at the middle of square (x, y), -1 for none of them.
inline int colour_at(const Image& image, int square, int x, int y) {
    const uint8_t* p =
        &image
             .rgb[static_cast<size_t>((y * square + square / 2) * image.width + x * square + square / 2) * 3];
    for (size_t i = 0; i < colours.size(); ++i)
        if (std::abs(p[0] - colours[i][0]) + std::abs(p[1] - colours[i][1]) + std::abs(p[2] - colours[i][2]) <
            12)
            return static_cast<int>(i);
    return -1;
}

// Colour numbers by rows: "012/345" for the picture as made.
inline std::string layout(const Image& image, int square) {
    std::string text;
    for (int y = 0; y < image.height / square; ++y) {
        if (y > 0) text += '/';
        for (int x = 0; x < image.width / square; ++x)
            text += static_cast<char>('0' + colour_at(image, square, x, y));
    }
    return text;
}

// Side x side pixels of noise, BGR: data that fill a file.
inline cv::Mat noise(int side) {
    cv::Mat m(side, side, CV_8UC3);
    uint32_t state = 7;
    for (size_t i = 0; i < m.total() * 3; ++i) {
        state = state * 1664525 + 1013904223;
        m.data[i] = static_cast<uint8_t>(state >> 24);
    }
    return m;
}

// A JPEG of 16 x 16 pixels of these inks, 255 being none, with Adobe's marker. OpenCV writes no such thing.
inline Bytes cmyk_jpeg(std::array<uint8_t, 4> inks) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &bytes, &size);
    info.image_width = info.image_height = 16;
    info.input_components = 4;
    info.in_color_space = JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_start_compress(&info, TRUE);
    Bytes row;
    for (int x = 0; x < 16; ++x) row.insert(row.end(), inks.begin(), inks.end());
    JSAMPROW pointer = row.data();
    for (int y = 0; y < 16; ++y) jpeg_write_scanlines(&info, &pointer, 1);
    jpeg_finish_compress(&info);
    Bytes file(bytes, bytes + size);
    jpeg_destroy_compress(&info);
    std::free(bytes);
    return file;
}

// How "012/345" is seen under each EXIF orientation: 6 is a quarter turn clockwise, 8 counter-clockwise.
constexpr const char* seen[9] = {"",         "012/345",  "210/543",  "543/210", "345/012",
                                 "03/14/25", "30/41/52", "52/41/30", "25/14/03"};

inline void put(Bytes& b, uint64_t value, int bytes, bool little) {
    for (int i = 0; i < bytes; ++i)
        b.push_back(static_cast<uint8_t>(value >> 8 * (little ? i : bytes - 1 - i)));
}

inline void put(Bytes& b, const std::string& text) { b.insert(b.end(), text.begin(), text.end()); }

// An EXIF structure of one entry: the orientation.
inline Bytes exif(int orientation, bool little) {
    Bytes b;
    put(b, little ? "II" : "MM");
    put(b, 42, 2, little);
    put(b, 8, 4, little);
    put(b, 1, 2, little);
    put(b, 0x0112, 2, little);
    put(b, 3, 2, little);  // SHORT
    put(b, 1, 4, little);
    put(b, static_cast<uint64_t>(orientation), 2, little);
    put(b, 0, 2, little);
    put(b, 0, 4, little);
    return b;
}

// APP1 behind SOI.
inline Bytes with_exif(Bytes jpeg, const Bytes& block) {
    Bytes segment = {0xFF, 0xE1};
    put(segment, block.size() + 8, 2, false);
    put(segment, std::string("Exif\0\0", 6));
    segment.insert(segment.end(), block.begin(), block.end());
    jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
    return jpeg;
}

inline uint32_t crc(const Bytes& bytes) {
    uint32_t c = ~0u;
    for (const uint8_t b : bytes) {
        c ^= b;
        for (int i = 0; i < 8; ++i) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0u);
    }
    return ~c;
}

inline Bytes png_chunk(const std::string& type, const Bytes& data) {
    Bytes named, out;
    put(named, type);
    named.insert(named.end(), data.begin(), data.end());
    put(out, data.size(), 4, false);
    out.insert(out.end(), named.begin(), named.end());
    put(out, crc(named), 4, false);
    return out;
}

// A PNG of rows of raw bytes, deflated without compression.
inline Bytes png(int width, int height, int bits, int colour_type, const Bytes& rows,
                 const Bytes& before_data = {}) {
    Bytes header, data = {0x78, 0x01, 0x01};
    put(header, static_cast<uint64_t>(width), 4, false);
    put(header, static_cast<uint64_t>(height), 4, false);
    for (const int v : {bits, colour_type, 0, 0, 0}) header.push_back(static_cast<uint8_t>(v));
    Bytes filtered;
    const size_t row = rows.size() / static_cast<size_t>(height);
    for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
        filtered.push_back(0);
        filtered.insert(filtered.end(), rows.begin() + static_cast<ptrdiff_t>(y * row),
                        rows.begin() + static_cast<ptrdiff_t>((y + 1) * row));
    }
    put(data, filtered.size(), 2, true);
    put(data, ~filtered.size(), 2, true);
    data.insert(data.end(), filtered.begin(), filtered.end());
    uint32_t a = 1, b = 0;
    for (const uint8_t v : filtered) {
        a = (a + v) % 65521;
        b = (b + a) % 65521;
    }
    put(data, b << 16 | a, 4, false);
    Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    for (const Bytes& part :
         {png_chunk("IHDR", header), before_data, png_chunk("IDAT", data), png_chunk("IEND", {})})
        out.insert(out.end(), part.begin(), part.end());
    return out;
}

// An uncompressed RGB(A) TIFF of one strip.
struct TiffOptions {
    int bits = 8, channels = 3, orientation = 1, extra = -1, format = 1;
};
inline Bytes tiff(int width, int height, const Bytes& samples, TiffOptions o) {
    Bytes b, entries;
    int count = 0;
    const auto entry = [&](int tag, int type, uint64_t n, uint64_t value) {
        put(entries, static_cast<uint64_t>(tag), 2, true);
        put(entries, static_cast<uint64_t>(type), 2, true);
        put(entries, n, 4, true);
        put(entries, value, 4, true);
        ++count;
    };
    const uint64_t channels = static_cast<uint64_t>(o.channels);
    const uint64_t data = 16;
    entry(256, 4, 1, static_cast<uint64_t>(width));
    entry(257, 4, 1, static_cast<uint64_t>(height));
    entry(258, 3, channels, channels > 2 ? 8 : static_cast<uint64_t>(o.bits));
    entry(259, 3, 1, 1);
    entry(262, 3, 1, channels > 2 ? 2 : 1);
    entry(273, 4, 1, data);
    entry(274, 3, 1, static_cast<uint64_t>(o.orientation));
    entry(277, 3, 1, channels);
    entry(278, 4, 1, static_cast<uint64_t>(height));
    entry(279, 4, 1, samples.size());
    if (o.extra >= 0) entry(338, 3, 1, static_cast<uint64_t>(o.extra));
    if (o.format != 1) entry(339, 3, 1, static_cast<uint64_t>(o.format));
    put(b, "II");
    put(b, 42, 2, true);
    put(b, data + samples.size(), 4, true);
    for (int i = 0; i < 4; ++i) put(b, static_cast<uint64_t>(o.bits), 2, true);  // BitsPerSample
    b.insert(b.end(), samples.begin(), samples.end());
    put(b, static_cast<uint64_t>(count), 2, true);
    b.insert(b.end(), entries.begin(), entries.end());
    put(b, 0, 4, true);
    return b;
}

inline Bytes rgb_bytes(const cv::Mat& bgr) {  // of any depth, as stored
    Bytes out;
    const size_t size = bgr.elemSize1(), channels = static_cast<size_t>(bgr.channels());
    for (int y = 0; y < bgr.rows; ++y)
        for (size_t x = 0; x < static_cast<size_t>(bgr.cols); ++x)
            for (size_t c = 0; c < channels; ++c) {
                const uint8_t* p = bgr.ptr(y) + (x * channels + (c < 3 ? 2 - c : c)) * size;
                out.insert(out.end(), p, p + size);
            }
    return out;
}

const std::vector<std::string> lossless = {".png", ".bmp", ".tiff"};
const std::vector<std::string> all_formats = {".jpg", ".png", ".bmp", ".tiff", ".webp"};

}  // namespace ivit::test
