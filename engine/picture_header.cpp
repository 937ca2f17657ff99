// SPDX-License-Identifier: Apache-2.0
#include "engine/picture_header.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/error.h"

namespace ivit {

namespace {

using namespace std::string_view_literals;

struct EndOfFile {};  // a field lies behind the last byte; becomes an Error in read_picture_header

// Bounds-checked fields of either byte order.
struct Reader {
    std::span<const uint8_t> bytes;
    bool little = true;

    void need(uint64_t at, uint64_t count) const {
        if (at > bytes.size() || count > bytes.size() - at) throw EndOfFile{};
    }
    uint64_t field(uint64_t at, int count) const {
        need(at, static_cast<uint64_t>(count));
        uint64_t value = 0;
        for (int i = 0; i < count; ++i)
            value = value << 8 | bytes[at + static_cast<uint64_t>(little ? count - 1 - i : i)];
        return value;
    }
    uint64_t u8(uint64_t at) const { return field(at, 1); }
    uint64_t u16(uint64_t at) const { return field(at, 2); }
    uint64_t u24(uint64_t at) const { return field(at, 3); }
    uint64_t u32(uint64_t at) const { return field(at, 4); }
    bool has(uint64_t at, std::string_view text) const {
        return at <= bytes.size() && text.size() <= bytes.size() - at &&
               std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
    }
    Reader part(uint64_t at, uint64_t count) const {
        need(at, count);
        return {bytes.subspan(at, count), little};
    }
};

// The entries of a TIFF structure's first directory: a TIFF file's own, or EXIF's. Calls
// visit(tag, type, count, position of the value); values of more than four bytes are followed.
template <class Visit>
void visit_directory(Reader& r, const Visit& visit) {
    r.little = r.has(0, "II"sv);
    if (r.u16(2) != 42) throw EndOfFile{};
    const uint64_t directory = r.u32(4), entries = r.u16(directory);
    for (uint64_t i = 0; i < entries; ++i) {
        const uint64_t at = directory + 2 + 12 * i, type = r.u16(at + 2), count = r.u32(at + 4);
        const uint64_t size = type == 3 ? 2 : type == 4 ? 4 : 1;  // SHORT, LONG; others are not looked at
        visit(r.u16(at), type, count, size * count <= 4 ? at + 8 : r.u32(at + 8));
    }
}

// EXIF's orientation; 1 where it is missing or broken, for a bad EXIF block does not make a bad picture.
int exif_orientation(Reader exif) {
    int orientation = 1;
    if (exif.has(0, "Exif\0\0"sv)) exif.bytes = exif.bytes.subspan(6);
    try {
        visit_directory(exif, [&](uint64_t tag, uint64_t type, uint64_t, uint64_t at) {
            if (tag != 274 || type != 3) return;
            const uint64_t value = exif.u16(at);
            if (value >= 1 && value <= 8) orientation = static_cast<int>(value);
        });
    } catch (const EndOfFile&) {
    }
    return orientation;
}

// The next marker from `at` on, skipping fill bytes and, in a scan, stuffed and restart bytes; leaves `at`
// behind it.
uint64_t next_marker(const Reader& r, uint64_t& at, bool in_scan) {
    for (;;) {
        r.need(at, 2);
        const void* found = std::memchr(r.bytes.data() + at, 0xFF, r.bytes.size() - at);
        if (!found) throw EndOfFile{};
        at = static_cast<uint64_t>(static_cast<const uint8_t*>(found) - r.bytes.data()) + 1;
        while (r.u8(at) == 0xFF) ++at;
        const uint64_t marker = r.u8(at++);
        const bool restart = marker >= 0xD0 && marker <= 0xD7;
        if (marker != 0 && !(in_scan && restart)) return marker;
    }
}

void read_jpeg(Reader r, PictureHeader& header, const std::string& name) {
    r.little = false;
    bool in_scan = false, exif = false, frame = false;
    int scans = 0;
    for (uint64_t at = 2;;) {
        const uint64_t marker = next_marker(r, at, in_scan);
        if (marker == 0xD9) return;                                          // EOI
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // they carry nothing
        const uint64_t length = std::max<uint64_t>(r.u16(at), 2);
        const Reader segment = r.part(at + 2, length - 2);
        at += length;
        in_scan = marker == 0xDA || (in_scan && marker == 0xDC);  // SOS; DNL comes within the first scan
        if (in_scan && ++scans > 200)
            throw Error("this JPEG picture has more than 200 scans, which only decompression bombs have",
                        name);
        const bool start_of_frame =
            marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
        if (start_of_frame && !frame) {
            frame = true;
            header.height = static_cast<int64_t>(segment.u16(1));
            header.width = static_cast<int64_t>(segment.u16(3));
        }
        if (marker == 0xE1 && !exif && segment.has(0, "Exif\0\0"sv)) {
            exif = true;
            header.orientation = exif_orientation(segment);
        }
    }
}

void read_png(Reader r, PictureHeader& header) {
    r.little = false;
    header.width = static_cast<int64_t>(r.u32(16));
    header.height = static_cast<int64_t>(r.u32(20));
    for (uint64_t at = 8;;) {
        const uint64_t length = r.u32(at);
        r.need(at, length + 12);
        if (r.has(at + 4, "IEND"sv)) return;
        if (r.has(at + 4, "eXIf"sv)) header.orientation = exif_orientation(r.part(at + 8, length));
        at += length + 12;
    }
}

void read_webp(Reader r, PictureHeader& header, const std::string& name) {
    const uint64_t end = 8 + r.u32(4);
    r.need(0, end);
    for (uint64_t at = 12; at + 8 <= end;) {
        const uint64_t length = r.u32(at + 4);
        const Reader chunk = r.part(at + 8, length);
        if (r.has(at, "VP8X"sv)) {
            if (chunk.u8(0) & 2)
                throw Error("this is an animated WebP, which is not read", name,
                            "save one frame of it as PNG");
            header.width = static_cast<int64_t>(chunk.u24(4)) + 1;
            header.height = static_cast<int64_t>(chunk.u24(7)) + 1;
        } else if (r.has(at, "VP8L"sv) && header.width == 0) {
            const uint64_t bits = chunk.u32(1);
            header.width = static_cast<int64_t>(bits & 0x3FFF) + 1;
            header.height = static_cast<int64_t>(bits >> 14 & 0x3FFF) + 1;
        } else if (r.has(at, "VP8 "sv) && header.width == 0) {
            header.width = static_cast<int64_t>(chunk.u16(6) & 0x3FFF);
            header.height = static_cast<int64_t>(chunk.u16(8) & 0x3FFF);
        } else if (r.has(at, "EXIF"sv)) {
            header.orientation = exif_orientation(chunk);
        }
        at += 8 + length + (length & 1);
    }
}

void read_bmp(Reader r, PictureHeader& header) {
    const bool old = r.u32(14) == 12;
    const auto side = [&](uint64_t at) -> int64_t {
        return old ? static_cast<int64_t>(r.u16(at)) : int64_t{static_cast<int32_t>(r.u32(at))};
    };
    header.width = side(18);
    const int64_t height = side(old ? 20 : 22);  // negative: rows from the top down
    header.height = height < 0 ? -height : height;
    const uint64_t bits = r.u16(old ? 24 : 28), compression = old ? 0 : r.u32(30);
    r.need(r.u32(10), 1);
    // BI_RGB and BI_BITFIELDS: every row is there, in units of four bytes.
    if ((compression == 0 || compression == 3) && header.width > 0 && bits <= 64)
        r.need(r.u32(10), (static_cast<uint64_t>(header.width) * bits + 31) / 32 * 4 *
                              static_cast<uint64_t>(header.height));
}

void read_tiff(Reader r, PictureHeader& header) {
    struct Field {
        uint64_t type = 0, count = 0, at = 0;
    } offsets, sizes;
    visit_directory(r, [&](uint64_t tag, uint64_t type, uint64_t count, uint64_t at) {
        const auto value = [&] { return static_cast<int64_t>(type == 3 ? r.u16(at) : r.u32(at)); };
        if (tag == 256) header.width = value();
        if (tag == 257) header.height = value();
        if (tag == 338) header.premultiplied = value() != 2;        // ExtraSamples: 2 is unassociated alpha
        if (tag == 273 || tag == 324) offsets = {type, count, at};  // StripOffsets, TileOffsets
        if (tag == 279 || tag == 325) sizes = {type, count, at};
    });
    const auto item = [&](const Field& f, uint64_t i) {
        return f.type == 3 ? r.u16(f.at + 2 * i) : r.u32(f.at + 4 * i);
    };
    for (uint64_t i = 0; i < std::min(offsets.count, sizes.count); ++i)
        r.need(item(offsets, i), item(sizes, i));
}

// Names the formats a person is likely to try; empty for others.
std::string_view other_format(const Reader& r) {
    if (r.has(0, "GIF8"sv)) return "a GIF";
    if (r.has(4, "ftypavi"sv)) return "an AVIF";
    if (r.has(4, "ftyphei"sv) || r.has(4, "ftypmif1"sv) || r.has(4, "ftyphev"sv)) return "a HEIC";
    if (r.has(4, "ftyp"sv)) return "a video or camera raw";
    if (r.has(0, "\0\0\0\x0CjP  "sv) || r.has(0, "\xFF\x4F\xFF\x51"sv)) return "a JPEG 2000";
    if (r.has(0, "\xFF\x0A"sv) || r.has(0, "\0\0\0\x0CJXL "sv)) return "a JPEG XL";
    if (r.has(0, "II\x2B\0"sv) || r.has(0, "MM\0\x2B"sv)) return "a BigTIFF";
    if (r.has(0, "%PDF"sv)) return "a PDF";
    if (r.has(0, "8BPS"sv)) return "a Photoshop";
    if (r.has(0, "<svg"sv)) return "an SVG";
    if (r.has(0, "\0\0\1\0"sv)) return "an ICO";
    if (r.has(0, "\x76\x2F\x31\1"sv)) return "an OpenEXR";
    if (r.has(0, "P5\n"sv) || r.has(0, "P6\n"sv)) return "a PNM";
    return {};
}

}  // namespace

const char* to_string(PictureFormat format) {
    switch (format) {
        case PictureFormat::jpeg:
            return "JPEG";
        case PictureFormat::png:
            return "PNG";
        case PictureFormat::webp:
            return "WebP";
        case PictureFormat::bmp:
            return "BMP";
        case PictureFormat::tiff:
            return "TIFF";
    }
    return "";
}

PictureHeader read_picture_header(std::span<const uint8_t> bytes, const std::string& name) {
    const Reader r{bytes};
    PictureHeader header;
    if (bytes.empty()) throw Error("the file is empty", name);
    try {
        if (r.has(0, "\xFF\xD8\xFF"sv)) {
            read_jpeg(r, header, name);
        } else if (r.has(0, "\x89PNG\r\n\x1A\n"sv)) {
            header.format = PictureFormat::png;
            read_png(r, header);
        } else if (r.has(0, "RIFF"sv) && r.has(8, "WEBP"sv)) {
            header.format = PictureFormat::webp;
            read_webp(r, header, name);
        } else if (r.has(0, "BM"sv) && bytes.size() >= 26) {
            header.format = PictureFormat::bmp;
            read_bmp(r, header);
        } else if (r.has(0, "II*\0"sv) || r.has(0, "MM\0*"sv)) {
            header.format = PictureFormat::tiff;
            read_tiff(r, header);
        } else {
            if (r.has(0, "version https://git-lfs.github.com/"sv))
                throw Error("this is a Git LFS pointer, which stands for the picture until that is fetched",
                            name, "fetch it where the repository was cloned: git lfs pull");
            const std::string other(other_format(r));
            if (!other.empty())
                throw Error("this is " + other + " file, which is not read", name,
                            "convert it to JPEG, PNG, WebP, BMP or TIFF");
            throw Error("this is not a picture", name, "JPEG, PNG, WebP, BMP and TIFF are read");
        }
    } catch (const EndOfFile&) {
        throw Error(std::string("this ") + to_string(header.format) + " picture ends early: it is truncated",
                    name, "copy or download it again");
    }
    return header;
}

}  // namespace ivit
