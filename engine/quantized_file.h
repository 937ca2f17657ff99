// SPDX-License-Identifier: Apache-2.0
// What the writer and the reader of a quantized model's file both rely on; quantized_model.md describes the
// file.
#pragma once
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

// What the metadata says of each node. All of it but the scales follows from the configuration, and is there
// for readers that know nothing of globs.
nlohmann::ordered_json nodes_to_json(const Graph& g, const std::vector<NodeQuant>& quants,
                                     const std::vector<Grid>& grids);

}  // namespace ivit::quantized_file
