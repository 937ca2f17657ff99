// SPDX-License-Identifier: Apache-2.0
// The format: 8 bytes little-endian header length, a JSON header {"name": {"dtype", "shape", "data_offsets"},
// ...,
// "__metadata__": {text: text}}, then the tensors' bytes (https://github.com/huggingface/safetensors,
// "Format"). Everything the header says is checked against the file before it is believed. What cannot be
// guarded against is another process that shortens the file while it is mapped: the kernel then ends this one
// with SIGBUS.
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
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/checkpoint.h"
#include "engine/error.h"

namespace ivit {
namespace {

constexpr uint64_t max_header = 100'000'000;  // as the reference implementation has it
constexpr size_t max_rank = 16;

// Bytes of one element; 0 for a dtype the format does not know.
size_t dtype_bytes(const std::string& dtype) {
    static const std::map<std::string, size_t> sizes = {
        {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
        {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
        {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
    const auto found = sizes.find(dtype);
    return found == sizes.end() ? 0 : found->second;
}

// One tensor as the header gives it. Offsets count from the end of the header.
struct Entry {
    std::string dtype;
    Shape shape;
    std::vector<uint64_t> offsets;
    bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Walks the header's JSON event by event: any form but the one above ends the parse with `problem`, at
// whatever depth it appears, so a hostile header costs no more memory than its own length.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
  public:
    std::map<std::string, Entry> entries;
    std::map<std::string, std::string> metadata;
    std::string problem;

    bool null() override { return unexpected(); }
    bool boolean(bool) override { return unexpected(); }
    bool number_integer(number_integer_t) override { return unexpected(); }
    bool number_float(number_float_t, const string_t&) override { return unexpected(); }
    bool binary(binary_t&) override { return unexpected(); }

    bool number_unsigned(number_unsigned_t value) override {
        if (at_ == At::shape) {
            if (entry_->shape.size() == max_rank)
                return fail("tensor " + printable(name_) + " has more than " + std::to_string(max_rank) +
                            " dimensions");
            if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return unexpected();
            entry_->shape.push_back(static_cast<int64_t>(value));
            return true;
        }
        if (at_ == At::offsets && entry_->offsets.size() < 2) {
            entry_->offsets.push_back(value);
            return true;
        }
        return unexpected();
    }

    bool string(string_t& value) override {
        if (at_ == At::metadata) {
            metadata[key_] = std::move(value);
            return true;
        }
        if (at_ == At::tensor && field_ == "dtype") {
            entry_->dtype = std::move(value);
            entry_->has_dtype = true;
            field_.clear();
            return true;
        }
        return unexpected();
    }

    bool key(string_t& value) override {
        switch (at_) {
            case At::top:
                name_ = std::move(value);
                if (name_ == "__metadata__" ? std::exchange(seen_metadata_, true) : entries.count(name_) != 0)
                    return fail("the header names " + printable(name_) + " twice");
                return true;
            case At::metadata:
                if (metadata.count(value)) return fail("the metadata name " + printable(value) + " twice");
                key_ = std::move(value);
                return true;
            case At::tensor:
                if (value != "dtype" && value != "shape" && value != "data_offsets")
                    return fail("tensor " + printable(name_) + " has an unknown field '" + printable(value) +
                                "'");
                if ((value == "dtype" && entry_->has_dtype) || (value == "shape" && entry_->has_shape) ||
                    (value == "data_offsets" && entry_->has_offsets))
                    return fail("tensor " + printable(name_) + " gives its " + value + " twice");
                field_ = std::move(value);
                return true;
            default:
                return unexpected();
        }
    }

    bool start_object(size_t) override {
        if (at_ == At::start) {
            at_ = At::top;
        } else if (at_ == At::top) {
            if (name_ == "__metadata__") {
                at_ = At::metadata;
            } else {
                entry_ = &entries[name_];
                field_.clear();
                at_ = At::tensor;
            }
        } else {
            return unexpected();
        }
        return true;
    }

    bool end_object() override {
        if (at_ == At::tensor && !(entry_->has_dtype && entry_->has_shape && entry_->has_offsets))
            return fail("tensor " + printable(name_) + " lacks its dtype, shape or data_offsets");
        at_ = at_ == At::top ? At::end : At::top;
        return true;
    }

    bool start_array(size_t) override {
        if (at_ != At::tensor) return unexpected();
        if (field_ == "shape") {
            at_ = At::shape;
            entry_->has_shape = true;
        } else if (field_ == "data_offsets") {
            at_ = At::offsets;
            entry_->has_offsets = true;
        } else {
            return unexpected();
        }
        return true;
    }

    bool end_array() override {
        if (at_ == At::offsets && entry_->offsets.size() != 2) return unexpected();
        at_ = At::tensor;
        field_.clear();
        return true;
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return fail("the header is not valid JSON (at its byte " + std::to_string(position) + ")");
    }

  private:
    enum class At { start, top, metadata, tensor, shape, offsets, end };

    bool fail(std::string text) {
        if (problem.empty()) problem = std::move(text);
        return false;
    }

    bool unexpected() {
        switch (at_) {
            case At::start:
            case At::end:
                return fail("the header is not a JSON object");
            case At::top:
                return fail("the header's entry " + printable(name_) + " is not an object");
            case At::metadata:
                return fail("the metadata entry " + printable(key_) + " is not text");
            case At::tensor:
                return fail("tensor " + printable(name_) + " has a malformed " +
                            (field_.empty() ? "entry" : printable(field_)));
            case At::shape:
                return fail("tensor " + printable(name_) +
                            " has a shape that is not a list of whole numbers");
            case At::offsets:
                return fail("tensor " + printable(name_) +
                            " has data_offsets that are not two whole numbers");
        }
        return false;
    }

    At at_ = At::start;
    std::string name_, field_, key_;  // the tensor, its field, and the metadata entry being read
    Entry* entry_ = nullptr;
    bool seen_metadata_ = false;
};

// Bytes of a tensor, or false where the product passes 2^63.
bool byte_count(const Entry& e, uint64_t& bytes) {
    int64_t product = static_cast<int64_t>(dtype_bytes(e.dtype));
    for (const int64_t d : e.shape)
        if (__builtin_mul_overflow(product, d, &product)) return false;
    bytes = static_cast<uint64_t>(product);
    return true;
}

// [a, b] of `data` bytes: every dtype, shape and range, then that the ranges tile the data without overlap or
// gap.
void check_entries(const std::map<std::string, Entry>& entries, uint64_t data, const std::string& file) {
    struct Range {
        uint64_t begin, end;
        const std::string* name;
    };
    std::vector<Range> ranges;
    ranges.reserve(entries.size());
    for (const auto& [name, e] : entries) {
        const std::string tensor = "tensor " + printable(name);
        if (!dtype_bytes(e.dtype))
            throw Error(tensor + " has the unknown dtype '" + printable(e.dtype) + "'", file);
        const uint64_t begin = e.offsets[0], end = e.offsets[1];
        if (begin > end)
            throw Error(tensor + " ends at byte " + std::to_string(end) + ", before it begins at " +
                            std::to_string(begin),
                        file);
        if (end > data)
            throw Error(tensor + " reaches to byte " + std::to_string(end) +
                            " of the data, expected at most " + std::to_string(data) +
                            " (is the file cut short?)",
                        file);
        uint64_t bytes = 0;
        if (!byte_count(e, bytes))
            throw Error(tensor + " claims the shape " + to_string(e.shape) + ", more than any file holds",
                        file);
        if (bytes != end - begin)
            throw Error(tensor + " spans " + std::to_string(end - begin) + " bytes, expected " +
                            std::to_string(bytes) + " for " + e.dtype + " " + to_string(e.shape),
                        file);
        ranges.push_back({begin, end, &name});
    }
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t at = 0;
    for (const Range& r : ranges) {
        if (r.begin < at) throw Error("tensor " + printable(*r.name) + " overlaps another tensor", file);
        if (r.begin > at)
            throw Error("there are " + std::to_string(r.begin - at) + " stray bytes before tensor " +
                            printable(*r.name),
                        file);
        at = r.end;
    }
    if (at != data)
        throw Error("there are " + std::to_string(data - at) + " stray bytes after the last tensor", file);
}

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

}  // namespace

std::shared_ptr<const Safetensors> Safetensors::open(const std::filesystem::path& file) {
    const std::string name = file.string();
    // Non-blocking, so that a pipe without a writer is refused rather than waited for.
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw Error(std::string("cannot open the file: ") + std::strerror(errno), name);
    struct stat st {};
    const bool known = ::fstat(fd, &st) == 0;
    if (!known || !S_ISREG(st.st_mode) || st.st_size < 8) {
        ::close(fd);
        if (known && S_ISDIR(st.st_mode))
            throw Error("this is a folder without a model.safetensors", name, "name the checkpoint's file");
        if (!known || !S_ISREG(st.st_mode)) throw Error("this is not a regular file", name);
        throw Error("the file has " + std::to_string(st.st_size) + " bytes, too few for a safetensors header",
                    name);
    }
    const auto bytes = static_cast<size_t>(st.st_size);
    void* map = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    const int reason = errno;
    ::close(fd);
    if (map == MAP_FAILED) throw Error(std::string("cannot map the file: ") + std::strerror(reason), name);
    // parse() does not know of the mapping; from here on it is the result's to unmap.
    std::shared_ptr<const Safetensors> result;
    try {
        result = parse({static_cast<const std::byte*>(map), bytes}, name);
    } catch (...) {
        ::munmap(map, bytes);
        throw;
    }
    auto& owner = const_cast<Safetensors&>(*result);
    owner.map_ = map;
    owner.map_bytes_ = bytes;
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
    const std::string start(reinterpret_cast<const char*>(bytes.data()), 2);
    if (header > rest && (start == "PK" || start[0] == '\x80'))
        throw Error("this is a PyTorch file, expected safetensors", name,
                    "save it anew in Python: safetensors.torch.save_file(model.state_dict(), "
                    "\"model.safetensors\")");
    if (header > rest)
        throw Error("the header claims " + std::to_string(header) + " bytes, but only " +
                        std::to_string(rest) + " follow (this is no safetensors file, or one cut short)",
                    name);
    if (header > max_header)
        throw Error("the header claims " + std::to_string(header) + " bytes, expected at most " +
                        std::to_string(max_header),
                    name);

    HeaderReader reader;
    const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
    const bool read = nlohmann::json::sax_parse(text, text + header, &reader);
    if (!read) throw Error(reader.problem.empty() ? "the header is not valid JSON" : reader.problem, name);
    const uint64_t data = rest - header;
    check_entries(reader.entries, data, name);

    std::shared_ptr<Safetensors> result(new Safetensors);
    result->name_ = name;
    result->metadata_ = std::move(reader.metadata);
    for (auto& [tensor, e] : reader.entries)
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
    if (!map_ || view.dtype != "I8") return integers<int8_t>(tensor, expected);
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
