// SPDX-License-Identifier: Apache-2.0
#include "engine/quant_config.h"

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/error.h"

using namespace ivit;
using Json = nlohmann::ordered_json;

namespace {

// Two blocks with every kind of node; widths and shapes do not matter to a configuration.
Graph small_graph() {
    Graph g;
    const auto add = [&](const std::string& name, Op op, std::vector<int> inputs, int block = -1,
                         bool to_residual = false) {
        Node n;
        n.name = name;
        n.op = op;
        n.inputs = std::move(inputs);
        n.block = block;
        n.to_residual = to_residual;
        g.nodes.push_back(n);
        return static_cast<int>(g.nodes.size()) - 1;
    };
    const int input = add("input", Op::input, {});
    const int patches = add("patch_embed.proj", Op::patch_embed, {input});
    int stream = add("pos_embed", Op::pos_embed, {patches});
    for (int b = 0; b < 2; ++b) {
        const std::string p = "blocks." + std::to_string(b) + ".";
        const int norm1 = add(p + "norm1", Op::layernorm, {stream}, b);
        const int qkv = add(p + "attn.qkv", Op::linear, {norm1}, b);
        const int logits = add(p + "attn.logits", Op::attn_logits, {qkv}, b);
        const int softmax = add(p + "attn.softmax", Op::softmax, {logits}, b);
        const int context = add(p + "attn.context", Op::attn_context, {softmax, qkv}, b);
        const int proj = add(p + "attn.proj", Op::linear, {context}, b, true);
        stream = add(p + "add1", Op::residual_add, {proj, stream}, b);
        const int norm2 = add(p + "norm2", Op::layernorm, {stream}, b);
        const int fc1 = add(p + "mlp.fc1", Op::linear, {norm2}, b);
        const int gelu = add(p + "mlp.act", Op::gelu, {fc1}, b);
        const int fc2 = add(p + "mlp.fc2", Op::linear, {gelu}, b, true);
        stream = add(p + "add2", Op::residual_add, {fc2, stream}, b);
    }
    const int norm = add("norm", Op::layernorm, {stream});
    add("head", Op::head, {norm});
    return g;
}

NodeQuant at(const QuantConfig& c, const std::string& name) {
    const Graph g = small_graph();
    return resolve(c, g).at(static_cast<size_t>(g.find(name)));
}
NodeQuant at(const char* json, const std::string& name) {
    return at(QuantConfig::from_json(Json::parse(json)), name);
}

std::string error_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}
std::string error_of(const char* json) {
    return error_of([&] { resolve(QuantConfig::from_json(Json::parse(json)), small_graph()); });
}

}  // namespace

TEST_CASE("quant config: widths as text") {
    CHECK(BitSpec::parse("W4A8") == BitSpec{4, 8, {}});
    CHECK(BitSpec::parse("w8a8/8") == BitSpec{8, 8, 8});
    CHECK(BitSpec::parse("W4") == BitSpec{4, {}, {}});
    CHECK(BitSpec::parse("A6/16") == BitSpec{{}, 6, 16});
    for (const char* bad : {"", "W", "A", "8", "W8A8/", "W8A8 ", "W8A8x", "A8W8", "W1A8", "W9A8", "W8A3",
                            "W8A9", "W8A8/7", "W8A8/17", "W-4A8", "W4.5A8", "W99999999999A8", "W8A8/8/8"}) {
        INFO(bad);
        CHECK_THROWS_AS(BitSpec::parse(bad), Error);
    }
    CHECK(error_of([] { BitSpec::parse("W9A8"); }) == "\"W9A8\": weight is 9, allowed are 2 to 8");
}

TEST_CASE("quant config: presets of arithmetic.md") {
    QuantConfig c;
    CHECK(c.preset == "refined");
    CHECK(c.shiftmax == ShiftParams{15, 16, 47, 4, false});
    CHECK(c.shiftgelu == ShiftParams{23, 8, 47, 4, false});
    c.set_preset("paper");
    CHECK(c.shiftmax == ShiftParams{15, 16, 31, 0, false});
    CHECK(c.shiftgelu == ShiftParams{23, 8, 31, 0, true});
    CHECK_THROWS_AS(c.set_preset("published"), Error);
    CHECK(c.preset == "paper");
    // The softmax's width is a bit-width: `--preset paper` beside {"softmax": 8} must not undo it.
    c.shiftmax.k = 8;
    c.set_preset("refined");
    CHECK(c.shiftmax == ShiftParams{15, 8, 47, 4, false});
}

TEST_CASE("quant config: defaults of every kind of node") {
    const QuantConfig c = QuantConfig::from_spec("W4A6");
    CHECK(at(c, "input").out_bits == 8);
    CHECK(at(c, "patch_embed.proj").weight_bits == 8);
    CHECK(at(c, "patch_embed.proj").out_bits == 16);
    CHECK(at(c, "pos_embed").out_bits == 16);
    CHECK(at(c, "blocks.0.norm1").out_bits == 6);
    CHECK(at(c, "blocks.0.attn.qkv").weight_bits == 4);
    CHECK(at(c, "blocks.0.attn.qkv").out_bits == 6);
    CHECK(at(c, "blocks.0.attn.logits").out_bits == 8);
    CHECK(at(c, "blocks.0.attn.softmax").out_bits == 16);
    CHECK(at(c, "blocks.0.attn.softmax").shift.k == 16);
    CHECK(at(c, "blocks.0.attn.context").out_bits == 6);
    CHECK(at(c, "blocks.0.attn.proj").out_bits == 32);
    CHECK(at(c, "blocks.0.attn.proj").weight_bits == 4);
    CHECK(at(c, "blocks.0.add1").out_bits == 16);
    CHECK(at(c, "blocks.1.mlp.act").out_bits == 6);
    CHECK(at(c, "blocks.1.mlp.act").shift.k == 8);
    CHECK(at(c, "norm").out_bits == 8);
    CHECK(at(c, "head").weight_bits == 8);
    CHECK(at(c, "head").out_bits == 32);
    CHECK(at(QuantConfig::from_spec("w8a8/8"), "blocks.0.add1").out_bits == 8);
    CHECK(at(QuantConfig::from_spec("w8a8/8"), "patch_embed.proj").out_bits == 8);
    CHECK(at(R"({"softmax": 8})", "blocks.0.attn.softmax").out_bits == 8);
    CHECK(at(R"({"shiftmax": {"k": 8}})", "blocks.0.attn.softmax").out_bits == 8);
    CHECK(at(R"({"default": "W4A4", "logits": 12})", "blocks.0.attn.logits").out_bits == 12);
    CHECK(at(R"({"default": "W4A8/12"})", "pos_embed").out_bits == 12);
    CHECK(at(R"({"patch_embed": "W4A5"})", "input").out_bits == 5);
    CHECK(at(R"({"patch_embed": {"weight": 4}})", "patch_embed.proj").weight_bits == 4);
    CHECK(at(R"({"head": "W4A6"})", "norm").out_bits == 6);
    CHECK(at(R"("W4A6")", "blocks.0.norm1").out_bits == 6);
}

TEST_CASE("quant config: a broad rule means the ordinary widths") {
    const char* everything = R"({"rules": {"*": "W4A6"}})";
    for (const char* name : {"input", "blocks.0.norm1", "blocks.0.attn.qkv", "blocks.0.attn.context",
                             "blocks.1.mlp.act", "norm"}) {
        INFO(name);
        CHECK(at(everything, name).out_bits == 6);
    }
    for (const char* name : {"patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.mlp.fc2", "head"}) {
        CHECK(at(everything, name).weight_bits == 4);
    }
    CHECK(at(everything, "blocks.1.attn.logits").out_bits == 8);
    CHECK(at(everything, "blocks.0.attn.softmax").out_bits == 16);
    CHECK(at(everything, "blocks.0.add1").out_bits == 16);
    CHECK(at(everything, "blocks.0.attn.proj").out_bits == 32);
    CHECK(at(R"({"logits": 10, "rules": {"blocks.*": "W4A6"}})", "blocks.0.attn.logits").out_bits == 10);
    // Only block 1 changes.
    CHECK(at(R"({"rules": {"blocks.1.*": "W4A6"}})", "blocks.0.attn.qkv").weight_bits == 8);
    CHECK(at(R"({"rules": {"blocks.1.*": "W4A6"}})", "blocks.1.attn.qkv").weight_bits == 4);
    CHECK(at(R"({"rules": {"blocks.1.*": {"residual": 12}}})", "blocks.1.add2").out_bits == 12);
    CHECK(at(R"({"rules": {"blocks.1.*": {"residual": 12}}})", "blocks.0.add2").out_bits == 16);
}

TEST_CASE("quant config: a rule that names softmax, logits or residual nodes means them") {
    CHECK(
        at(R"({"rules": {"blocks.0.attn.softmax": {"activation": 8}}})", "blocks.0.attn.softmax").out_bits ==
        8);
    CHECK(at(R"({"rules": {"*.softmax": {"activation": 12}}})", "blocks.1.attn.softmax").shift.k == 12);
    CHECK(
        at(R"({"logits": 8, "rules": {"*.logits": {"activation": 12}}})", "blocks.1.attn.logits").out_bits ==
        12);
    CHECK(at(R"({"rules": {"*.add?": "A8"}})", "blocks.1.add1").out_bits == 8);
    CHECK(at(R"({"rules": {"*.add?": {"activation": 10}}})", "blocks.1.add1").out_bits == 10);
    CHECK(at(R"({"rules": {"pos_embed": {"residual": 10}}})", "patch_embed.proj").out_bits == 10);
    CHECK(error_of(R"({"rules": {"*.add?": {"activation": 6}}})") ==
          "rule \"*.add?\" at blocks.0.add1: activation is 6, allowed are 8 to 16");
    CHECK(error_of(R"({"rules": {"*.norm1": {"activation": 12}}})") ==
          "rule \"*.norm1\" at blocks.0.norm1: activation is 12, allowed are 4 to 8");
}

TEST_CASE("quant config: later rules win, in the order written") {
    const char* json =
        R"({"rules": {"blocks.*": "W4A4", "blocks.0.*": "W6A6", "blocks.0.attn.*": {"weight": 3}}})";
    CHECK(at(json, "blocks.1.attn.qkv").weight_bits == 4);
    CHECK(at(json, "blocks.0.mlp.fc1").weight_bits == 6);
    CHECK(at(json, "blocks.0.attn.qkv").weight_bits == 3);
    CHECK(at(json, "blocks.0.attn.qkv").out_bits == 6);
    CHECK(
        at(R"({"rules": [{"glob": "head", "weight": 4}, {"glob": "*", "weight": 5}, {"glob": "head", "weight": 6}]})",
           "head")
            .weight_bits == 6);
}

TEST_CASE("quant config: modes and operator parameters") {
    const char* exact = R"({"rules": {"*": {"mode": "exact"}}})";
    CHECK(at(exact, "blocks.0.norm1").mode == Mode::exact);
    CHECK(at(exact, "blocks.0.attn.softmax").mode == Mode::exact);
    CHECK(at(exact, "blocks.0.mlp.act").mode == Mode::exact);
    CHECK(at(exact, "blocks.0.attn.qkv").mode == Mode::integer);
    const char* one =
        R"({"rules": {"blocks.1.*": {"mode": "float"}, "blocks.1.mlp.*": {"mode": "integer"}}})";
    CHECK(at(one, "blocks.1.attn.qkv").mode == Mode::float_ops);
    CHECK(at(one, "blocks.1.mlp.fc1").mode == Mode::integer);
    CHECK(at(one, "blocks.0.attn.qkv").mode == Mode::integer);
    CHECK(at(R"({"rules": {"*": {"mode": "float"}}})", "input").mode == Mode::integer);

    const char* shift =
        R"({"rules": {"blocks.0.*": {"n": 12, "M": 31, "t": 0}, "blocks.0.mlp.act": {"pivot": "row", "k": 10}}})";
    CHECK(at(shift, "blocks.0.attn.softmax").shift == ShiftParams{12, 16, 31, 0, false});
    CHECK(at(shift, "blocks.0.mlp.act").shift == ShiftParams{12, 10, 31, 0, true});
    CHECK(at(shift, "blocks.1.mlp.act").shift == ShiftParams{23, 8, 47, 4, false});
    CHECK(at(R"({"preset": "paper", "shiftgelu": {"pivot": "zero", "t": 2}})", "blocks.1.mlp.act").shift ==
          ShiftParams{23, 8, 31, 2, false});
}

TEST_CASE("quant config: what is wrong is said in one sentence") {
    CHECK(error_of(R"({"defualt": "W4A8"})") ==
          "quantization: unknown field \"defualt\"; the nearest known one is \"default\"");
    CHECK(error_of(R"({"rules": {"head": {"wieght": 4}}})") ==
          "rule \"head\": unknown field \"wieght\"; the nearest known one is \"weight\"");
    CHECK(error_of(R"({"shiftmax": {"pivot": "row"}})") ==
          "shiftmax: unknown field \"pivot\"");  // no slip of "t"
    CHECK(error_of(R"({"blocks.*.mlp.fc2": "W8A8"})") == "quantization: unknown field \"blocks.*.mlp.fc2\"");
    CHECK(error_of(R"({"shiftmax": {"n": 31}})") == "shiftmax: n is 31, allowed are 1 to 30");
    CHECK(error_of(R"({"shiftgelu": {"M": 63}})") == "shiftgelu: M is 63, allowed are 16 to 62");
    CHECK(error_of(R"({"shiftgelu": {"t": -1}})") == "shiftgelu: t is -1, allowed are 0 to 8");
    CHECK(error_of(R"({"shiftgelu": {"k": 3}})") == "shiftgelu: k is 3, allowed are 4 to 16");
    CHECK(error_of(R"({"residual": 7})") == "quantization: residual is 7, allowed are 8 to 16");
    CHECK(error_of(R"({"softmax": 1e3})") ==
          "quantization: softmax must be a whole number from 4 to 16, found 1000.0");
    CHECK(error_of(R"({"logits": 99999999999999999999})") != "no error");
    CHECK(error_of(R"({"logits": "8"})") ==
          "quantization: logits must be a whole number from 4 to 16, found string");
    CHECK(error_of(R"({"softmax": 8, "shiftmax": {"k": 9}})").find("contradict") != std::string::npos);
    CHECK(error_of(R"({"default": "W8A8/8", "residual": 16})").find("contradict") != std::string::npos);
    CHECK(error_of(R"({"default": "W4"})").find("both widths") != std::string::npos);
    CHECK(error_of(R"({"preset": "papper"})") ==
          "preset is \"papper\", allowed are \"paper\" and \"refined\"");
    CHECK(error_of(R"({"rules": {"blocks.7.*": "W4A8"}})") ==
          "rule \"blocks.7.*\": matches no node of this model");
    CHECK(error_of(R"({"rules": {"*.fc2": {"n": 4}}})").find("no softmax") != std::string::npos);
    CHECK(error_of(R"({"rules": {"*.softmax": {"pivot": "row"}}})").find("no GELU") != std::string::npos);
    CHECK(error_of(R"({"rules": {"head": {"mode": "fp16"}}})").find("\"float\"") != std::string::npos);
    CHECK(error_of(R"({"rules": {"head": 4}})") != "no error");
    CHECK(error_of(R"({"rules": "head"})") != "no error");
    CHECK(error_of(R"({"rules": [{"weight": 4}]})") != "no error");
    CHECK(error_of(R"({"patch_embed": "W8A8/8"})") != "no error");
    CHECK(error_of(R"([1])") != "no error");
    CHECK(error_of(R"(null)") != "no error");
    CHECK(error_of([] { QuantConfig::from_spec("W4"); }) == "\"W4\": gives no activation width: write W4A8");
    CHECK(error_of([] { QuantConfig::from_spec("no/such.json"); }) ==
          "\"no/such.json\": is neither a bit-width such as W8A8, W4A8 or W8A8/8 nor a quantization file "
          "that exists");
    // Set from code rather than from text.
    QuantConfig c;
    c.weight_bits = 1;
    CHECK(error_of([&] { resolve(c, small_graph()); }) == "quantization: weight is 1, allowed are 2 to 8");
}

TEST_CASE("quant config: a file") {
    const auto file = std::filesystem::temp_directory_path() / "ivit_quant_config_test.json";
    const auto write = [&](const std::string& text) { std::ofstream(file) << text; };
    write(R"({"default": "W4A8", "rules": {"z": "W8A8", "a": "W4A8"}})");
    const QuantConfig c = QuantConfig::from_spec(file.string());
    CHECK(c.weight_bits == 4);
    REQUIRE(c.rules.size() == 2);
    CHECK(c.rules[0].glob == "z");  // the order of the file, not of the alphabet
    write("{\"default\": \"W4A8\",\n \"rules\": }");
    CHECK(error_of([&] { QuantConfig::from_spec(file.string()); }).find("error in line 2") !=
          std::string::npos);
    write(R"({"rules": {"a": "W8A8", "a": "W4A8"}})");
    CHECK(error_of([&] { QuantConfig::from_spec(file.string()); }).find("twice") != std::string::npos);
    write("");
    CHECK_THROWS_AS(QuantConfig::from_spec(file.string()), Error);
    write("\xff\xfe{");
    CHECK_THROWS_AS(QuantConfig::from_spec(file.string()), Error);
    std::filesystem::remove(file);
    CHECK_THROWS_AS(QuantConfig::from_spec(std::filesystem::temp_directory_path().string()), Error);
}

TEST_CASE("quant config: round trip and label") {
    for (
        const char* json :
        {R"({})", R"({"default": "W4A8/12", "preset": "paper", "logits": 6, "softmax": 8})",
         R"({"patch_embed": "W4A4", "head": "W2A5", "shiftgelu": {"n": 9, "pivot": "row"}})",
         R"({"rules": {"z*": "W4A8", "a*": {"weight": 3}, "m*": {"activation": 12, "weight": 4}, "*": {"mode": "exact"},
              "b": {"residual": 9, "n": 3, "k": 5, "M": 20, "t": 1, "pivot": "zero"}, "q": "/8", "r": {}}})",
         R"({"rules": [{"glob": "a", "mode": "float"}, {"glob": "b"}, {"glob": "a", "weight": 4, "activation": 8}]})"}) {
        INFO(json);
        const QuantConfig c = QuantConfig::from_json(Json::parse(json));
        CHECK(QuantConfig::from_json(c.to_json()) == c);
        CHECK(QuantConfig::from_json(Json::parse(c.to_json().dump())) == c);
    }
    CHECK(QuantConfig().label() == "W8A8");
    CHECK(QuantConfig::from_spec("w4a8/16").label() == "W4A8");
    CHECK(QuantConfig::from_spec("w8a8/8").label() == "W8A8/8");
    CHECK(QuantConfig::from_json(Json::parse(R"({"default": "W4A8", "rules": {"a": "W8A8", "b": "W8A8"}})"))
              .label() == "W4A8 except a W8A8, b W8A8");
    const auto label = [](const char* json) { return QuantConfig::from_json(Json::parse(json)).label(); };
    CHECK(label(R"({"rules": {"*.softmax": {"mode": "exact"}}})") == "W8A8 except *.softmax exact");
    CHECK(label(R"({"rules": {"blocks.3.mlp.act": {"n": 20, "pivot": "row"}}})") ==
          "W8A8 except blocks.3.mlp.act n 20 pivot row");
    // Too long to say: their number.
    QuantConfig many;
    for (int i = 0; i < 72; ++i)
        many.rules.push_back(
            {"blocks." + std::to_string(i) + ".mlp.fc1", {4, 8, {}}, {}, {}, {}, {}, {}, {}});
    CHECK(many.label() == "W8A8 with 72 exceptions");
    // An operator that is not its preset's is told.
    CHECK(label(R"({"shiftmax": {"n": 10, "t": 0}})") == "W8A8, Shiftmax n 10 t 0");
    CHECK(label(R"({"preset": "paper", "shiftgelu": {"k": 6, "M": 40, "pivot": "zero"}})") ==
          "W8A8, ShiftGELU k 6 M 40 pivot zero");
    CHECK(label(R"({"preset": "paper"})") == "W8A8");
    CHECK(
        QuantConfig::from_json(Json::parse(R"({"softmax": 8, "logits": 12, "residual": 8, "head": "W4A8"})"))
            .label() == "W8A8/8, logits 12, softmax 8, head W4A8");
}
