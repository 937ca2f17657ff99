// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/config_edit.h"

#include <fmt/format.h>

#include <algorithm>

namespace config_edit {

using ivit::QuantConfig;
using ivit::QuantRule;

namespace {

// How particular a glob is: what a later rule may override.
int rank(const std::string& glob) {
    if (glob.find_first_of("*?") == std::string::npos) return 2;
    if (glob.rfind("blocks.", 0) == 0 && glob.size() > 9 && glob.substr(glob.size() - 2) == ".*" &&
        glob.find_first_of("*?") == glob.size() - 1) {
        return 1;
    }
    return 0;
}

}  // namespace

const QuantRule* find(const QuantConfig& c, const std::string& glob) {
    // Later rules win, so the last one is the one in force.
    const auto it =
        std::find_if(c.rules.rbegin(), c.rules.rend(), [&](const QuantRule& r) { return r.glob == glob; });
    return it == c.rules.rend() ? nullptr : &*it;
}

void edit_rule(QuantConfig& c, const std::string& glob, const std::function<void(QuantRule&)>& edit) {
    auto it =
        std::find_if(c.rules.rbegin(), c.rules.rend(), [&](const QuantRule& r) { return r.glob == glob; });
    if (it != c.rules.rend()) {
        edit(*it);
        QuantRule empty;
        empty.glob = glob;
        if (*it == empty) c.rules.erase(std::next(it).base());
        return;
    }
    QuantRule rule;
    rule.glob = glob;
    edit(rule);
    QuantRule empty;
    empty.glob = glob;
    if (rule == empty) return;
    const auto place = std::find_if(c.rules.begin(), c.rules.end(),
                                    [&](const QuantRule& r) { return rank(r.glob) > rank(glob); });
    c.rules.insert(place, rule);
}

std::string block_glob(int block) { return fmt::format("blocks.{}.*", block); }

std::string operator_glob(const ivit::Graph& g, ivit::Op op) {
    if (op == ivit::Op::layernorm) return "*norm*";
    for (const ivit::Node& n : g.nodes) {
        const size_t dot = n.name.find_last_of('.');
        if (n.op == op)
            return dot == std::string::npos ? n.name
                                            : fmt::format("*{}", std::string_view(n.name).substr(dot));
    }
    return {};
}

ivit::Mode operator_mode(const QuantConfig& c, const ivit::Graph& g, ivit::Op op) {
    const QuantRule* r = find(c, operator_glob(g, op));
    return r && r->mode ? *r->mode : ivit::Mode::integer;
}

void set_operator_mode(QuantConfig& c, const ivit::Graph& g, ivit::Op op, ivit::Mode mode) {
    const std::string glob = operator_glob(g, op);
    if (glob.empty()) return;
    edit_rule(c, glob, [mode](QuantRule& r) {
        r.mode = mode == ivit::Mode::integer ? std::nullopt : std::optional(mode);
    });
}

void set_widths(QuantConfig& c, const std::string& spec) {
    const ivit::BitSpec bits = ivit::BitSpec::parse(spec);
    if (bits.weight) c.weight_bits = *bits.weight;
    if (bits.activation) c.act_bits = *bits.activation;
    if (bits.residual) c.residual_bits = *bits.residual;
}

std::string widths(const QuantConfig& c) { return fmt::format("W{}A{}", c.weight_bits, c.act_bits); }

}  // namespace config_edit
