// SPDX-License-Identifier: Apache-2.0
// A QuantConfig as text: bit-widths, presets, its label.
#include "engine/quant_config.h"

#include <cctype>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/quant_config_parts.h"

namespace ivit {

using namespace quant_config;

int quant_config::checked(int64_t value, const Range& range, const std::string& where) {
    if (value < range.low || value > range.high) {
        throw Error(fmt::format("{} is {}, allowed are {} to {}", range.name, value, range.low, range.high),
                    where);
    }
    return static_cast<int>(value);
}

std::string quant_config::in_quotes(const std::string& name) {
    return name.size() <= 60 ? '"' + name + '"' : '"' + name.substr(0, 57) + "...\"";
}

std::string quant_config::rule_name(const QuantRule& r) { return "rule " + in_quotes(r.glob); }

std::string quant_config::pair_text(const BitSpec& b) {
    return fmt::format("W{}A{}", b.weight.value_or(8), b.activation.value_or(8));
}

const char* quant_config::pivot_text(bool row) { return row ? "row" : "zero"; }

namespace {

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

}  // namespace ivit
