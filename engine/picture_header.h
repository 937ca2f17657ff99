// SPDX-License-Identifier: Apache-2.0
// What a picture file says about itself before anything is decoded: the decoders neither refuse pictures by
// size in one clear sentence nor tell truncated ones (libjpeg fills the rest and only warns).
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace ivit {

enum class PictureFormat { jpeg, png, webp, bmp, tiff };

struct PictureHeader {
    PictureFormat format = PictureFormat::jpeg;
    int64_t width = 0, height = 0;  // pixels as stored, before the orientation; not checked
    int orientation = 1;            // EXIF, 1..8; always 1 for TIFF, whose decoder applies its own
    bool premultiplied = false;     // TIFF: colours are already multiplied by alpha
};

// Reads the header of one of the five formats and walks the file's structure to its end (JPEG: to the
// end-of-image marker; PNG: to IEND; WebP: the size of the RIFF chunk; BMP: the pixel offset and,
// uncompressed, the rows; TIFF: the first page's strips or tiles). Decodes nothing. Throws Error about
// `name`: not a picture, a format that is not read, truncated, animated WebP, a JPEG of more than 200 scans
// (a decompression bomb).
PictureHeader read_picture_header(std::span<const uint8_t> bytes, const std::string& name);

// "JPEG", "PNG", "WebP", "BMP", "TIFF".
const char* to_string(PictureFormat format);

}  // namespace ivit
