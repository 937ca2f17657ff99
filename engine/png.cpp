// SPDX-License-Identifier: Apache-2.0
#include "engine/png.h"

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include "engine/error.h"

namespace ivit {

std::vector<uint8_t> encode_png(std::span<const uint8_t> rgb, int width, int height) {
    cv::Mat bgr(height, width, CV_8UC3);
    for (size_t i = 0; i < rgb.size(); ++i) bgr.data[i] = rgb[i - i % 3 + 2 - i % 3];
    std::vector<uint8_t> bytes;
    if (!cv::imencode(".png", bgr, bytes)) throw Error("could not encode a picture as PNG");
    return bytes;
}

}  // namespace ivit
