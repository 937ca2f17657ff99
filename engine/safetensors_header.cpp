// SPDX-License-Identifier: Apache-2.0
// Everything the header says is checked against the file before it is believed.
#include "engine/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/checkpoint.h"
#include "engine/error.h"

namespace ivit {

using namespace safetensors;

namespace {

constexpr size_t max_rank = 16;

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

}  // namespace

size_t safetensors::dtype_bytes(const std::string& dtype) {
    static const std::map<std::string, size_t> sizes = {
        {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
        {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
        {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
    const auto found = sizes.find(dtype);
    return found == sizes.end() ? 0 : found->second;
}

Header safetensors::read_header(std::string_view text, uint64_t data, const std::string& file) {
    HeaderReader reader;
    const bool read = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
    if (!read) throw Error(reader.problem.empty() ? "the header is not valid JSON" : reader.problem, file);
    check_entries(reader.entries, data, file);
    return {std::move(reader.entries), std::move(reader.metadata)};
}

}  // namespace ivit
