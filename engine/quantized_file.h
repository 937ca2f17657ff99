// SPDX-License-Identifier: Apache-2.0
// What the writer and the reader of a quantized model's file both rely on; quantized_model.md describes the
// file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/quantized_model.h"

namespace ivit::quantized_file {

inline constexpr const char* format_name = "ivit-quantized";
inline constexpr const char* format_version = "1";

// Of a node's weight tensor: [C, 3, patch, patch] of patch_embed, else [C, width of the input].
Shape weight_shape(const Graph& g, const Node& n);

// How many dyadic pairs a node has (quantized_model.h, QuantNode::m).
int64_t dyadic_pairs(const Node& n);

// CRC-32 as zlib, gzip and PNG have it (RFC 1952, section 8): no damage within 32 bits that follow each other
// passes, and of any other one in 2^32. SHA-256 would tell no more of accidents and takes three times as long
// or, without instructions of its own, thirty times.
uint32_t crc32(std::span<const std::byte> bytes);

// What the metadata says of each node. All of it but the scales follows from the configuration, and is there
// for readers that know nothing of globs.
nlohmann::ordered_json nodes_to_json(const Graph& g, const std::vector<NodeQuant>& quants,
                                     const std::vector<Grid>& grids);

}  // namespace ivit::quantized_file
