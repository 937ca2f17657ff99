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

// One picture, or several in a row, as the networks take it: RGB bytes [image_size, image_size, 3].
using Pixels = std::vector<uint8_t>;

// JPEG, PNG, WebP, BMP, TIFF (WebP, BMP and TIFF decoded by OpenCV), told by their content, not by the
// extension; the first page of a TIFF. EXIF orientation applied, grey spread to three channels, alpha over
// white, 16 bit reduced to 8 (the upper byte, as Pillow does). Colour profiles are ignored, as in training.
//
// Throws Error, in one sentence naming the file, for what is missing, unreadable, a folder, a device, empty,
// larger than 1 GiB, not a picture or of another format; for pictures of more than 200 million pixels or
// 1048576 a side, known from the header before anything is decoded; for animated WebP; for signed or floating
// point samples; and for truncated pictures: half a picture would be classified as if it were whole. A JPEG
// counts as whole when its end-of-image marker is there and its data last until then; stray bytes, and
// damage that leaves codes libjpeg knows, are not noticed.
Image read_image(const std::filesystem::path& file);
// The same from memory; `name` is for messages.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

// Bicubic (a = -0.5) with antialiasing, as Pillow's Image.resize(..., BICUBIC): two passes, 8-bit between
// them, fixed point coefficients; equal to Pillow's on every pixel. Throws Error when a side is less than 1
// or the result would have more than 200 million pixels. Runs on two threads where that pays.
Image resize_bicubic(const Image& image, int width, int height);

// The evaluation transform of torchvision and timm: the shorter side becomes floor(size / crop_pct), the
// longer keeps the ratio (cut off to an integer), then the centre size x size is cropped. Yields RGB bytes
// [size, size, 3]. Only what survives the crop is computed, so that time and memory go with the crop, not
// with the picture's length. Throws Error for size outside 1..4096, crop_pct outside 0.01..1 or NaN, no
// pixels. Any number of threads may call it.
Pixels preprocess(const Image& image, int size, double crop_pct);

// Pictures of a folder (recursively, sorted by path) by extension. Hidden files and folders are left out;
// links to folders are followed, unless they lead back to a folder they lie in; links to nowhere are listed,
// as the broken pictures they are. Throws Error when there is none, or the folder is missing or unreadable.
std::vector<std::filesystem::path> list_pictures(const std::filesystem::path& folder);

}  // namespace ivit
