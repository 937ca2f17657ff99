// SPDX-License-Identifier: Apache-2.0
// The network in integers: what every integer backend executes. Made by quantize(), saved and loaded as
// safetensors (quantized_model.md documents the file well enough to re-implement inference from it).
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/calibration.h"
#include "engine/model.h"
#include "engine/quant_config.h"
#include "engine/weights.h"

namespace ivit {

// The integers of one node. Which fields are used depends on the op; the others are empty.
struct QuantNode {
    NodeQuant quant;
    Grid out;  // of the node's output

    // linear, patch_embed, head: [cols, K] row-major; K = 3*p*p in the order [3, p, p] for patch_embed.
    Weights weight;
    std::vector<double> weight_scale;  // [cols]; only for people: no backend reads it
    std::vector<int32_t> bias;         // [cols], on the grid Sx * Sw[c]

    // Requantization (arithmetic.md, Dyadic numbers). Lengths:
    //   linear to int8, patch_embed, head: [cols].   linear to the residual stream: empty (its reader
    //   requantizes). residual_add: [cols] for the linear's accumulator.   attn_logits, attn_context, gelu:
    //   [1]. layernorm: [cols], with s <= 54 (arithmetic.md, I-LayerNorm).
    std::vector<int32_t> m;
    std::vector<int32_t> s;
    int32_t mt = 0, st = 31;        // residual_add: of the old residual stream
    std::vector<int64_t> B;         // layernorm: [cols]
    int64_t i0 = 1;                 // softmax, gelu: I0
    std::vector<int8_t> table;      // input: [3, 256]. gelu with pivot zero: [256], indexed by x + 128
    std::vector<int32_t> constant;  // pos_embed: [tokens, cols], row 0 is class token + its position
};

struct QuantizedModel : std::enable_shared_from_this<QuantizedModel> {
    std::shared_ptr<const Graph> graph;
    ModelInfo info;
    QuantConfig config;
    Calibration calibration;
    // Nodes that did not change between two quantizations share the pointer: backends keep what they packed
    // for it.
    std::vector<std::shared_ptr<const QuantNode>> nodes;
    // The float model, for Mode::float_ops and Mode::exact nodes and for comparing; null when loaded from a
    // file.
    std::shared_ptr<const Model> source;

    int64_t weight_bytes() const;  // of the integer weights at their bit-widths (W4 counts half a byte)
};

// Quantizes `model`. Weights: symmetric per output channel (arithmetic.md, Linear). `previous`, when given,
// must come from the same model and calibration: nodes whose quantization is the same are taken over from it.
// Throws Error naming the node when a ratio cannot be expressed (arithmetic.md, Dyadic numbers).
std::shared_ptr<const QuantizedModel> quantize(std::shared_ptr<const Model> model,
                                               const Calibration& calibration, const QuantConfig& config,
                                               const QuantizedModel* previous = nullptr);

// Writes beside `file` and renames, so that a failure leaves what was there. Refuses models with nodes that
// are not Mode::integer (the file holds integers only), naming the first; and the checkpoint that `q` was
// made from as `file`.
void save(const QuantizedModel& q, const std::filesystem::path& file);

// True when the safetensors file is a quantized model (its metadata says format = ivit-quantized).
bool is_quantized(const std::filesystem::path& file);
// Throws Error naming the tensor that is missing, misshapen or of the wrong type.
std::shared_ptr<const QuantizedModel> load_quantized(const std::filesystem::path& file);
// The same from a file that is open already, or from bytes in memory (Safetensors::parse).
class Safetensors;
std::shared_ptr<const QuantizedModel> load_quantized(const Safetensors& file);

// r ~= m / 2^s (arithmetic.md, Dyadic numbers). Throws Error when s < 1 ("ratio 3e12 is too large").
struct Dyadic {
    int32_t m = 0;
    int32_t s = 31;
};
Dyadic dyadic(double r);

// One channel's constants of I-LayerNorm (arithmetic.md, I-LayerNorm): ratio gamma * sqrt(C) / 2^30 / S_out
// with s capped at 54, and beta on that grid.
struct LayernormConstants {
    int32_t m = 0;
    int32_t s = 31;
    int64_t B = 0;
};
LayernormConstants layernorm_constants(double gamma, double beta, double S_out, int64_t C);

// ShiftGELU with pivot zero and the requantization after it, for x = -128..127, as [256] (arithmetic.md,
// ShiftGELU). q: a gelu node's quant.shift, i0, m, s and out.
std::vector<int8_t> gelu_table(const QuantNode& q);

}  // namespace ivit
