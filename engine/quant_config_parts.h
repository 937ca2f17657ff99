// SPDX-License-Identifier: Apache-2.0
// What the files of QuantConfig share: ranges of its fields, and the words its errors and labels are made of.
#pragma once
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/quant_config.h"

namespace ivit::quant_config {

using Json = nlohmann::ordered_json;

// A field a person can set, with what it may be.
struct Range {
    const char* name;
    int low, high;
};
inline constexpr Range weight_width{"weight", 2, 8};
inline constexpr Range activation_width{"activation", 4, 8};
inline constexpr Range residual_width{"residual", 8, 16};
inline constexpr Range softmax_width{"softmax", 4, 16};
inline constexpr Range logits_width{"logits", 4, 16};
inline constexpr Range any_activation_width{"activation", 4,
                                            16};  // of a rule, before it is known which nodes it matches
inline constexpr Range n_range{"n", 1, 30}, k_range{"k", 4, 16}, M_range{"M", 16, 62}, t_range{"t", 0, 8};

// `value` as it is. Throws Error at `where`, naming the field and what is allowed, outside of `range`.
int checked(int64_t value, const Range& range, const std::string& where);

// `name` as a person may quote it back: cut when somebody pasted a novel.
std::string in_quotes(const std::string& name);
// rule "blocks.*.mlp.fc2"
std::string rule_name(const QuantRule& r);
// "W4A8", a width that is not given as 8.
std::string pair_text(const BitSpec& b);
// ShiftParams::row_pivot in JSON: "row" or "zero".
const char* pivot_text(bool row);

// Short form, "W4A8", where the text says it all; else an object.
Json rule_to_json(const QuantRule& r);
// Throws Error at `where` for what is no JSON, with the line, and for a field that is there twice.
Json parse_json(const std::string& text, const std::string& where);

}  // namespace ivit::quant_config
