// SPDX-License-Identifier: Apache-2.0
// What cannot be guarded against is another process that shortens the file while it is mapped: the kernel
// then ends this one with SIGBUS, of which the programs say what it means (app/lost_file.h). A file that is
// read() is safe from that.
#include "engine/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/checkpoint.h"
#include "engine/error.h"
#include "engine/safetensors_header.h"

namespace ivit {

using namespace safetensors;

namespace {

constexpr uint64_t max_header = 100'000'000;  // as the reference implementation has it

float half_to_float(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 0x1f, mantissa = h & 0x3ff;
    uint32_t bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000 | (mantissa << 13);
    } else if (exponent) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else {  // zero and subnormals: mantissa * 2^-24, exact in FP32
        const float f = static_cast<float>(mantissa) * 0x1p-24F;
        return sign ? -f : f;
    }
    return std::bit_cast<float>(bits);
}

template <class T>
constexpr const char* integer_dtype = nullptr;
template <>
constexpr const char* integer_dtype<uint8_t> = "U8";
template <>
constexpr const char* integer_dtype<int8_t> = "I8";
template <>
constexpr const char* integer_dtype<int16_t> = "I16";
template <>
constexpr const char* integer_dtype<int32_t> = "I32";
template <>
constexpr const char* integer_dtype<int64_t> = "I64";

void check_shape(const TensorView& view, const std::string& tensor, const Shape& expected,
                 const std::string& file) {
    if (!expected.empty() && view.shape != expected)
        throw Error("tensor " + printable(tensor) + " has shape " + to_string(view.shape) + ", expected " +
                        to_string(expected),
                    file);
}

// A regular file with room for a header, open for reading until the end of the scope.
struct OpenFile {
    int fd;
    size_t bytes = 0;

    // Non-blocking, so that a pipe without a writer is refused rather than waited for.
    explicit OpenFile(const std::filesystem::path& file)
        : fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        const std::string name = file.string();
        if (fd < 0) throw Error(std::string("cannot open the file: ") + std::strerror(errno), name);
        struct stat st {};
        const bool known = ::fstat(fd, &st) == 0;
        if (known && S_ISREG(st.st_mode) && st.st_size >= 8) {
            bytes = static_cast<size_t>(st.st_size);
            return;
        }
        ::close(fd);
        if (known && S_ISDIR(st.st_mode))
            throw Error("this is a folder without a model.safetensors", name, "name the checkpoint's file");
        if (!known || !S_ISREG(st.st_mode)) throw Error("this is not a regular file", name);
        throw Error("the file has " + std::to_string(st.st_size) + " bytes, too few for a safetensors header",
                    name);
    }
    OpenFile(const OpenFile&) = delete;
    ~OpenFile() { ::close(fd); }
};

// A file that is something else than safetensors and known by how it begins. Throws Error saying what.
void refuse_other_kinds(std::span<const std::byte> bytes, const std::string& name) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with("version https://git-lfs.github.com/"))
        throw Error("this is a Git LFS pointer, which stands for the checkpoint until that is fetched", name,
                    "fetch it where the repository was cloned: git lfs pull");
    if (text.starts_with("PK") || text[0] == '\x80')
        throw Error("this is a PyTorch file, expected safetensors", name,
                    "save it anew in Python: safetensors.torch.save_file(model.state_dict(), "
                    "\"model.safetensors\")");
}

}  // namespace

std::shared_ptr<const Safetensors> Safetensors::open(const std::filesystem::path& file) {
    const OpenFile opened(file);
    void* map = ::mmap(nullptr, opened.bytes, PROT_READ, MAP_PRIVATE, opened.fd, 0);
    if (map == MAP_FAILED)
        throw Error(std::string("cannot map the file: ") + std::strerror(errno), file.string());
    // parse() does not know of the mapping; from here on it is the result's to unmap.
    std::shared_ptr<const Safetensors> result;
    try {
        result = parse({static_cast<const std::byte*>(map), opened.bytes}, file.string());
    } catch (...) {
        ::munmap(map, opened.bytes);
        throw;
    }
    auto& owner = const_cast<Safetensors&>(*result);
    owner.map_ = map;
    owner.map_bytes_ = opened.bytes;
    return result;
}

std::shared_ptr<const Safetensors> Safetensors::read(const std::filesystem::path& file) {
    const OpenFile opened(file);
    std::vector<std::byte> bytes(opened.bytes);
    for (size_t at = 0; at < bytes.size();) {
        const ssize_t n = ::read(opened.fd, bytes.data() + at, bytes.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw Error(std::string("cannot read the file: ") + std::strerror(errno), file.string());
        if (n == 0) throw Error("the file was shortened while it was being read", file.string());
        at += static_cast<size_t>(n);
    }
    auto result = parse(bytes, file.string());
    const_cast<Safetensors&>(*result).buffer_ = std::move(bytes);
    return result;
}

std::shared_ptr<const Safetensors> Safetensors::parse(std::span<const std::byte> bytes,
                                                      const std::string& name) {
    if (bytes.size() < 8)
        throw Error(
            "the file has " + std::to_string(bytes.size()) + " bytes, too few for a safetensors header",
            name);
    uint64_t header = 0;
    for (int i = 0; i < 8; ++i) header |= static_cast<uint64_t>(bytes[static_cast<size_t>(i)]) << (8 * i);
    const uint64_t rest = bytes.size() - 8;
    if (header > rest) refuse_other_kinds(bytes, name);
    if (header > rest)
        throw Error("the header claims " + std::to_string(header) + " bytes, but only " +
                        std::to_string(rest) + " follow (this is no safetensors file, or one cut short)",
                    name);
    if (header > max_header)
        throw Error("the header claims " + std::to_string(header) + " bytes, expected at most " +
                        std::to_string(max_header),
                    name);

    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header);
    auto [entries, metadata] = read_header(text, rest - header, name);

    std::shared_ptr<Safetensors> result(new Safetensors);
    result->name_ = name;
    result->metadata_ = std::move(metadata);
    for (auto& [tensor, e] : entries)
        result->tensors_[tensor] = {std::move(e.dtype), std::move(e.shape),
                                    bytes.subspan(8 + header + e.offsets[0], e.offsets[1] - e.offsets[0])};
    return result;
}

Safetensors::~Safetensors() {
    if (map_) ::munmap(map_, map_bytes_);
}

const TensorView& Safetensors::get(const std::string& tensor) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end()) throw Error("tensor " + printable(tensor) + " is missing", name_);
    return found->second;
}

FloatTensor Safetensors::floats(const std::string& tensor, const Shape& expected) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end())
        throw Error("tensor " + printable(tensor) + " is missing" +
                        (expected.empty() ? "" : ", expected with shape " + to_string(expected)),
                    name_);
    const TensorView& view = found->second;
    check_shape(view, tensor, expected, name_);

    FloatTensor out{view.shape, {}};
    const auto n = static_cast<size_t>(elements(view.shape));
    if (view.dtype == "F32") {
        if (reinterpret_cast<uintptr_t>(view.bytes.data()) % alignof(float) == 0) {
            // Constructed from the mapping: nothing is filled with zeros first.
            const auto* from = reinterpret_cast<const float*>(view.bytes.data());
            out.data.assign(from, from + n);
        } else {
            out.data.resize(n);
            if (n) std::memcpy(out.data.data(), view.bytes.data(), n * sizeof(float));
        }
    } else if (view.dtype == "F16" || view.dtype == "BF16") {
        out.data.resize(n);
        const bool half = view.dtype == "F16";
        for (size_t i = 0; i < n; ++i) {
            uint16_t bits;
            std::memcpy(&bits, view.bytes.data() + 2 * i, 2);
            if (half) {
                out.data[i] = half_to_float(bits);
            } else {
                out.data[i] = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
            }
        }
    } else {
        throw Error(
            "tensor " + printable(tensor) + " has dtype " + view.dtype + ", expected F32, F16 or BF16",
            name_);
    }
    // NaN and infinity are the values with every exponent bit set. One pass that vectorises; the search for
    // which element it was is for the sentence alone.
    bool finite = true;
    for (const float x : out.data) {
        const auto bits = std::bit_cast<uint32_t>(x);
        finite &= (bits & 0x7f800000) != 0x7f800000;
    }
    if (!finite)
        for (size_t i = 0; i < n; ++i)
            if (!std::isfinite(out.data[i]))
                throw Error("tensor " + printable(tensor) + " holds " +
                                (std::isnan(out.data[i]) ? "NaN" : "infinity") + " at element " +
                                std::to_string(i) + ", expected finite numbers",
                            name_);
    return out;
}

template <class T>
std::vector<T> Safetensors::integers(const std::string& tensor, const Shape& expected) const {
    const TensorView& view = get(tensor);
    check_shape(view, tensor, expected, name_);
    if (view.dtype != integer_dtype<T>)
        throw Error(
            "tensor " + printable(tensor) + " has dtype " + view.dtype + ", expected " + integer_dtype<T>,
            name_);
    std::vector<T> out(view.bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
    return out;
}

void Safetensors::let_go() const {
    if (map_) let_go_of({static_cast<const std::byte*>(map_), map_bytes_}, map_, map_bytes_);
}

Weights Safetensors::weights(const std::string& tensor, const Shape& expected) const {
    const TensorView& view = get(tensor);
    if ((!map_ && buffer_.empty()) || view.dtype != "I8") return integers<int8_t>(tensor, expected);
    check_shape(view, tensor, expected, name_);
    return {{reinterpret_cast<const int8_t*>(view.bytes.data()), view.bytes.size()},
            {static_cast<const std::byte*>(map_), map_bytes_},
            shared_from_this()};
}

template std::vector<uint8_t> Safetensors::integers<uint8_t>(const std::string&, const Shape&) const;
template std::vector<int8_t> Safetensors::integers<int8_t>(const std::string&, const Shape&) const;
template std::vector<int16_t> Safetensors::integers<int16_t>(const std::string&, const Shape&) const;
template std::vector<int32_t> Safetensors::integers<int32_t>(const std::string&, const Shape&) const;
template std::vector<int64_t> Safetensors::integers<int64_t>(const std::string&, const Shape&) const;

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorOut>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    uint64_t at = 0;
    for (const TensorOut& t : tensors) {
        const uint64_t expected = static_cast<uint64_t>(elements(t.shape)) * dtype_bytes(t.dtype);
        if (t.bytes.size() != expected || header.contains(t.name) || t.name == "__metadata__")
            throw Error("tensor " + printable(t.name) +
                            " cannot be written: " + std::to_string(t.bytes.size()) + " bytes given for " +
                            t.dtype + " " + to_string(t.shape) + ", or its name is taken",
                        file.string());
        header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {at, at + expected}}};
        at += expected;
    }
    // Text that is not UTF-8 (a path in the metadata) is repaired, not a reason to lose a calibration.
    std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.resize((text.size() + 7) / 8 * 8, ' ');

    std::vector<std::byte> bytes(8 + text.size() + at);
    for (int i = 0; i < 8; ++i)
        bytes[static_cast<size_t>(i)] = static_cast<std::byte>(static_cast<uint64_t>(text.size()) >> (8 * i));
    std::memcpy(bytes.data() + 8, text.data(), text.size());
    std::byte* out = bytes.data() + 8 + text.size();
    for (const TensorOut& t : tensors) out = std::copy(t.bytes.begin(), t.bytes.end(), out);
    write_atomically(file, bytes);
}

}  // namespace ivit
