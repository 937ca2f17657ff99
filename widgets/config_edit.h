// SPDX-License-Identifier: GPL-3.0-or-later
// Edits of a QuantConfig as a person makes them: one rule per block or node, the general before the
// particular.
#pragma once
#include <functional>
#include <string>

#include "engine/quant_config.h"

namespace config_edit {

// The rule whose glob is exactly `glob`, or nullptr.
const ivit::QuantRule* find(const ivit::QuantConfig& c, const std::string& glob);

// Changes the rule with this glob through `edit`, making it first where there is none, and dropping it where
// nothing is left in it. New rules go behind those of their own kind: operators ("*.softmax"), blocks
// ("blocks.3.*"), then nodes.
void edit_rule(ivit::QuantConfig& c, const std::string& glob,
               const std::function<void(ivit::QuantRule&)>& edit);

std::string block_glob(int block);  // "blocks.3.*"

// One glob that matches the nodes of an operator: "*.softmax", "*.act", "*norm*".
std::string operator_glob(const ivit::Graph& g, ivit::Op op);
ivit::Mode operator_mode(const ivit::QuantConfig& c, const ivit::Graph& g, ivit::Op op);
void set_operator_mode(ivit::QuantConfig& c, const ivit::Graph& g, ivit::Op op, ivit::Mode mode);

// W and A of the whole network, keeping overrides; "W4A8". `spec` may carry a residual width.
void set_widths(ivit::QuantConfig& c, const std::string& spec);
std::string widths(const ivit::QuantConfig& c);  // "W4A8"

}  // namespace config_edit
