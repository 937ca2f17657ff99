// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/quantized_model.h"
#include "engine/safetensors.h"
#include "tests/small_model.h"

using namespace ivit;
using Json = nlohmann::ordered_json;

namespace {

std::shared_ptr<const QuantizedModel> small_quantized(const char* config) {
    const auto model = test::small_model();
    const auto calibration = calibrate(
        *model, 4, [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); }, RangeMethod::mse,
        1);
    return quantize(model, calibration, QuantConfig::from_json(Json::parse(config)));
}

std::vector<int32_t> logits(std::shared_ptr<const QuantizedModel> q, const Pixels& pixels) {
    return make_backend("reference", 1)->load(std::move(q))->run(pixels, 1, {})->integer_logits;
}

struct TemporaryFile {
    std::filesystem::path path;
    explicit TemporaryFile(const char* name) : path(std::filesystem::temp_directory_path() / name) {}
    ~TemporaryFile() { std::filesystem::remove(path); }
};

std::vector<std::byte> read_bytes(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    std::vector<std::byte> bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

// The file as its parts, to be changed and written again. Without its checksums, as an older program would
// have written it: they would be the first to tell of a change.
struct Parts {
    std::map<std::string, std::string> metadata;
    std::vector<TensorOut> tensors;

    explicit Parts(const std::filesystem::path& file) {
        const auto f = Safetensors::open(file);
        metadata = f->metadata();
        metadata.erase("crc32");
        for (const auto& [name, view] : f->tensors()) {
            tensors.push_back({name, view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}});
        }
    }
    TensorOut& operator[](const std::string& name) {
        for (TensorOut& t : tensors) {
            if (t.name == name) return t;
        }
        throw std::runtime_error("no tensor " + name);
    }
    template <class T>
    void set(const std::string& tensor, size_t element, T value) {
        std::memcpy((*this)[tensor].bytes.data() + element * sizeof(T), &value, sizeof(T));
    }
    void set(const std::string& document, const std::string& pointer, const Json& value) {
        Json j = Json::parse(metadata.at(document));
        j[Json::json_pointer(pointer)] = value;
        metadata[document] = j.dump();
    }
};

// What loading says once `change` was made to a good file.
std::string refusal(const std::filesystem::path& good, const std::function<void(Parts&)>& change) {
    Parts parts(good);
    change(parts);
    const TemporaryFile broken("ivit_quantized_broken.safetensors");
    write_safetensors(broken.path, parts.tensors, parts.metadata);
    try {
        load_quantized(broken.path);
    } catch (const Error& e) {
        return e.sentence();
    }
    return "no error";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("quantized file: what is loaded is what was saved") {
    const TemporaryFile file("ivit_quantized_test.safetensors");
    for (
        const char* config :
        {R"({})", R"({"default": "W4A6/12", "preset": "paper", "softmax": 9, "logits": 12})",
         R"({"rules": {"blocks.1.*": "W2A4", "blocks.0.mlp.act": {"pivot": "row"}, "*.softmax": {"activation": 5}}})"}) {
        INFO(config);
        const auto q = small_quantized(config);
        save(*q, file.path);
        CHECK(is_quantized(file.path));
        const auto back = load_quantized(file.path);
        CHECK(back->config == q->config);
        CHECK(back->info.labels == q->info.labels);
        CHECK(back->info.mean == q->info.mean);
        CHECK(back->info.parameters == q->info.parameters);
        CHECK(back->calibration.to_json() == q->calibration.to_json());
        CHECK(back->source == nullptr);
        CHECK(back->weight_bytes() == q->weight_bytes());
        REQUIRE(back->nodes.size() == q->nodes.size());
        for (size_t i = 0; i < q->nodes.size(); ++i) {
            INFO(q->graph->nodes[i].name);
            const QuantNode &a = *q->nodes[i], &b = *back->nodes[i];
            CHECK(back->graph->nodes[i].name == q->graph->nodes[i].name);
            CHECK(a.quant == b.quant);
            CHECK(a.out.scale == b.out.scale);
            CHECK(a.out.bits == b.out.bits);
            CHECK(a.out.is_unsigned == b.out.is_unsigned);
            CHECK(a.weight == b.weight);
            CHECK(a.weight_scale == b.weight_scale);
            CHECK(a.bias == b.bias);
            CHECK(a.m == b.m);
            CHECK(a.s == b.s);
            CHECK(a.mt == b.mt);
            CHECK(a.st == b.st);
            CHECK(a.B == b.B);
            CHECK(a.i0 == b.i0);
            CHECK(a.table == b.table);
            CHECK(a.constant == b.constant);
        }
        const Pixels p = test::picture(16, 99);
        CHECK(logits(q, p) == logits(back, p));
    }
}

TEST_CASE("quantized file: weights count at their widths") {
    const auto w8 = small_quantized("{}"), w4 = small_quantized(R"({"default": "W4A8"})");
    // 2 blocks of qkv, proj, fc1, fc2; the patch embedding and the head stay at 8 bits.
    const int64_t blocks = 2 * (72 * 24 + 24 * 24 + 2 * 24 * 40), ends = 24 * 48 + 7 * 24;
    CHECK(w8->weight_bytes() == blocks + ends);
    CHECK(w4->weight_bytes() == blocks / 2 + ends);
}

TEST_CASE("quantized file: only integers are saved, and what was there stays") {
    const TemporaryFile file("ivit_quantized_mode.safetensors");
    std::ofstream(file.path) << "precious";
    const auto q = small_quantized(R"({"rules": {"blocks.1.norm2": {"mode": "exact"}}})");
    CHECK_THROWS_WITH(save(*q, file.path), Catch::Contains("blocks.1.norm2") && Catch::Contains("exact"));
    CHECK(std::filesystem::file_size(file.path) == 8);
}

TEST_CASE("quantized file: the checkpoint it is made from is not written over") {
    const TemporaryFile file("ivit_quantized_source.safetensors"), link("ivit_quantized_link.safetensors");
    std::ofstream(file.path) << "precious";
    std::filesystem::create_symlink(file.path, link.path);
    auto q = std::make_shared<QuantizedModel>(*small_quantized("{}"));
    q->info.source = file.path.string();
    for (const auto& place : {file.path, link.path}) {
        CHECK_THROWS_WITH(save(*q, place), Catch::Contains("it is not written over"));
        CHECK(std::filesystem::file_size(file.path) == 8);
    }
    q->info.source = "elsewhere.safetensors";
    save(*q, link.path);
    CHECK(is_quantized(file.path));
}

TEST_CASE("quantized file: a file that lies is refused, naming what is wrong") {
    const TemporaryFile file("ivit_quantized_good.safetensors");
    save(*small_quantized(R"({"default": "W4A6"})"), file.path);
    const auto says = [&](const std::string& part, const std::function<void(Parts&)>& change) {
        const std::string text = refusal(file.path, change);
        INFO(text);
        CHECK(contains(text, part));
    };
    says("no error", [](Parts&) {});

    // Tensors: values.
    says("tensor blocks.0.attn.qkv.weight holds 8, expected -8 to 7",
         [](Parts& p) { p.set<int8_t>("blocks.0.attn.qkv.weight", 5, 8); });
    says("tensor patch_embed.proj.bias holds",
         [](Parts& p) { p.set<int32_t>("patch_embed.proj.bias", 0, INT32_MIN); });
    says("tensor head.s holds 63, expected 1 to 62", [](Parts& p) { p.set<int32_t>("head.s", 2, 63); });
    says("tensor head.s holds 0", [](Parts& p) { p.set<int32_t>("head.s", 2, 0); });
    says("tensor head.m holds", [](Parts& p) { p.set<int32_t>("head.m", 2, INT32_MIN); });
    says("tensor norm.s holds 55, expected 1 to 54", [](Parts& p) { p.set<int32_t>("norm.s", 0, 55); });
    says("tensor norm.B holds", [](Parts& p) { p.set<int64_t>("norm.B", 0, INT64_MAX); });
    says("tensor blocks.1.add1.st holds -1", [](Parts& p) { p.set<int32_t>("blocks.1.add1.st", 0, -1); });
    says("tensor blocks.1.attn.softmax.i0 holds 0",
         [](Parts& p) { p.set<int64_t>("blocks.1.attn.softmax.i0", 0, 0); });
    says("too large for sums of 62 bits",
         [](Parts& p) { p.set<int64_t>("blocks.1.attn.softmax.i0", 0, int64_t{1} << 45); });
    says("tensor blocks.1.mlp.act.table holds 32, expected -32 to 31",
         [](Parts& p) { p.set<int8_t>("blocks.1.mlp.act.table", 255, 32); });
    says("is not what i0, m and s make", [](Parts& p) { p.set<int8_t>("blocks.1.mlp.act.table", 128, 5); });
    says("tensor pos_embed.constant holds",
         [](Parts& p) { p.set<int32_t>("pos_embed.constant", 9, INT32_MAX); });
    says("tensor head.weight_scale holds", [](Parts& p) { p.set<double>("head.weight_scale", 1, -1.0); });
    says("tensor head.weight_scale holds", [](Parts& p) { p.set<double>("head.weight_scale", 1, NAN); });
}

TEST_CASE("quantized file: sums that could pass 32 bits are refused") {
    const TemporaryFile file("ivit_quantized_wide.safetensors");
    // One channel and the widest MLP there is: 65536 products of 2^14 are 2^30.
    const auto model = test::small_model(1, {4, 4, 1, 1, 65536, 1, 2, 1e-6f});
    const auto calibration = calibrate(
        *model, 1, [](int64_t) { return test::picture(4, 1); }, RangeMethod::minmax, 1);
    save(*quantize(model, calibration, {}), file.path);
    const auto extreme = [](int32_t bias) {
        return [bias](Parts& p) {
            TensorOut& w = p["blocks.0.mlp.fc2.weight"];
            std::fill(w.bytes.begin(), w.bytes.end(), std::byte{0x80});
            p.set<int32_t>("blocks.0.mlp.fc2.bias", 0, bias);
        };
    };
    CHECK(refusal(file.path, extreme((1 << 30) - 1)) == "no error");
    CHECK(refusal(file.path, extreme(1 << 30)) ==
          "tensor blocks.0.mlp.fc2.weight makes sums that pass 32 bits in row 0");
}

TEST_CASE("quantized file: structure and metadata that lie") {
    const TemporaryFile file("ivit_quantized_good2.safetensors");
    save(*small_quantized(R"({"default": "W4A6"})"), file.path);
    const auto says = [&](const std::string& part, const std::function<void(Parts&)>& change) {
        const std::string text = refusal(file.path, change);
        INFO(text);
        CHECK(contains(text, part));
    };
    says("tensor head.bias is missing", [](Parts& p) { p["head.bias"].name.pop_back(); });
    says("belongs to no node", [](Parts& p) { p.tensors.push_back({"extra", "I8", {1}, {std::byte{1}}}); });
    says("tensor head.m has shape [7, 1], expected [7]", [](Parts& p) { p["head.m"].shape = {7, 1}; });
    says("tensor input.table has dtype U8, expected I8",
         [](Parts& p) { p["input.table"].dtype.front() = 'U'; });
    says("tensor head.weight_scale is I64", [](Parts& p) { p["head.weight_scale"].dtype.front() = 'I'; });

    says("format version \"2\"", [](Parts& p) { p.metadata.insert_or_assign("version", "2"); });
    says("is not a quantized model", [](Parts& p) { p.metadata.erase("format"); });
    for (const char* document : {"model", "config", "calibration", "nodes"}) {
        says(document, [&](Parts& p) { p.metadata.erase(document); });
        says("not valid JSON", [&](Parts& p) { p.metadata.insert_or_assign(document, "{"); });
        INFO(document);
        for (const char* other : {"[]", "{}", "3", "null", "[[]]", "\"\""}) {
            CHECK(refusal(file.path, [&](Parts& p) { p.metadata.insert_or_assign(document, other); }) !=
                  "no error");
        }
    }
    says("depth is 0, expected 1", [](Parts& p) { p.set("model", "/depth", 0); });
    says("depth is not a whole number", [](Parts& p) { p.set("model", "/depth", 2.5); });
    says("depth is", [](Parts& p) { p.set("model", "/depth", UINT64_MAX); });
    says("nodes", [](Parts& p) { p.set("model", "/depth", 3); });
    says("not divisible", [](Parts& p) { p.set("model", "/heads", 5); });
    says("shape", [](Parts& p) { p.set("model", "/width", 27); });
    says("labels has 6 entries, expected 7",
         [](Parts& p) { p.set("model", "/labels", std::vector<std::string>(6, "x")); });
    says("labels is of the wrong type", [](Parts& p) { p.set("model", "/labels", 4); });
    says("std", [](Parts& p) { p.set("model", "/std", {0.5, 0.0, 0.5}); });
    says("crop_pct", [](Parts& p) { p.set("model", "/crop_pct", 7); });
    says("family cnn is not known", [](Parts& p) { p.set("model", "/family", "cnn"); });
    says("contradicts its configuration", [](Parts& p) { p.set("nodes", "/5/bits", 7); });
    says("scale of input", [](Parts& p) { p.set("nodes", "/0/scale/0", -1); });
    says("list of 3 scales for blocks.0.attn.qkv", [](Parts& p) { p.set("nodes", "/4/scale", {1, 2}); });
    says("2^(1-k)", [](Parts& p) { p.set("nodes", "/6/scale/0", 0.5); });
    says("mode of head is not integer", [](Parts& p) {
        p.set("config", "/rules", {{"head", {{"mode", "float"}}}});
    });
    says("weight is 12", [](Parts& p) { p.set("config", "/rules", {{"head", {{"weight", 12}}}}); });
    says("expected -2 to 1", [](Parts& p) { p.set("config", "/default", "W2A6"); });
}

TEST_CASE("quantized file: damage that leaves good integers is told by the checksums") {
    const TemporaryFile file("ivit_quantized_whole.safetensors"),
        damaged("ivit_quantized_damaged.safetensors");
    save(*small_quantized("{}"), file.path);
    const Parts old(file.path);
    const auto metadata = Safetensors::open(file.path)->metadata();
    const auto says = [&](const Parts& p) {
        write_safetensors(damaged.path, p.tensors, p.metadata);
        try {
            load_quantized(damaged.path);
        } catch (const Error& e) {
            return e.sentence();
        }
        return std::string("no error");
    };
    CHECK(says(old) == "no error");
    Parts good = old;
    good.metadata["crc32"] = metadata.at("crc32");
    CHECK(says(good) == "no error");

    // Any one bit of any tensor: where the value stays in range the checksum tells, else the range may.
    std::mt19937 random(3);
    for (size_t i = 0; i < good.tensors.size(); ++i) {
        Parts p = good;
        auto& bytes = p.tensors[i].bytes;
        bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
        INFO(p.tensors[i].name);
        CHECK(contains(says(p), "tensor " + p.tensors[i].name + " is damaged: its CRC-32 is "));
    }
    Parts swapped = good;  // two of one shape
    std::swap(swapped["blocks.0.attn.proj.weight"].bytes, swapped["blocks.1.attn.proj.weight"].bytes);
    CHECK(contains(says(swapped), "tensor blocks.0.attn.proj.weight is damaged"));
    Parts renamed = good;
    renamed.set("model", "/labels/0", "another class");
    CHECK(contains(says(renamed), "the metadata field model is damaged"));

    for (const char* wrong : {"[]", "3", "", "{"}) {
        Parts p = good;
        p.metadata["crc32"] = wrong;
        CHECK(says(p) == "the metadata field crc32 is not a JSON object");
    }
    for (const Json& wrong : {Json(), Json("3"), Json(-3), Json(2.5)}) {
        Parts p = good;
        p.set("crc32", "/head.bias", wrong);
        CHECK(says(p) == "the metadata field crc32 has no checksum of head.bias");
    }
}

TEST_CASE("quantized file: random damage never does worse than an error") {
    const TemporaryFile file("ivit_quantized_fuzz.safetensors");
    save(*small_quantized("{}"), file.path);
    {
        const Parts old(file.path);  // without checksums, or nothing damaged would run
        write_safetensors(file.path, old.tensors, old.metadata);
    }
    const auto good = read_bytes(file.path);
    uint64_t header = 0;
    std::memcpy(&header, good.data(), 8);
    std::mt19937 random(7);
    const Pixels picture = test::picture(16, 3);
    int loaded = 0;
    for (int round = 0; round < 1500; ++round) {
        auto bytes = good;
        // Half the damage falls on the header, a few bytes at a time.
        const int hits = 1 + static_cast<int>(random() % 4);
        for (int h = 0; h < hits; ++h) {
            const size_t limit = round % 2 ? bytes.size() : 8 + header;
            bytes[random() % limit] = static_cast<std::byte>(round % 3 ? '0' + random() % 10 : random());
        }
        if (round % 17 == 0) bytes.resize(random() % bytes.size());
        try {
            const auto q = load_quantized(*Safetensors::parse(bytes, "fuzz"));
            logits(q, picture);
            ++loaded;
        } catch (const Error&) {
        }
    }
    CHECK(loaded > 50);  // damage in weights is not to be seen, and must run
}

TEST_CASE("quantized file: run_quantized.py computes the same logits from the file alone") {
    if (std::system("python3 -c 'import numpy' > /dev/null 2>&1") != 0) {
        WARN("skipped: needs python3 with numpy");
        return;
    }
    const TemporaryFile file("ivit_quantized_python.safetensors"), raw("ivit_quantized_python.rgb");
    for (
        const char* config :
        {R"({})", R"({"default": "W4A6/12", "preset": "paper", "softmax": 9, "logits": 12})",
         R"({"default": "W2A4/8", "softmax": 4, "logits": 4, "rules": {"blocks.0.mlp.act": {"pivot": "row", "M": 40}}})"}) {
        INFO(config);
        const auto q = small_quantized(config);
        save(*q, file.path);
        std::vector<Pixels> pictures{test::picture(16, 1), test::picture(16, 2), Pixels(768, 0),
                                     Pixels(768, 255)};
        {
            std::ofstream out(raw.path, std::ios::binary);
            for (const Pixels& p : pictures)
                out.write(reinterpret_cast<const char*>(p.data()), static_cast<std::streamsize>(p.size()));
        }
        const std::string command = fmt::format("python3 '{}/tools/run_quantized.py' '{}' '{}'",
                                                IVIT_SOURCE_DIR, file.path.string(), raw.path.string());
        FILE* pipe = popen(command.c_str(), "r");
        REQUIRE(pipe);
        std::string text;
        std::array<char, 4096> buffer{};
        while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
        CHECK(pclose(pipe) == 0);
        std::istringstream lines(text);
        for (const Pixels& p : pictures) {
            std::string line;
            REQUIRE(std::getline(lines, line));
            const auto j = nlohmann::json::parse(line);
            CHECK(j["logits"].get<std::vector<int32_t>>() == logits(q, p));
            CHECK(j["scale"].get<double>() == q->nodes.back()->out.scale[0]);
        }
    }
}
