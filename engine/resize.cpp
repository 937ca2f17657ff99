// SPDX-License-Identifier: Apache-2.0
// Pillow's bicubic resampling, and the evaluation transform on top of it. Networks are trained and their
// accuracies published behind these very pixels, so rounding is Pillow's to the bit.
#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <thread>

#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/image.h"
#include "engine/resize_passes.h"

namespace ivit {

namespace {

// Keys' cubic convolution kernel with a = -0.5.
double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

// Output positions [first, first + count) of a side stretched from `in` to `out` pixels. When it shrinks, the
// kernel widens with it (antialiasing).
Taps make_taps(int in, int64_t out, int64_t first, int count) {
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double widen = std::max(scale, 1.0), support = 2.0 * widen, narrow = 1.0 / widen;
    Taps taps;
    taps.count = count;
    taps.most = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, in);
    const size_t most = static_cast<size_t>(taps.most);
    taps.start.resize(static_cast<size_t>(count));
    taps.length.resize(static_cast<size_t>(count));
    taps.weight.resize(static_cast<size_t>(count) * most);
    std::vector<double> share(most);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        const double center = (static_cast<double>(first + static_cast<int64_t>(i)) + 0.5) * scale;
        const int start = std::max(static_cast<int>(center - support + 0.5), 0);
        const int length = std::min(static_cast<int>(center + support + 0.5), in) - start;
        double total = 0;
        for (int k = 0; k < length; ++k) {
            share[static_cast<size_t>(k)] = bicubic((k + start - center + 0.5) * narrow);
            total += share[static_cast<size_t>(k)];
        }
        taps.start[i] = start;
        taps.length[i] = length;
        for (int k = 0; k < length; ++k) {
            double weight = share[static_cast<size_t>(k)];
            if (total != 0) weight /= total;
            weight *= 1 << 22;
            // Half away from zero, by truncation.
            taps.weight[i * most + static_cast<size_t>(k)] =
                static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
    return taps;
}

// job(0) and job(1), the second on a thread of its own where that pays for it. The kernels' pool is left
// alone: pictures are prepared while it computes.
template <class Job>
void in_two(bool both, const Job& job) {
    std::thread second;
    if (both) {
        try {
            second = std::thread([&] { job(1); });
        } catch (const std::system_error&) {  // no thread to be had: do it here
        }
    }
    job(0);
    if (second.joinable())
        second.join();
    else
        job(1);
}

// The part [x, x + width) x [y, y + height) of `image` resized to full_width x full_height. Only the columns
// and rows that this part is made of are looked at, and memory goes with them, not with the full size.
std::vector<uint8_t> resize_part(const Image& image, int64_t full_width, int64_t full_height, int64_t x,
                                 int64_t y, int width, int height) {
    const Taps across = make_taps(image.width, full_width, x, width);
    const Taps down = make_taps(image.height, full_height, y, height);
    const size_t stride = static_cast<size_t>(image.width) * 3, row = static_cast<size_t>(width) * 3;
    const int top = down.begin(), rows = down.end() - top;
    const size_t scratch = horizontal_scratch(across);
    std::vector<uint8_t> between(static_cast<size_t>(rows) * row), result(static_cast<size_t>(height) * row);
    std::vector<uint8_t> columns(2 * scratch);  // allocated here: a thread must not throw
    // Starting a thread costs some 20 us, a million products about 0.1 ms.
    const double products = static_cast<double>(rows) * width * across.most;
    const bool both = products > 1e6 && available_cores() > 1;
    const int middle = std::min(rows, (rows / 2 + 15) / 16 * 16);  // the passes go by 16 rows
    in_two(both, [&](int half) {
        const int from = half == 0 ? 0 : middle, to = half == 0 ? middle : rows;
        horizontal_pass(image.rgb.data() + static_cast<size_t>(top + from) * stride, stride, to - from,
                        across, between.data() + static_cast<size_t>(from) * row,
                        columns.data() + static_cast<size_t>(half) * scratch);
    });
    vertical_pass(between.data(), width * 3, down, 0, height, result.data());
    return result;
}

void check(const Image& image) {
    if (image.width < 1 || image.height < 1 ||
        image.rgb.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3)
        throw Error("this picture has no pixels");
}

constexpr int64_t most_pixels = 200'000'000;

}  // namespace

Image resize_bicubic(const Image& image, int width, int height) {
    check(image);
    if (width < 1 || height < 1 || int64_t{width} * height > most_pixels)
        throw Error("a picture cannot be resized to " + std::to_string(width) + " x " +
                    std::to_string(height) + " pixels");
    Image result;
    result.width = width;
    result.height = height;
    result.rgb = resize_part(image, width, height, 0, 0, width, height);
    return result;
}

std::vector<uint8_t> preprocess(const Image& image, int size, double crop_pct) {
    check(image);
    if (size < 1 || size > 4096)
        throw Error("the input size of a network must be 1 to 4096 pixels, not " + std::to_string(size));
    if (!(crop_pct >= 0.01 && crop_pct <= 1.0))  // false for NaN
        throw Error("crop_pct must be 0.01 to 1, not " + std::to_string(crop_pct));
    // timm cuts the fraction off (224 / 0.9: 248). The little more is for a crop_pct that is itself a
    // quotient.
    const auto shorter = static_cast<int64_t>(std::floor(size / crop_pct + 1e-6));
    // torchvision: the longer side is cut off, not rounded; the crop is centred with ties to even.
    const auto side = [&](int64_t own, int64_t other) {
        return own <= other ? shorter : shorter * own / other;
    };
    const int64_t width = side(image.width, image.height), height = side(image.height, image.width);
    const auto offset = [&](int64_t full) { return std::llrint(static_cast<double>(full - size) / 2.0); };
    return resize_part(image, width, height, offset(width), offset(height), size, size);
}

}  // namespace ivit
