// SPDX-License-Identifier: Apache-2.0
// The header of a safetensors file, as it is read and checked: for safetensors.cpp alone.
//
// 8 bytes little-endian length, JSON {"name": {"dtype", "shape", "data_offsets"}, ..., "__metadata__": {text:
// text}}, then the tensors' bytes (https://github.com/huggingface/safetensors, "Format").
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace ivit::safetensors {

// Bytes of one element; 0 for a dtype the format does not know.
size_t dtype_bytes(const std::string& dtype);

// One tensor as the header gives it. Offsets count from the end of the header.
struct Entry {
    std::string dtype;
    Shape shape;
    std::vector<uint64_t> offsets;
    bool has_dtype = false, has_shape = false, has_offsets = false;
};

struct Header {
    std::map<std::string, Entry> entries;
    std::map<std::string, std::string> metadata;
};

// `text`: the JSON. `data`: how many bytes follow it. Every dtype, shape and range is checked, and that the
// ranges tile the data without overlap or gap. Throws Error at `file` naming the tensor; allocates no more
// than some times the length of `text`.
Header read_header(std::string_view text, uint64_t data, const std::string& file);

}  // namespace ivit::safetensors
