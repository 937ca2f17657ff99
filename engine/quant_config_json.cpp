// SPDX-License-Identifier: Apache-2.0
// A QuantConfig as JSON. What a person may have mistyped is named, and the nearest known field with it.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <set>

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/quant_config_parts.h"

namespace ivit {

using namespace quant_config;

namespace {

// Edit distance, for "did you mean".
size_t distance(const std::string& a, const std::string& b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
        }
    }
    return row[b.size()];
}

void only_known(const Json& j, std::initializer_list<const char*> known, const std::string& where) {
    for (const auto& item : j.items()) {
        const std::string& name = item.key();
        if (std::any_of(known.begin(), known.end(), [&](const char* k) { return name == k; })) continue;
        const char* nearest = *std::min_element(
            known.begin(), known.end(),
            [&](const char* a, const char* b) { return distance(name, a) < distance(name, b); });
        // A slip of the fingers, not another word.
        const bool slip = distance(name, nearest) <= 1 + std::strlen(nearest) / 4;
        throw Error(fmt::format("unknown field {}{}", in_quotes(name),
                                slip ? fmt::format("; the nearest known one is \"{}\"", nearest) : ""),
                    where, fmt::format("known fields: {}", fmt::join(known, ", ")));
    }
}

const Json* field(const Json& j, const char* name) {
    const auto it = j.find(name);
    return it == j.end() ? nullptr : &*it;
}

void must_be_object(const Json& j, const std::string& where, const char* instead = "an object") {
    if (!j.is_object()) throw Error(fmt::format("expected {}, found {}", instead, j.type_name()), where);
}

std::optional<int> integer_field(const Json& j, const Range& range, const std::string& where) {
    const Json* f = field(j, range.name);
    if (!f) return {};
    if (f->is_number_unsigned() && f->get<uint64_t>() > INT32_MAX) return checked(INT32_MAX, range, where);
    if (!f->is_number_integer()) {
        throw Error(fmt::format("{} must be a whole number from {} to {}, found {}", range.name, range.low,
                                range.high, f->is_number() ? f->dump() : f->type_name()),
                    where);
    }
    return checked(f->get<int64_t>(), range, where);
}

std::optional<std::string> text_field(const Json& j, const char* name, const std::string& where) {
    const Json* f = field(j, name);
    if (!f) return {};
    if (!f->is_string()) throw Error(fmt::format("{} must be text, found {}", name, f->type_name()), where);
    return f->get<std::string>();
}

bool row_pivot_of(const std::string& text, const std::string& where) {
    if (text != "row" && text != "zero") {
        throw Error(fmt::format("pivot is {}, allowed are \"row\" and \"zero\"", in_quotes(text)), where);
    }
    return text == "row";
}

Mode mode_of(const std::string& text, const std::string& where) {
    for (Mode m : {Mode::integer, Mode::exact, Mode::float_ops}) {
        if (text == to_string(m)) return m;
    }
    throw Error(fmt::format(R"(mode is {}, allowed are "integer", "exact" and "float")", in_quotes(text)),
                where);
}

// "W8A8" or {"weight": 8, "activation": 8}: patch_embed and head. They have no residual width of their own.
BitSpec pair_from_json(const Json& j, const std::string& where, BitSpec bits) {
    BitSpec given;
    if (j.is_string()) {
        try {
            given = BitSpec::parse(j.get<std::string>());
        } catch (const Error& e) {
            throw Error(e.what(), where, e.hint());
        }
    } else {
        must_be_object(j, where, "a width such as \"W8A8\", or an object");
        only_known(j, {"weight", "activation"}, where);
        given.weight = integer_field(j, weight_width, where);
        given.activation = integer_field(j, activation_width, where);
    }
    if (given.residual) throw Error("the residual width is one for the whole network", where);
    if (given.weight) bits.weight = given.weight;
    if (given.activation) bits.activation = given.activation;
    return bits;
}

void shift_from_json(const Json& j, bool pivot, const std::string& where, ShiftParams& p) {
    must_be_object(j, where);
    if (pivot) {
        only_known(j, {"n", "k", "M", "t", "pivot"}, where);
    } else {
        only_known(j, {"n", "k", "M", "t"}, where);
    }
    p.n = integer_field(j, n_range, where).value_or(p.n);
    p.k = integer_field(j, k_range, where).value_or(p.k);
    p.M = integer_field(j, M_range, where).value_or(p.M);
    p.t = integer_field(j, t_range, where).value_or(p.t);
    if (const auto text = text_field(j, "pivot", where)) p.row_pivot = row_pivot_of(*text, where);
}

Json shift_to_json(const ShiftParams& p, bool pivot) {
    Json j{{"n", p.n}, {"k", p.k}, {"M", p.M}, {"t", p.t}};
    if (pivot) j["pivot"] = pivot_text(p.row_pivot);
    return j;
}

QuantRule rule_from_json(const std::string& glob, const Json& j, bool glob_is_field) {
    QuantRule r;
    r.glob = glob;
    const std::string where = rule_name(r);
    if (glob.empty()) throw Error("a rule needs a node name or a glob such as \"blocks.*.mlp.fc2\"", "rules");
    if (j.is_string()) {
        try {
            r.bits = BitSpec::parse(j.get<std::string>());
        } catch (const Error& e) {
            throw Error(e.what(), where, e.hint() + R"(, or an object such as {"mode": "float"})");
        }
        return r;
    }
    must_be_object(j, where, "a width such as \"W4A8\", or an object");
    if (glob_is_field) {
        only_known(j, {"glob", "weight", "activation", "residual", "mode", "n", "k", "M", "t", "pivot"},
                   where);
    } else {
        only_known(j, {"weight", "activation", "residual", "mode", "n", "k", "M", "t", "pivot"}, where);
    }
    r.bits.weight = integer_field(j, weight_width, where);
    r.bits.activation = integer_field(j, any_activation_width, where);
    r.bits.residual = integer_field(j, residual_width, where);
    if (const auto text = text_field(j, "mode", where)) r.mode = mode_of(*text, where);
    r.n = integer_field(j, n_range, where);
    r.k = integer_field(j, k_range, where);
    r.M = integer_field(j, M_range, where);
    r.t = integer_field(j, t_range, where);
    if (const auto text = text_field(j, "pivot", where)) r.row_pivot = row_pivot_of(*text, where);
    return r;
}

// "default" and "residual", which may both say the residual stream's width.
void widths_from_json(const Json& j, const std::string& where, QuantConfig& c) {
    std::optional<int> residual = integer_field(j, residual_width, where);
    if (const auto text = text_field(j, "default", where)) {
        const BitSpec bits = BitSpec::parse(*text);
        if (!bits.weight || !bits.activation) {
            throw Error(fmt::format("default is {}, it needs both widths, as in W8A8", in_quotes(*text)),
                        where);
        }
        c.weight_bits = *bits.weight;
        c.act_bits = *bits.activation;
        if (bits.residual && residual && *bits.residual != *residual) {
            throw Error(
                fmt::format("default {} and residual {} contradict each other", in_quotes(*text), *residual),
                where);
        }
        if (bits.residual) residual = bits.residual;
    }
    c.residual_bits = residual.value_or(c.residual_bits);
}

// "softmax": shiftmax.k by another name.
void softmax_from_json(const Json& j, const std::string& where, QuantConfig& c) {
    const auto softmax = integer_field(j, softmax_width, where);
    if (!softmax) return;
    const Json* shiftmax = field(j, "shiftmax");
    if (shiftmax && shiftmax->contains("k") && c.shiftmax.k != *softmax) {
        throw Error(fmt::format("softmax {} and shiftmax k {} contradict each other: both are the softmax "
                                "output's width",
                                *softmax, c.shiftmax.k),
                    where);
    }
    c.shiftmax.k = *softmax;
}

std::vector<QuantRule> rules_from_json(const Json& j) {
    std::vector<QuantRule> rules;
    if (j.is_object()) {
        for (const auto& item : j.items()) rules.push_back(rule_from_json(item.key(), item.value(), false));
    } else if (j.is_array()) {
        for (const Json& rule : j) {
            must_be_object(rule, "rules", "objects with a \"glob\"");
            rules.push_back(rule_from_json(text_field(rule, "glob", "rules").value_or(""), rule, true));
        }
    } else {
        throw Error(fmt::format("expected an object of globs, found {}", j.type_name()), "rules");
    }
    return rules;
}

}  // namespace

Json quant_config::rule_to_json(const QuantRule& r) {
    Json j = Json::object();
    if (r.bits.weight) j["weight"] = *r.bits.weight;
    if (r.bits.activation) j["activation"] = *r.bits.activation;
    if (r.bits.residual) j["residual"] = *r.bits.residual;
    if (r.mode) j["mode"] = to_string(*r.mode);
    if (r.n) j["n"] = *r.n;
    if (r.k) j["k"] = *r.k;
    if (r.M) j["M"] = *r.M;
    if (r.t) j["t"] = *r.t;
    if (r.row_pivot) j["pivot"] = pivot_text(*r.row_pivot);
    if (j.size() == 2 && r.bits.weight && r.bits.activation.value_or(99) <= activation_width.high) {
        return pair_text(r.bits);
    }
    return j;
}

// nlohmann keeps the last of two equal keys without a word; here that would drop somebody's rule.
Json quant_config::parse_json(const std::string& text, const std::string& where) {
    std::vector<std::set<std::string>> open;
    std::string twice;
    const auto callback = [&](int, Json::parse_event_t event, Json& parsed) {
        if (event == Json::parse_event_t::object_start) open.emplace_back();
        if (event == Json::parse_event_t::object_end) open.pop_back();
        if (event == Json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second &&
            twice.empty()) {
            twice = parsed.get<std::string>();
        }
        return true;
    };
    Json j;
    try {
        j = Json::parse(text, callback);
    } catch (const Json::parse_error& e) {
        const size_t at = std::min(e.byte > 0 ? e.byte - 1 : 0, text.size());
        const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
        throw Error(fmt::format("is not valid JSON: error in line {}", line), where);
    }
    if (!twice.empty()) throw Error(fmt::format("the field {} is there twice", in_quotes(twice)), where);
    return j;
}

QuantConfig QuantConfig::from_json(const nlohmann::ordered_json& j) {
    const std::string where = "quantization";
    if (j.is_string()) return from_json(Json{{"default", j}});
    must_be_object(j, where);
    only_known(j,
               {"default", "preset", "residual", "softmax", "logits", "patch_embed", "head", "shiftmax",
                "shiftgelu", "rules"},
               where);
    QuantConfig c;
    if (const auto name = text_field(j, "preset", where)) c.set_preset(*name);
    widths_from_json(j, where, c);
    c.logits_bits = integer_field(j, logits_width, where).value_or(c.logits_bits);
    if (const Json* f = field(j, "patch_embed"))
        c.patch_embed = pair_from_json(*f, "patch_embed", c.patch_embed);
    if (const Json* f = field(j, "head")) c.head = pair_from_json(*f, "head", c.head);
    if (const Json* f = field(j, "shiftmax")) shift_from_json(*f, false, "shiftmax", c.shiftmax);
    if (const Json* f = field(j, "shiftgelu")) shift_from_json(*f, true, "shiftgelu", c.shiftgelu);
    softmax_from_json(j, where, c);
    if (const Json* f = field(j, "rules")) c.rules = rules_from_json(*f);
    return c;
}

nlohmann::ordered_json QuantConfig::to_json() const {
    Json j;
    j["default"] = fmt::format("W{}A{}", weight_bits, act_bits);
    j["preset"] = preset;
    j["residual"] = residual_bits;
    j["softmax"] = shiftmax.k;
    j["logits"] = logits_bits;
    j["patch_embed"] = pair_text(patch_embed);
    j["head"] = pair_text(head);
    j["shiftmax"] = shift_to_json(shiftmax, false);
    j["shiftgelu"] = shift_to_json(shiftgelu, true);
    // An object, unless a glob comes twice, which an object cannot say.
    std::set<std::string> globs;
    for (const QuantRule& r : rules) globs.insert(r.glob);
    const bool as_object = globs.size() == rules.size();
    Json list = as_object ? Json::object() : Json::array();
    for (const QuantRule& r : rules) {
        Json rule = rule_to_json(r);
        if (as_object) {
            list[r.glob] = std::move(rule);
            continue;
        }
        Json entry{{"glob", r.glob}};
        if (rule.is_string()) rule = Json{{"weight", *r.bits.weight}, {"activation", *r.bits.activation}};
        entry.update(rule);
        list.push_back(std::move(entry));
    }
    j["rules"] = std::move(list);
    return j;
}

}  // namespace ivit
