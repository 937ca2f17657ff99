// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG, decoded by their own libraries: through OpenCV these print what they think of a damaged
// picture on stderr, where one sentence of ours is promised.
#pragma once
#include <cstdint>
#include <opencv2/core.hpp>
#include <span>
#include <string>

namespace ivit {

// As cv::imdecode: 8 bits, BGR, or BGRA for a PNG with an alpha channel or a transparent colour; neither
// EXIF's orientation nor a colour profile is applied. Empty where the picture cannot be decoded; `why` is
// then the library's reason, without a full stop ("IDAT: CRC error"). std::bad_alloc where memory is short.
// decode_jpeg: damage that costs pixels (data that ends early, a code that does not exist) counts as such;
// stray bytes do not.
cv::Mat decode_jpeg(std::span<const uint8_t> bytes, std::string& why);
cv::Mat decode_png(std::span<const uint8_t> bytes, std::string& why);

}  // namespace ivit
