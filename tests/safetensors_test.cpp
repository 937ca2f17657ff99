// SPDX-License-Identifier: Apache-2.0
// Files that lie are refused in one sentence that names the tensor; what is written is read back.
#include "engine/safetensors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "engine/error.h"
#include "engine/open_model.h"
#include "tests/checkpoint_files.h"

using namespace ivit;
using namespace ivit::test;
namespace fs = std::filesystem;

namespace {

// The sentence with which the bytes are refused; "" when they are not.
std::string refusal(const std::vector<std::byte>& bytes) {
    try {
        Safetensors::parse(bytes, "test");
    } catch (const Error& e) {
        CHECK(e.where() == "test");
        CHECK(e.sentence().find('\n') == std::string::npos);
        return e.sentence();
    }
    return "";
}

void spill(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
TensorOut out(const std::string& name, const std::string& dtype, const Shape& shape,
              const std::vector<T>& values) {
    TensorOut t{name, dtype, shape, std::vector<std::byte>(values.size() * sizeof(T))};
    if (!values.empty()) std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
    return t;
}

}  // namespace

TEST_CASE("safetensors: a header that lies is refused by the tensor's name") {
    struct Case {
        std::string header;
        size_t data;
        std::string expected;  // part of the sentence
    };
    const Case cases[] = {
        {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}})", 16,
         "tensor w spans 16 bytes, expected 8"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 12, "tensor w reaches to byte 16"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})", 16, "tensor w ends at byte 0"},
        {R"({"w":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}})", 16,
         "tensor w has the unknown dtype 'F33'"},
        {R"({"w":{"dtype":"f32","shape":[4],"data_offsets":[0,16]}})", 16,
         "tensor w has the unknown dtype 'f32'"},
        {R"({"w":{"dtype":"","shape":[4],"data_offsets":[0,16]}})", 16, "tensor w has the unknown dtype"},
        {R"({"w":{"dtype":4,"shape":[4],"data_offsets":[0,16]}})", 16, "tensor w has a malformed dtype"},
        {R"({"w":{"dtype":["F32"],"shape":[4],"data_offsets":[0,16]}})", 16,
         "tensor w has a malformed dtype"},
        // 100 GB claimed by 16 bytes; products that pass 2^63 and 2^64 (and come out as 16 there).
        {R"({"w":{"dtype":"F32","shape":[25000000000],"data_offsets":[0,100000000000]}})", 16,
         "tensor w reaches"},
        {R"({"w":{"dtype":"F32","shape":[25000000000],"data_offsets":[0,16]}})", 16,
         "tensor w spans 16 bytes"},
        {R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}})", 16,
         "tensor w claims"},
        {R"({"w":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}})", 16,
         "tensor w claims"},
        {R"({"w":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,16]}})", 16,
         "tensor w has a shape"},
        {R"({"w":{"dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,16]}})", 16,
         "tensor w has a sh"},
        {R"({"w":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", 16, "tensor w has a shape"},
        {R"({"w":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}})", 16, "tensor w has a shape"},
        {R"({"w":{"dtype":"F32","shape":[[4]],"data_offsets":[0,16]}})", 16, "tensor w has a shape"},
        {R"({"w":{"dtype":"F32","shape":["4"],"data_offsets":[0,16]}})", 16, "tensor w has a shape"},
        {R"({"w":{"dtype":"F32","shape":4,"data_offsets":[0,16]}})", 16, "tensor w has a malformed shape"},
        {R"({"w":{"dtype":"F32","shape":null,"data_offsets":[0,16]}})", 16, "tensor w has a malformed shape"},
        {R"({"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,16],"data_offsets":[0,16]}})", 16,
         "tensor w has more than 16 dimensions"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0]}})", 16,
         "tensor w has data_offsets that are not two"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16,16]}})", 16, "tensor w has data_offsets"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}})", 16, "tensor w has data_offsets"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551632]}})", 16,
         "tensor w has data_off"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[18446744073709551600,16]}})", 16,
         "tensor w ends"},
        {R"({"w":{"dtype":"F32","shape":[4]}})", 16, "tensor w lacks"},
        {R"({"w":{"dtype":"F32","data_offsets":[0,16]}})", 16, "tensor w lacks"},
        {R"({"w":{"shape":[4],"data_offsets":[0,16]}})", 16, "tensor w lacks"},
        {R"({"w":{}})", 0, "tensor w lacks"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"more":1}})", 16,
         "tensor w has an unknown field"},
        {R"({"w":{"dtype":"F32","dtype":"F16","shape":[4],"data_offsets":[0,16]}})", 16,
         "tensor w gives its dtype tw"},
        {R"({"w":{"dtype":"F32","shape":[4],"shape":[4],"data_offsets":[0,16]}})", 16,
         "tensor w gives its shape tw"},
        {R"({"w":[]})", 0, "entry w is not an object"},
        {R"({"w":1})", 0, "entry w is not an object"},
        {R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         8, "names w twice"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
         6, "tensor b overlaps"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
         4, "tensor b overlaps"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})",
         10, "2 stray bytes before tensor b"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8, "4 stray bytes before tensor a"},
        {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 8,
         "4 stray bytes after the last tensor"},
        {R"({"__metadata__":{"a":1}})", 0, "metadata entry a is not text"},
        {R"({"__metadata__":{"a":{"b":"c"}}})", 0, "metadata entry a is not text"},
        {R"({"__metadata__":{"a":"b","a":"c"}})", 0, "metadata name a twice"},
        {R"({"__metadata__":{},"__metadata__":{}})", 0, "names __metadata__ twice"},
        {R"({"__metadata__":[]})", 0, "__metadata__ is not an object"},
        {R"([])", 0, "not a JSON object"},
        {R"("text")", 0, "not a JSON object"},
        {R"(null)", 0, "not a JSON object"},
        {"", 0, "not valid JSON"},
        {"{", 0, "not valid JSON"},
        {"{}x", 0, "not valid JSON"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})", 16, "not valid JSON"},
        {"{\"\xff\xfe\":{}}", 0, "not valid JSON"},
        {"{\"line\nbreak\":{}}", 0, "not valid JSON"},
        {R"({"line\nbreak":{}})", 0, "tensor line?break lacks"},
        {std::string(1000000, '['), 0, "not a JSON object"},
        {R"({"w":)" + std::string(1000000, '{'), 0, ""},
        {R"({"w":{"shape":)" + std::string(1000000, '['), 0, "tensor w has a shape"},
        {R"({")" + std::string(5000, 'w') + R"(":{}})", 0, "www... lacks"},
    };
    for (const Case& c : cases) {
        INFO(c.header.substr(0, 200));
        const std::string sentence = refusal(file_bytes(c.header, c.data));
        CHECK(sentence != "");
        CHECK(sentence.size() < 400);
        CHECK_THAT(sentence, Catch::Contains(c.expected));
    }
}

TEST_CASE("safetensors: a file that is cut short or claims a longer header is refused") {
    const std::string header = R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
    const std::vector<std::byte> whole = file_bytes(header, 16);
    CHECK(refusal(whole) == "");
    for (size_t n = 0; n < whole.size(); ++n) {
        INFO(n);
        CHECK(refusal({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)}) != "");
    }
    for (const uint64_t claimed : {uint64_t{header.size() + 17}, uint64_t{100'000'000'000}, uint64_t{1} << 63,
                                   ~uint64_t{0}, ~uint64_t{0} - 7}) {
        std::vector<std::byte> bytes = whole;
        std::memcpy(bytes.data(), &claimed, 8);
        CHECK_THAT(refusal(bytes), Catch::Contains("header claims " + std::to_string(claimed)));
    }
}

TEST_CASE("safetensors: what stands in a checkpoint's place is called what it is") {
    const std::string pointer =
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n";
    CHECK_THAT(refusal({bytes_of(pointer).begin(), bytes_of(pointer).end()}),
               Catch::Contains("this is a Git LFS pointer"));
    const std::string pytorch = "PK\3\4" + std::string(60, '\0');
    CHECK_THAT(refusal({bytes_of(pytorch).begin(), bytes_of(pytorch).end()}),
               Catch::Contains("this is a PyTorch file"));
    const TemporaryFolder folder;
    spill(folder.path / "model.safetensors", pointer);
    try {
        open_model(folder.path / "model.safetensors");
        FAIL("opened");
    } catch (const Error& e) {
        CHECK_THAT(e.hint(), Catch::Contains("git lfs pull"));
    }
}

TEST_CASE("safetensors: what was read stays, whatever becomes of its file") {
    const TemporaryFolder folder;
    const fs::path file = folder.path / "w.safetensors";
    write_safetensors(file, {out<int8_t>("w", "I8", {3}, {1, -2, 3}), out<float>("f", "F32", {1}, {0.5F})},
                      {{"format", "mine"}});
    Weights w;
    {
        const auto read = Safetensors::read(file);
        fs::resize_file(file, 0);
        CHECK(read->name() == file);
        CHECK(read->metadata().at("format") == "mine");
        CHECK(read->floats("f", {1}).data == std::vector<float>{0.5F});
        w = read->weights("w", {3});
        CHECK(static_cast<const void*>(w.data()) == read->get("w").bytes.data());  // not a second time
        read->let_go();
    }
    w.let_go();
    CHECK(w == Weights(std::vector<int8_t>{1, -2, 3}));
    CHECK_THROWS_WITH(Safetensors::read(file), Catch::Contains("0 bytes, too few"));
    CHECK_THROWS_WITH(Safetensors::read(folder.path), Catch::Contains("this is a folder"));
}

TEST_CASE("safetensors: what is well formed is read") {
    // Out of order, an empty tensor, a scalar, a padded header, escapes in a name.
    const auto bytes = file_bytes(R"({"b":{"dtype":"U8","shape":[2,2],"data_offsets":[4,8]},)"
                                  R"("__metadata__":{"note":"héllo"},)"
                                  R"("none":{"data_offsets":[4,4],"shape":[0,3],"dtype":"F32"},)"
                                  R"("sc\u0061lar":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )",
                                  8);
    const auto file = Safetensors::parse(bytes, "test");
    CHECK(file->tensors().size() == 3);
    CHECK(file->metadata().at("note") == "héllo");
    CHECK(file->get("scalar").shape == Shape{});
    CHECK(file->floats("scalar", {}).data == std::vector<float>{0});
    CHECK(file->floats("none", {0, 3}).data.empty());
    CHECK(file->integers<uint8_t>("b", {2, 2}).size() == 4);
    CHECK_THROWS_WITH(file->integers<int8_t>("b", {2, 2}), "test: tensor b has dtype U8, expected I8");
    CHECK_THROWS_WITH(file->integers<uint8_t>("b", {4}), "test: tensor b has shape [2, 2], expected [4]");
    CHECK_THROWS_WITH(file->floats("b", {2, 2}), "test: tensor b has dtype U8, expected F32, F16 or BF16");
    CHECK_THROWS_WITH(file->get("c"), "test: tensor c is missing");
    CHECK_THROWS_WITH(file->floats("c", {2}), "test: tensor c is missing, expected with shape [2]");
    CHECK(Safetensors::parse(file_bytes("{}", 0), "test")->tensors().empty());
}

TEST_CASE("safetensors: F16 and BF16 become FP32 exactly") {
    const std::vector<uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xc000, 0x0001,
                                          0x83ff, 0x0400, 0x7bff, 0x3555};
    const std::vector<float> values = {0.0F,          -0.0F,    1.0F,     -2.0F,      0x1p-24F,
                                       -0x1.ff8p-15F, 0x1p-14F, 65504.0F, 0x1.554p-2F};
    const std::vector<uint16_t> brains = {0x3f80, 0xc040, 0x0001, 0x7f7f};
    TemporaryFolder folder;
    const fs::path path = folder.path / "halves.safetensors";
    // The odd byte first puts everything after it off its alignment.
    write_safetensors(
        path,
        {out<int8_t>("odd", "I8", {1}, {-5}), out("h", "F16", {9}, halves), out("b", "BF16", {4}, brains),
         out<float>("f", "F32", {2}, {1.5F, -3.25F}), out<int64_t>("i", "I64", {1}, {-1234567890123})},
        {{"key", "a \"quoted\" line\n"}});
    const auto file = Safetensors::open(path);
    const auto h = file->floats("h", {9});
    for (size_t i = 0; i < values.size(); ++i) {
        CHECK(h.data[i] == values[i]);
        CHECK(std::signbit(h.data[i]) == std::signbit(values[i]));
    }
    CHECK(file->floats("b", {4}).data == std::vector<float>{1.0F, -3.0F, 0x1p-133F, 0x1.fep127F});
    CHECK(file->floats("f", {2}).data == std::vector<float>{1.5F, -3.25F});
    CHECK(file->integers<int8_t>("odd", {1}) == std::vector<int8_t>{-5});
    CHECK(file->integers<int64_t>("i", {1}) == std::vector<int64_t>{-1234567890123});
    CHECK(file->metadata().at("key") == "a \"quoted\" line\n");
}

TEST_CASE("safetensors: NaN and infinity are refused with the element's place") {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    for (size_t at : {0, 1, 998, 999}) {
        for (const float bad : {nan, -nan, inf, -inf}) {
            Tensors tensors;
            tensors["w"] = {{10, 100}, std::vector<float>(1000, 1.0F)};
            tensors["w"].data[at] = bad;
            const auto bytes = file_bytes(tensors, {});
            const auto file = Safetensors::parse(bytes, "test");
            CHECK_THROWS_WITH(file->floats("w", {10, 100}),
                              std::string("test: tensor w holds ") + (std::isnan(bad) ? "NaN" : "infinity") +
                                  " at element " + std::to_string(at) + ", expected finite numbers");
        }
    }
    const std::vector<uint16_t> halves = {0x3c00, 0x7c00, 0xfe00};
    auto bytes = file_bytes(R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}})", 6);
    std::memcpy(bytes.data() + bytes.size() - 6, halves.data(), 6);
    CHECK_THROWS_WITH(Safetensors::parse(bytes, "t")->floats("h", {}),
                      Catch::Contains("infinity at element 1"));
}

TEST_CASE("safetensors: what is no regular file is refused, and never waited for") {
    TemporaryFolder folder;
    CHECK_THROWS_WITH(Safetensors::open(folder.path / "none"), Catch::Contains("No such file"));
    CHECK_THROWS_WITH(Safetensors::open(folder.path), Catch::Contains("a folder"));
    const fs::path pipe = folder.path / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    CHECK_THROWS_WITH(Safetensors::open(pipe), Catch::Contains("not a regular file"));
    CHECK_THROWS_AS(sha256_file(pipe), Error);
    CHECK_THROWS_WITH(Safetensors::open("/dev/null"), Catch::Contains("not a regular file"));
    spill(folder.path / "empty", "");
    CHECK_THROWS_WITH(Safetensors::open(folder.path / "empty"), Catch::Contains("0 bytes, too few"));
    // 100 GB of holes: the size is true, the header is not, and nothing is allocated.
    spill(folder.path / "holes", std::string("\xff\xff\xff\xff\x0f\0\0\0", 8));
    std::error_code full;
    fs::resize_file(folder.path / "holes", 100'000'000'000, full);
    if (!full)
        CHECK_THROWS_WITH(Safetensors::open(folder.path / "holes"),
                          Catch::Contains("expected at most 100000000"));
}

TEST_CASE("write_atomically: the whole new file or the old one, and nothing beside it") {
    TemporaryFolder folder;
    const fs::path file = folder.path / "out.bin";
    const auto entries = [&] {
        return std::distance(fs::directory_iterator(folder.path), fs::directory_iterator());
    };
    write_atomically(file, bytes_of("first"));
    CHECK(read_text(file) == "first");
    CHECK(entries() == 1);

    SECTION("permissions and links are kept") {
        fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
        fs::create_symlink("out.bin", folder.path / "link");
        write_atomically(folder.path / "link", bytes_of("second"));
        CHECK(fs::is_symlink(folder.path / "link"));
        CHECK(read_text(file) == "second");
        CHECK(fs::status(file).permissions() ==
              (fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read));
        CHECK(entries() == 2);
        // A link to a file that is yet to be made.
        fs::create_symlink(folder.path / "later", folder.path / "dangling");
        write_atomically(folder.path / "dangling", bytes_of("third"));
        CHECK(read_text(folder.path / "later") == "third");
        CHECK(fs::is_symlink(folder.path / "dangling"));
    }
    SECTION("a disk that is full") {
        // A limit on file sizes fails the same call as a full disk does.
        struct rlimit old {};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
        const auto handler = std::signal(SIGXFSZ, SIG_IGN);
        struct rlimit tight = old;
        tight.rlim_cur = 4096;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
        std::string sentence;
        try {
            write_atomically(file, bytes_of(std::string(100000, 'x')));
        } catch (const Error& e) {
            sentence = e.what();
        }
        ::setrlimit(RLIMIT_FSIZE, &old);
        std::signal(SIGXFSZ, handler);
        CHECK_THAT(sentence, Catch::Contains(file.string() + ": cannot write the file: "));
        CHECK(read_text(file) == "first");
        CHECK(entries() == 1);
    }
    SECTION("places that cannot be written") {
        CHECK_THROWS_WITH(write_atomically(folder.path, bytes_of("x")), Catch::Contains("Is a directory"));
        CHECK_THROWS_WITH(write_atomically(folder.path / "none" / "x", bytes_of("x")),
                          Catch::Contains("No such file"));
        CHECK_THROWS_AS(write_atomically(file / "x", bytes_of("x")), Error);
        CHECK(read_text(file) == "first");
        CHECK(entries() == 1);
        CHECK_THROWS_WITH(write_atomically("/dev/full", bytes_of("x")), Catch::Contains("No space left"));
        CHECK_NOTHROW(write_atomically("/dev/null", bytes_of("x")));
        CHECK(fs::is_character_file("/dev/null"));
    }
    SECTION("a read-only file stays as it is") {
        if (::geteuid() == 0) {
            WARN("root may write anything: skipped");
            return;
        }
        fs::permissions(file, fs::perms::owner_read);
        CHECK_THROWS_WITH(write_atomically(file, bytes_of("x")), Catch::Contains("Permission denied"));
        CHECK(read_text(file) == "first");
    }
}

TEST_CASE("write_safetensors refuses a tensor whose bytes do not fit its shape") {
    TemporaryFolder folder;
    const fs::path file = folder.path / "x.safetensors";
    CHECK_THROWS_WITH(write_safetensors(file, {out<float>("w", "F32", {3}, {1, 2})}, {}),
                      Catch::Contains("tensor w"));
    CHECK_THROWS_WITH(
        write_safetensors(file, {out<float>("w", "F32", {1}, {1}), out<float>("w", "F32", {1}, {1})}, {}),
        Catch::Contains("tensor w"));
    CHECK(!fs::exists(file));
}

TEST_CASE("sha256: the standard's examples, and every length around a block") {
    CHECK(sha256({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256(bytes_of("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256(bytes_of(std::string(1000000, 'a'))) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    // Digest of the digests of 0..199 letters 'a', as Python's hashlib has it.
    std::string all;
    for (size_t n = 0; n < 200; ++n) all += sha256(bytes_of(std::string(n, 'a')));
    CHECK(sha256(bytes_of(all)) == "019f2b9f1af27a53a1f046da7e98af2c179f431e4b5bebb000e74040917a4123");
    // In a file that is longer than the buffer it is read through.
    TemporaryFolder folder;
    const std::string long_text(3'000'001, 'b');
    spill(folder.path / "long", long_text);
    CHECK(sha256_file(folder.path / "long") == sha256(bytes_of(long_text)));
    CHECK_THROWS_WITH(sha256_file(folder.path / "none"), Catch::Contains("No such file"));
}
