// SPDX-License-Identifier: Apache-2.0
#include <csetjmp>
#include <cstdio>  // jpeglib.h does not bring what it uses

#include <jpeglib.h>
// clang-format keeps blocks apart: this one needs the above
#include <jerror.h>

#include "engine/picture_codecs.h"

namespace ivit {

namespace {

// libjpeg reports through these and goes on, or must not return from error_exit.
struct Errors {
    jpeg_error_mgr manager;  // first: libjpeg hands out a pointer to it
    std::jmp_buf escape;
    int damage = 0;  // code of the first warning that costs pixels; 0: none
};

Errors& errors_of(j_common_ptr info) { return *reinterpret_cast<Errors*>(info->err); }

[[noreturn]] void leave(j_common_ptr info) { std::longjmp(errors_of(info).escape, 1); }

void note(j_common_ptr info, int level) {
    if (level >= 0) return;  // a trace
    Errors& e = errors_of(info);
    const int code = e.manager.msg_code;
    const bool costs_pixels = code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
                              code == JWRN_JPEG_EOF || code == JWRN_MUST_RESYNC ||
                              code == JWRN_ARITH_BAD_CODE;
    if (costs_pixels && e.damage == 0) e.damage = code;
}

void print_nothing(j_common_ptr) {}

std::string text(j_common_ptr info) {
    char buffer[JMSG_LENGTH_MAX] = "";
    errors_of(info).manager.format_message(info, buffer);
    return buffer;
}

// Nothing with a destructor lives in the functions that setjmp returns to twice.
bool start(jpeg_decompress_struct& info, Errors& errors, std::span<const uint8_t> bytes) {
    if (setjmp(errors.escape)) return false;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes.data(), bytes.size());
    jpeg_read_header(&info, TRUE);
    const bool inks = info.num_components == 4;
    info.out_color_space = inks ? JCS_CMYK : JCS_EXT_BGR;
    jpeg_start_decompress(&info);
    return true;
}

bool read(jpeg_decompress_struct& info, Errors& errors, uint8_t* out, size_t stride) {
    if (setjmp(errors.escape)) return false;
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = out + stride * info.output_scanline;
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return errors.damage == 0;
}

// CMYK as every JPEG in use has it, Adobe's way: 255 is no ink. [rows, cols, 4] to BGR.
cv::Mat from_inks(const cv::Mat& cmyk) {
    cv::Mat bgr(cmyk.rows, cmyk.cols, CV_8UC3);
    for (int y = 0; y < cmyk.rows; ++y) {
        const uint8_t* in = cmyk.ptr<uint8_t>(y);
        uint8_t* out = bgr.ptr<uint8_t>(y);
        for (int x = 0; x < cmyk.cols; ++x, in += 4, out += 3)
            for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((in[2 - c] * in[3] + 127) / 255);
    }
    return bgr;
}

}  // namespace

cv::Mat decode_jpeg(std::span<const uint8_t> bytes, std::string& why) {
    jpeg_decompress_struct info{};
    Errors errors;
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = leave;
    errors.manager.emit_message = note;
    errors.manager.output_message = print_nothing;
    const auto common = reinterpret_cast<j_common_ptr>(&info);
    struct Destroy {
        j_common_ptr info;
        ~Destroy() { jpeg_destroy(info); }
    } destroy{common};

    cv::Mat m;
    bool whole = start(info, errors, bytes);
    if (whole) {
        m.create(static_cast<int>(info.output_height), static_cast<int>(info.output_width),
                 CV_8UC(info.output_components));
        whole = read(info, errors, m.data, m.step);
    }
    if (!whole) {
        if (errors.damage != 0) errors.manager.msg_code = errors.damage;
        why = text(common);
        return {};
    }
    return m.channels() == 4 ? from_inks(m) : m;
}

}  // namespace ivit
