// SPDX-License-Identifier: Apache-2.0
// A picture file to the bytes the networks take.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace ivit {

// 8-bit RGB, row-major [height, width, 3].
struct Image {
    int width = 0, height = 0;
    std::vector<uint8_t> rgb;
};

// JPEG, PNG, WebP, BMP, TIFF (OpenCV). EXIF orientation applied, grey spread to three channels, alpha over
// white, 16 bit reduced to 8. Throws Error in one sentence naming the file.
Image read_image(const std::filesystem::path& file);
// The same from memory; `name` is for messages.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

// Bicubic (a = -0.5) with antialiasing, as Pillow's Image.resize(..., BICUBIC): two passes, 8-bit between
// them, fixed point coefficients. Within one level of Pillow on every pixel. width, height >= 1.
Image resize_bicubic(const Image& image, int width, int height);

// Shorter side to round(size / crop_pct), then centre crop size x size (timm's evaluation transform).
// Yields RGB bytes [size, size, 3].
std::vector<uint8_t> preprocess(const Image& image, int size, double crop_pct);

// Pictures of a folder (recursively, sorted by path) by extension; throws Error when there is none or it is
// missing.
std::vector<std::filesystem::path> list_pictures(const std::filesystem::path& folder);

}  // namespace ivit
