// SPDX-License-Identifier: Apache-2.0
#include "engine/image.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <system_error>

#include "engine/error.h"
#include "engine/multiversion.h"
#include "engine/picture_codecs.h"
#include "engine/picture_header.h"

namespace ivit {

namespace {

constexpr int64_t most_pixels = 200'000'000;
constexpr int64_t longest_side = 1 << 20;    // OpenCV's own limit
constexpr uint64_t most_bytes = 1ull << 30;  // 200 million pixels of 24 bits take 600 MB uncompressed

void check_size(const PictureHeader& header, const std::string& name) {
    const int64_t w = header.width, h = header.height;
    if (w < 1 || h < 1) throw Error("this picture has no pixels", name);
    if (w <= longest_side && h <= longest_side && w * h <= most_pixels) return;
    const bool long_side = w > longest_side || h > longest_side;
    throw Error("this picture has " + std::to_string(w) + " x " + std::to_string(h) +
                    " pixels, more than the " + (long_side ? "1048576 a side" : "200 million") +
                    " that are read",
                name, "scale it down first");
}

// EXIF: how the stored picture must be turned for viewing.
void apply_orientation(cv::Mat& m, int orientation) {
    if (orientation >= 5) m = cv::Mat(m.t());  // 5..8 have rows and columns exchanged
    switch (orientation) {
        case 2:
        case 6:
            cv::flip(m, m, 1);
            break;
        case 3:
        case 7:
            cv::flip(m, m, -1);
            break;
        case 4:
        case 8:
            cv::flip(m, m, 0);
            break;
        default:
            break;
    }
}

// 16 bit: the upper byte, as libpng and Pillow take it.
uint8_t to_8_bit(uint8_t v) { return v; }
uint8_t to_8_bit(uint16_t v) { return static_cast<uint8_t>(v >> 8); }

// `alpha` of 255 over white.
uint8_t over_white(int v, int alpha, bool premultiplied) {
    if (premultiplied) return static_cast<uint8_t>(std::min(255, v + 255 - alpha));
    return static_cast<uint8_t>((v * alpha + 255 * (255 - alpha) + 127) / 255);
}

// OpenCV's channels (grey, grey + alpha, BGR, BGRA) to RGB.
template <class T>
void to_rgb(const cv::Mat& m, bool premultiplied, bool opaque, uint8_t* out) {
    const int channels = m.channels();
    for (int y = 0; y < m.rows; ++y) {
        const T* in = m.ptr<T>(y);
        for (int x = 0; x < m.cols; ++x, in += channels, out += 3) {
            const bool grey = channels < 3;
            for (int c = 0; c < 3; ++c) out[c] = to_8_bit(in[grey ? 0 : 2 - c]);
            if (channels % 2 != 0 || opaque) continue;
            const int alpha = to_8_bit(in[channels - 1]);
            for (int c = 0; c < 3; ++c) out[c] = over_white(out[c], alpha, premultiplied);
        }
    }
}

// 8-bit BGR, which nearly every picture is, apart: twelve million pixels take a while one branch at a time.
IVIT_CLONES void swap_row(const uint8_t* __restrict in, size_t pixels, uint8_t* __restrict out) {
    for (size_t x = 0; x < pixels; ++x) {
        out[3 * x] = in[3 * x + 2];
        out[3 * x + 1] = in[3 * x + 1];
        out[3 * x + 2] = in[3 * x];
    }
}

void swap_bgr(const cv::Mat& m, uint8_t* out) {
    const size_t pixels = static_cast<size_t>(m.cols);
    for (int y = 0; y < m.rows; ++y)
        swap_row(m.ptr<uint8_t>(y), pixels, out + static_cast<size_t>(y) * pixels * 3);
}

// 32-bit BMPs mostly leave the fourth byte zero without meaning "see-through".
bool alpha_is_all_zero(const cv::Mat& m) {
    for (int y = 0; y < m.rows; ++y)
        for (int x = 0; x < m.cols; ++x)
            if (m.ptr<uint8_t>(y)[4 * x + 3] != 0) return false;
    return true;
}

// WebP, BMP and TIFF; empty where it fails. OpenCV tells std::cerr why, which our programs keep shut.
cv::Mat decode_by_opencv(std::span<const uint8_t> bytes) {
    static const auto quiet = cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    (void)quiet;  // what fails is told by Error alone
    try {
        const cv::Mat data(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<uint8_t*>(bytes.data()));
        return cv::imdecode(data, cv::IMREAD_UNCHANGED);
    } catch (const cv::Exception&) {  // its text names OpenCV's sources, not the picture's fault
        return {};
    }
}

cv::Mat decode(std::span<const uint8_t> bytes, const PictureHeader& header, const std::string& name) {
    std::string why;
    const cv::Mat m = header.format == PictureFormat::jpeg  ? decode_jpeg(bytes, why)
                      : header.format == PictureFormat::png ? decode_png(bytes, why)
                                                            : decode_by_opencv(bytes);
    if (m.empty())
        throw Error(std::string("this ") + to_string(header.format) + " picture cannot be decoded" +
                        (why.empty() ? "" : " (" + why + ")"),
                    name, "it is damaged or of a rare kind; open it in a picture editor and save it again");
    if (m.depth() != CV_8U && m.depth() != CV_16U)
        throw Error("the samples of this picture are signed or floating point, which have no fixed white",
                    name, "convert it to 8 or 16 bit");
    if (m.channels() > 4)
        throw Error("this picture has " + std::to_string(m.channels()) + " channels, 1 to 4 are read", name);
    return m;
}

// Extensions of the formats that are read.
bool is_picture_name(const std::filesystem::path& file) {
    std::string extension = file.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* known :
         {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"})
        if (extension == known) return true;
    return false;
}

bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder) {
    return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

// Links to folders, on the way down: one that leads back to where it came from would never end.
class Links {
  public:
    // Of an entry that is a folder, `depth` folders further in than the first.
    bool leads_back(const std::filesystem::directory_entry& e, int depth) {
        while (!taken_.empty() && taken_.back().first >= depth) taken_.pop_back();
        std::error_code error;
        if (!e.is_symlink(error)) return false;
        const auto target = std::filesystem::canonical(e.path(), error);
        if (error) return true;
        taken_.emplace_back(depth, std::filesystem::canonical(e.path().parent_path(), error));
        return error || std::any_of(taken_.begin(), taken_.end(),
                                    [&](const auto& t) { return lies_in(t.second, target); });
    }

  private:
    std::vector<std::pair<int, std::filesystem::path>> taken_;  // depth and folder of the links followed
};

bool is_hidden(const std::filesystem::path& file) { return file.filename().string().starts_with('.'); }

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
    const PictureHeader header = read_picture_header(bytes, name);
    check_size(header, name);
    if (bytes.size() > most_bytes) throw Error("the file is larger than 1 GiB", name, "scale it down first");
    try {
        cv::Mat m = decode(bytes, header, name);
        apply_orientation(m, header.orientation);
        Image image;
        image.width = m.cols;
        image.height = m.rows;
        image.rgb.resize(m.total() * 3);
        // libtiff hands 8-bit pixels out premultiplied whatever the file has.
        const bool premultiplied =
            header.format == PictureFormat::tiff && (m.depth() == CV_8U || header.premultiplied);
        const bool opaque = header.format == PictureFormat::bmp && m.channels() == 4 && alpha_is_all_zero(m);
        if (m.type() == CV_8UC3)
            swap_bgr(m, image.rgb.data());
        else if (m.depth() == CV_8U)
            to_rgb<uint8_t>(m, premultiplied, opaque, image.rgb.data());
        else
            to_rgb<uint16_t>(m, premultiplied, opaque, image.rgb.data());
        return image;
    } catch (const std::bad_alloc&) {
    } catch (const cv::Exception&) {  // out of memory, too, in transpose and flip
    }
    throw Error("there is not enough memory for this picture of " + std::to_string(header.width) + " x " +
                    std::to_string(header.height) + " pixels",
                name, "scale it down first");
}

Image read_image(const std::filesystem::path& file) {
    namespace fs = std::filesystem;
    const std::string name = file.string();
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (status.type() == fs::file_type::not_found) throw Error("there is no such file", name);
    if (fs::is_directory(status)) throw Error("this is a folder, not a picture", name);
    if (error) throw Error("the file cannot be read: " + error.message(), name);
    if (!fs::is_regular_file(status)) throw Error("this is a device or pipe, not a picture file", name);
    const uint64_t size = fs::file_size(file, error);
    if (error) throw Error("the file cannot be read: " + error.message(), name);
    if (size > most_bytes) throw Error("the file is larger than 1 GiB", name, "scale it down first");

    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) throw Error("the file cannot be read: " + std::generic_category().message(errno), name);
    std::vector<uint8_t> bytes(size);
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
    if (in.bad()) throw Error("the file cannot be read to its end", name);
    bytes.resize(static_cast<size_t>(in.gcount()));  // it may have shrunk since
    return decode_image(bytes, name);
}

std::vector<std::filesystem::path> list_pictures(const std::filesystem::path& folder) {
    namespace fs = std::filesystem;
    const std::string name = folder.string();
    std::error_code error;
    const fs::file_status status = fs::status(folder, error);
    if (status.type() == fs::file_type::not_found) throw Error("there is no such folder", name);
    if (!fs::is_directory(status)) throw Error("this is not a folder", name);
    std::vector<fs::path> files;
    Links links;
    fs::recursive_directory_iterator it(
        folder,
        fs::directory_options::skip_permission_denied | fs::directory_options::follow_directory_symlink,
        error);
    for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
        std::error_code ignored;  // a file that just vanished is no picture
        const bool hidden = is_hidden(it->path());
        if (it->is_directory(ignored) && (hidden || links.leads_back(*it, it.depth())))
            it.disable_recursion_pending();
        if (hidden || !is_picture_name(it->path())) continue;
        // A link to nowhere was meant to be a picture: whoever reads it says so.
        if (it->is_regular_file(ignored) || (it->is_symlink(ignored) && !it->exists(ignored)))
            files.push_back(it->path());
    }
    if (error) throw Error("the folder cannot be read: " + error.message(), name);
    if (files.empty())
        throw Error("there is no picture in this folder", name, "JPEG, PNG, WebP, BMP and TIFF are read");
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace ivit
