// SPDX-License-Identifier: Apache-2.0
// Reading and writing a QuantConfig, and what it means for each node of a graph.
#include "engine/quant_config.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace ivit {

namespace {

using Json = nlohmann::ordered_json;

// A field a person can set, with what it may be.
struct Range {
    const char* name;
    int low, high;
};
constexpr Range weight_width{"weight", 2, 8};
constexpr Range activation_width{"activation", 4, 8};
constexpr Range residual_width{"residual", 8, 16};
constexpr Range softmax_width{"softmax", 4, 16};
constexpr Range logits_width{"logits", 4, 16};
constexpr Range any_activation_width{"activation", 4,
                                     16};  // of a rule, before it is known which nodes it matches
constexpr Range n_range{"n", 1, 30}, k_range{"k", 4, 16}, M_range{"M", 16, 62}, t_range{"t", 0, 8};

int checked(int64_t value, const Range& range, const std::string& where) {
    if (value < range.low || value > range.high) {
        throw Error(fmt::format("{} is {}, allowed are {} to {}", range.name, value, range.low, range.high),
                    where);
    }
    return static_cast<int>(value);
}

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

// `name` as a person may quote it back: cut when somebody pasted a novel.
std::string in_quotes(const std::string& name) {
    return name.size() <= 60 ? '"' + name + '"' : '"' + name.substr(0, 57) + "...\"";
}

void only_known(const Json& j, std::initializer_list<const char*> known, const std::string& where) {
    for (const auto& item : j.items()) {
        const std::string& name = item.key();
        if (std::any_of(known.begin(), known.end(), [&](const char* k) { return name == k; })) continue;
        const char* nearest = *std::min_element(
            known.begin(), known.end(),
            [&](const char* a, const char* b) { return distance(name, a) < distance(name, b); });
        throw Error(
            fmt::format("unknown field {}; the nearest known one is \"{}\"", in_quotes(name), nearest), where,
            fmt::format("known fields: {}", fmt::join(known, ", ")));
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
const char* pivot_text(bool row) { return row ? "row" : "zero"; }

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

std::string pair_text(const BitSpec& b) {
    return fmt::format("W{}A{}", b.weight.value_or(8), b.activation.value_or(8));
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

std::string rule_name(const QuantRule& r) { return "rule " + in_quotes(r.glob); }

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

// Short form where the text form says it all.
Json rule_to_json(const QuantRule& r) {
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

// "blocks.2.* float", "*.softmax activation 8", "blocks.*.mlp.fc2 W4A8".
std::string rule_text(const QuantRule& r) {
    std::string text = r.glob;
    const Json j = rule_to_json(r);
    if (j.is_string()) return text + " " + j.get<std::string>();
    for (const auto& [key, value] : j.items())
        text += (key == "mode" ? " " : " " + key + " ") +
                (value.is_string() ? value.get<std::string>() : value.dump());
    return text;
}

// ", Shiftmax n 10 t 0": where an operator is not as its preset has it. Shiftmax's k is named elsewhere.
std::string changed(const char* name, const ShiftParams& p, const ShiftParams& preset, bool gelu) {
    std::string text;
    if (p.n != preset.n) text += fmt::format(" n {}", p.n);
    if (gelu && p.k != preset.k) text += fmt::format(" k {}", p.k);
    if (p.M != preset.M) text += fmt::format(" M {}", p.M);
    if (p.t != preset.t) text += fmt::format(" t {}", p.t);
    if (gelu && p.row_pivot != preset.row_pivot) text += std::string(" pivot ") + pivot_text(p.row_pivot);
    return text.empty() ? text : fmt::format(", {}{}", name, text);
}

// nlohmann keeps the last of two equal keys without a word; here that would drop somebody's rule.
Json parse_json(const std::string& text, const std::string& where) {
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

// Which of its widths a rule's `activation` sets at a node.
enum class Width { none, activation, logits, softmax, residual };

Width width_of(const Node& node) {
    switch (node.op) {
        case Op::input:
        case Op::layernorm:
        case Op::attn_context:
        case Op::gelu:
            return Width::activation;
        case Op::linear:
            return node.to_residual ? Width::none : Width::activation;
        case Op::attn_logits:
            return Width::logits;
        case Op::softmax:
            return Width::softmax;
        case Op::pos_embed:
        case Op::residual_add:
            return Width::residual;
        case Op::patch_embed:  // on pos_embed's grid
        case Op::head:         // int32
            return Width::none;
    }
    return Width::none;
}

bool has_weight(Op op) { return op == Op::linear || op == Op::patch_embed || op == Op::head; }
bool has_shift(Op op) { return op == Op::softmax || op == Op::gelu; }
bool has_exact_form(Op op) { return has_shift(op) || op == Op::layernorm; }

void check_config(const QuantConfig& c) {
    const auto shift = [](const ShiftParams& p, const char* where) {
        checked(p.n, n_range, where);
        checked(p.k, k_range, where);
        checked(p.M, M_range, where);
        checked(p.t, t_range, where);
    };
    checked(c.weight_bits, weight_width, "quantization");
    checked(c.act_bits, activation_width, "quantization");
    checked(c.residual_bits, residual_width, "quantization");
    checked(c.logits_bits, logits_width, "quantization");
    for (const auto& [bits, where] : {std::pair{&c.patch_embed, "patch_embed"}, std::pair{&c.head, "head"}}) {
        checked(bits->weight.value_or(8), weight_width, where);
        checked(bits->activation.value_or(8), activation_width, where);
    }
    shift(c.shiftmax, "shiftmax");
    shift(c.shiftgelu, "shiftgelu");
}

// The node's quantization before any rule.
NodeQuant node_default(const QuantConfig& c, const Node& node) {
    NodeQuant q;
    switch (node.op) {
        case Op::input:
            q.out_bits = c.patch_embed.activation.value_or(8);
            break;
        case Op::patch_embed:
            q.weight_bits = c.patch_embed.weight.value_or(8);
            q.out_bits = c.residual_bits;
            break;
        case Op::pos_embed:
        case Op::residual_add:
            q.out_bits = c.residual_bits;
            break;
        case Op::layernorm:  // the one outside the blocks is the final norm, which the head reads
            q.out_bits = node.block < 0 ? c.head.activation.value_or(8) : c.act_bits;
            break;
        case Op::linear:
            q.weight_bits = c.weight_bits;
            q.out_bits = node.to_residual ? 32 : c.act_bits;
            break;
        case Op::attn_logits:
            q.out_bits = c.logits_bits;
            break;
        case Op::softmax:
            q.shift = c.shiftmax;
            q.out_bits = c.shiftmax.k;
            break;
        case Op::attn_context:
            q.out_bits = c.act_bits;
            break;
        case Op::gelu:
            q.shift = c.shiftgelu;
            q.out_bits = c.act_bits;
            break;
        case Op::head:
            q.weight_bits = c.head.weight.value_or(8);
            q.out_bits = 32;
            break;
    }
    return q;
}

// `broad`: the rule's glob matches ordinary nodes too, so that its activation width does not mean the
// logits, the softmax's output or the residual stream.
void apply(const QuantRule& r, bool broad, const Node& node, NodeQuant& q) {
    const std::string where = rule_name(r) + " at " + node.name;
    const Width width = width_of(node);
    if (has_weight(node.op) && r.bits.weight) q.weight_bits = checked(*r.bits.weight, weight_width, where);
    if (r.bits.activation) {
        const int a = *r.bits.activation;
        if (width == Width::activation) q.out_bits = checked(a, activation_width, where);
        if (width == Width::logits && !broad) q.out_bits = checked(a, any_activation_width, where);
        if (width == Width::softmax && !broad) q.shift.k = checked(a, any_activation_width, where);
        if (width == Width::residual && !broad) q.out_bits = checked(a, {"activation", 8, 16}, where);
    }
    if (width == Width::residual && r.bits.residual)
        q.out_bits = checked(*r.bits.residual, residual_width, where);
    if (has_shift(node.op)) {
        if (r.n) q.shift.n = checked(*r.n, n_range, where);
        if (r.k) q.shift.k = checked(*r.k, k_range, where);
        if (r.M) q.shift.M = checked(*r.M, M_range, where);
        if (r.t) q.shift.t = checked(*r.t, t_range, where);
    }
    if (node.op == Op::gelu && r.row_pivot) q.shift.row_pivot = *r.row_pivot;
    if (node.op == Op::softmax) q.out_bits = q.shift.k;
    // The input is one table of bytes in every mode: there is nothing to compute in floating point.
    if (r.mode && node.op != Op::input && (*r.mode != Mode::exact || has_exact_form(node.op)))
        q.mode = *r.mode;
}

}  // namespace

const char* to_string(Mode m) {
    switch (m) {
        case Mode::integer:
            return "integer";
        case Mode::exact:
            return "exact";
        case Mode::float_ops:
            return "float";
    }
    return "?";
}

BitSpec BitSpec::parse(const std::string& text) {
    const std::string hint =
        "write a width as W8A8, W4A8 or W8A8/8 (weights 2..8, activations 4..8, residual 8..16)";
    const std::string where = in_quotes(text);
    BitSpec spec;
    size_t i = 0;
    // Reads `letter` and a number when they come next.
    const auto part = [&](char letter, const Range& range) -> std::optional<int> {
        if (i >= text.size() || std::toupper(static_cast<unsigned char>(text[i])) != letter) return {};
        size_t end = ++i;
        while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
        if (end == i || end - i > 4)
            throw Error(fmt::format("is not a bit-width: '{}' needs a number", letter), where, hint);
        const int value = std::stoi(text.substr(i, end - i));
        i = end;
        try {
            return checked(value, range, where);
        } catch (const Error& e) {
            throw Error(e.sentence(), where, hint);
        }
    };
    spec.weight = part('W', weight_width);
    spec.activation = part('A', activation_width);
    spec.residual = part('/', residual_width);
    if (i != text.size() || text.empty())
        throw Error("is not a bit-width such as W8A8, W4A8 or W8A8/8", where, hint);
    return spec;
}

QuantConfig::QuantConfig() { set_preset("refined"); }

void QuantConfig::set_preset(const std::string& name) {
    // arithmetic.md, Presets. Their k of Shiftmax is 16, the width of a QuantConfig; one that was chosen
    // stays.
    if (name == "paper") {
        shiftmax = {15, shiftmax.k, 31, 0, false};
        shiftgelu = {23, 8, 31, 0, true};
    } else if (name == "refined") {
        shiftmax = {15, shiftmax.k, 47, 4, false};
        shiftgelu = {23, 8, 47, 4, false};
    } else {
        throw Error(fmt::format("preset is {}, allowed are \"paper\" and \"refined\"", in_quotes(name)));
    }
    preset = name;
}

QuantConfig QuantConfig::from_spec(const std::string& spec_or_file) {
    std::error_code ignored;
    const std::filesystem::path path = spec_or_file;
    if (std::filesystem::is_regular_file(path, ignored)) {
        constexpr auto greatest = std::uintmax_t{1} << 24;  // a configuration is a few kilobytes
        if (std::filesystem::file_size(path, ignored) > greatest) {
            throw Error("is too large to be a quantization file", spec_or_file);
        }
        std::ifstream in(path, std::ios::binary);
        std::ostringstream text;
        text << in.rdbuf();
        if (!in) throw Error("cannot be read", spec_or_file);
        try {
            return from_json(parse_json(text.str(), ""));
        } catch (const Error& e) {
            throw Error(e.what(), spec_or_file, e.hint());
        }
    }
    const auto is_digit = [](char ch) { return std::isdigit(static_cast<unsigned char>(ch)) != 0; };
    const bool like_spec = spec_or_file.size() >= 2 && (spec_or_file[0] == 'W' || spec_or_file[0] == 'w') &&
                           is_digit(spec_or_file[1]) && spec_or_file.find('.') == std::string::npos;
    if (!like_spec) {
        throw Error("is neither a bit-width such as W8A8, W4A8 or W8A8/8 nor a quantization file that exists",
                    in_quotes(spec_or_file));
    }
    QuantConfig c;
    const BitSpec bits = BitSpec::parse(spec_or_file);
    if (!bits.activation) {
        throw Error(fmt::format("gives no activation width: write W{}A8", *bits.weight),
                    in_quotes(spec_or_file));
    }
    c.weight_bits = *bits.weight;
    c.act_bits = *bits.activation;
    c.residual_bits = bits.residual.value_or(c.residual_bits);
    return c;
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
    c.logits_bits = integer_field(j, logits_width, where).value_or(c.logits_bits);
    if (const Json* f = field(j, "patch_embed"))
        c.patch_embed = pair_from_json(*f, "patch_embed", c.patch_embed);
    if (const Json* f = field(j, "head")) c.head = pair_from_json(*f, "head", c.head);
    if (const Json* f = field(j, "shiftmax")) shift_from_json(*f, false, "shiftmax", c.shiftmax);
    if (const Json* f = field(j, "shiftgelu")) shift_from_json(*f, true, "shiftgelu", c.shiftgelu);
    if (const auto softmax = integer_field(j, softmax_width, where)) {
        const Json* f = field(j, "shiftmax");
        if (f && f->contains("k") && c.shiftmax.k != *softmax) {
            throw Error(
                fmt::format(
                    "softmax {} and shiftmax k {} contradict each other: both are the softmax output's "
                    "width",
                    *softmax, c.shiftmax.k),
                where);
        }
        c.shiftmax.k = *softmax;
    }
    if (const Json* rules = field(j, "rules")) {
        if (rules->is_object()) {
            for (const auto& item : rules->items())
                c.rules.push_back(rule_from_json(item.key(), item.value(), false));
        } else if (rules->is_array()) {
            for (const Json& rule : *rules) {
                must_be_object(rule, "rules", "objects with a \"glob\"");
                c.rules.push_back(rule_from_json(text_field(rule, "glob", "rules").value_or(""), rule, true));
            }
        } else {
            throw Error(fmt::format("expected an object of globs, found {}", rules->type_name()), "rules");
        }
    }
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

std::string QuantConfig::label() const {
    std::string text = fmt::format("W{}A{}", weight_bits, act_bits);
    if (residual_bits != 16) text += fmt::format("/{}", residual_bits);
    const QuantConfig usual;
    if (logits_bits != usual.logits_bits) text += fmt::format(", logits {}", logits_bits);
    if (shiftmax.k != usual.shiftmax.k) text += fmt::format(", softmax {}", shiftmax.k);
    if (!(patch_embed == usual.patch_embed)) text += ", patches " + pair_text(patch_embed);
    if (!(head == usual.head)) text += ", head " + pair_text(head);
    QuantConfig named;
    named.set_preset(preset);
    text += changed("Shiftmax", shiftmax, named.shiftmax, false);
    text += changed("ShiftGELU", shiftgelu, named.shiftgelu, true);
    if (rules.empty()) return text;
    // What they say while that is short; else how many there are.
    std::string said = " except";
    for (const QuantRule& r : rules) said += (&r == &rules.front() ? " " : ", ") + rule_text(r);
    constexpr size_t shown = 48;
    if (said.size() <= shown) return text + said;
    return text + fmt::format(" with {} exception{}", rules.size(), rules.size() == 1 ? "" : "s");
}

std::vector<NodeQuant> resolve(const QuantConfig& c, const Graph& g) {
    check_config(c);
    std::vector<NodeQuant> result;
    result.reserve(g.nodes.size());
    for (const Node& node : g.nodes) result.push_back(node_default(c, node));

    for (const QuantRule& r : c.rules) {
        std::vector<size_t> matches;
        bool broad = false, shift = false, gelu = false;
        for (size_t i = 0; i < g.nodes.size(); ++i) {
            const Node& node = g.nodes[i];
            if (!glob_match(r.glob, node.name)) continue;
            matches.push_back(i);
            broad |= has_weight(node.op) || width_of(node) == Width::activation;
            shift |= has_shift(node.op);
            gelu |= node.op == Op::gelu;
        }
        if (matches.empty()) {
            throw Error("matches no node of this model", rule_name(r),
                        "`ivit info --json` lists the nodes by name");
        }
        if ((r.n || r.k || r.M || r.t) && !shift) {
            throw Error("sets n, k, M or t but matches no softmax and no GELU", rule_name(r));
        }
        if (r.row_pivot && !gelu) throw Error("sets pivot but matches no GELU", rule_name(r));
        for (size_t i : matches) apply(r, broad, g.nodes[i], result[i]);
    }
    // The patches are written straight onto the residual stream that pos_embed begins.
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        if (g.nodes[i].op == Op::pos_embed)
            result[static_cast<size_t>(g.nodes[i].inputs[0])].out_bits = result[i].out_bits;
    }
    return result;
}

}  // namespace ivit
