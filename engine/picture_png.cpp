// SPDX-License-Identifier: Apache-2.0
#include <png.h>

#include <csetjmp>
#include <vector>

#include "engine/picture_codecs.h"

namespace ivit {

namespace {

struct Reader {
    png_structp png = nullptr;
    png_infop info = nullptr;
    std::span<const uint8_t> rest;  // not read yet
    std::string* why = nullptr;

    ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void leave(png_structp png, png_const_charp text) {
    *static_cast<Reader*>(png_get_error_ptr(png))->why = text;
    png_longjmp(png, 1);
}

void ignore(png_structp, png_const_charp) {}

void take(png_structp png, png_bytep out, size_t count) {
    Reader& r = *static_cast<Reader*>(png_get_io_ptr(png));
    if (count > r.rest.size()) png_error(png, "the file ends early");
    std::copy_n(r.rest.begin(), count, out);
    r.rest = r.rest.subspan(count);
}

// Nothing with a destructor lives in the functions that setjmp returns to twice.
bool start(Reader& r) {
    if (setjmp(png_jmpbuf(r.png))) return false;
    png_set_read_fn(r.png, &r, take);
    png_set_user_limits(r.png, 1 << 20, 1 << 20);  // as for all formats; libpng's own is a million
    png_read_info(r.png, r.info);
    png_set_expand(r.png);  // palettes, 1 to 4 bits, a transparent colour
    png_set_strip_16(r.png);
    png_set_gray_to_rgb(r.png);
    png_set_bgr(r.png);
    png_set_interlace_handling(r.png);
    png_read_update_info(r.png, r.info);
    return true;
}

bool read(Reader& r, png_bytepp rows) {
    if (setjmp(png_jmpbuf(r.png))) return false;
    png_read_image(r.png, rows);
    png_read_end(r.png, nullptr);
    return true;
}

}  // namespace

cv::Mat decode_png(std::span<const uint8_t> bytes, std::string& why) {
    Reader r;
    r.rest = bytes;
    r.why = &why;
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, leave, ignore);
    r.info = r.png ? png_create_info_struct(r.png) : nullptr;
    if (!r.info) throw std::bad_alloc();
    if (!start(r)) return {};
    cv::Mat m(static_cast<int>(png_get_image_height(r.png, r.info)),
              static_cast<int>(png_get_image_width(r.png, r.info)), CV_8UC(png_get_channels(r.png, r.info)));
    std::vector<png_bytep> rows;
    for (int y = 0; y < m.rows; ++y) rows.push_back(m.ptr<uint8_t>(y));
    return read(r, rows.data()) ? m : cv::Mat();
}

}  // namespace ivit
