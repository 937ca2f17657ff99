// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace ivit {

// rgb [height, width, 3] as a PNG file's bytes.
std::vector<uint8_t> encode_png(std::span<const uint8_t> rgb, int width, int height);

}  // namespace ivit
