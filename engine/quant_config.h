// SPDX-License-Identifier: Apache-2.0
// What a person chooses: bit-widths, operator parameters and modes, for the network and by node-name glob.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/arithmetic.h"
#include "engine/graph.h"

namespace ivit {

enum class Mode {
    integer,  // as arithmetic.md says
    exact,    // integer data, but the true softmax / GELU (erf) / LayerNorm, rounded to the same output grid
    float_ops,  // inputs dequantized, the node computed in FP32 with the float weights, quantized to its
                // output grid. In JSON "float".
};
const char* to_string(Mode m);

// What a bit-width spec says. Text form: W<2..8>A<4..8>[/<residual 8..16>], e.g. "W4A8", "W8A8/8".
// A is the width of the integers a node *outputs*; W of its weights. Where a node feeds the residual stream
// directly (attn.proj, mlp.fc2) its output has no width of its own and A is without effect.
struct BitSpec {
    std::optional<int> weight, activation, residual;
    static BitSpec parse(const std::string& text);  // throws Error naming what is wrong
    bool operator==(const BitSpec&) const = default;
};

// One rule; fields that are unset leave what earlier rules or the default said. Later rules win.
struct QuantRule {
    std::string glob;          // on node names
    BitSpec bits;              // JSON: "W4A8", or {"weight": 4, "activation": 8}
    std::optional<Mode> mode;  // JSON "mode": "integer" | "exact" | "float". `exact` acts on softmax, gelu
                               // and layernorm nodes that match; the others have nothing to approximate
    std::optional<int> n, k, M, t;  // of the softmax and gelu nodes that match
    std::optional<bool> row_pivot;  // JSON "pivot": "row" | "zero"; gelu nodes
    bool operator==(const QuantRule&) const = default;
};

// The whole choice. JSON form, every field optional (unknown fields are refused):
//   {"default": "W8A8", "preset": "refined", "residual": 16, "softmax": 16, "logits": 8,
//    "patch_embed": "W8A8", "head": "W8A8",
//    "shiftmax": {"n": 15, "k": 16, "M": 47, "t": 4}, "shiftgelu": {..., "pivot": "zero"},
//    "rules": {"blocks.*.mlp.fc2": "W4A8", "blocks.3.*": {"mode": "float"}}}
// "rules" may also be a list, [{"glob": "blocks.3.*", "mode": "float"}], where one glob may come twice.
//
// A rule's `activation` means the nodes that have an activation width. Logits, softmax and residual nodes
// obey it only when the glob matches nothing else: {"blocks.3.*": "W4A6"} leaves the softmax at 16 bits,
// {"blocks.3.attn.softmax": {"activation": 8}} does not. Where it is the softmax, 4..16 is allowed and sets
// k; logits 4..16, residual nodes 8..16. A rule's `residual` means the
// residual nodes that match.
struct QuantConfig {
    int weight_bits = 8, act_bits = 8;
    int residual_bits = 16;           // 8..16
    int logits_bits = 8;              // 4..16; like the two around it, a width of its own
    BitSpec patch_embed{8, 8, {}};    // patch_embed.proj and the input
    BitSpec head{8, 8, {}};           // head, and the final norm it reads
    std::string preset = "refined";   // "paper" | "refined"; what shiftmax and shiftgelu started from
    ShiftParams shiftmax, shiftgelu;  // shiftmax.k is the softmax output's width
    std::vector<QuantRule> rules;

    QuantConfig();  // W8A8, refined
    // The operators' parameters, all but shiftmax.k, which is a bit-width: {"softmax": 8} stays 8. Throws
    // Error for an unknown name.
    void set_preset(const std::string& name);
    bool operator==(const QuantConfig&) const = default;

    static QuantConfig from_spec(const std::string& spec_or_file);  // "W4A8", or the path of a JSON file
    // Throws Error naming the field. Ordered, because later rules win: nlohmann::json would sort them.
    static QuantConfig from_json(const nlohmann::ordered_json& j);
    static QuantConfig from_json(const nlohmann::json& j) = delete;
    nlohmann::ordered_json to_json() const;  // complete: every default spelled out
    // Short, for tables and titles: "W4A8", "W8A8/8, softmax 8", "W8A8, Shiftmax n 10", "W4A8 except *.act
    // exact", "W4A8 with 72 exceptions".
    std::string label() const;
};

// What the config means for one node.
struct NodeQuant {
    int weight_bits = 8;
    int out_bits = 8;  // of the node's output grid; 32 where nothing clamps
    Mode mode = Mode::integer;
    ShiftParams shift;  // softmax and gelu nodes
    bool operator==(const NodeQuant&) const = default;
};

// One entry per node of g. Throws Error for a width outside its range (weights 2..8, activations 4..8,
// residual 8..16, softmax 4..16, logits 4..16) and for a rule whose glob matches no node.
std::vector<NodeQuant> resolve(const QuantConfig& c, const Graph& g);

}  // namespace ivit
