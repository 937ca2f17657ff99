// SPDX-License-Identifier: Apache-2.0
// The integer weights of one node: read-only and shared. They lie in memory of their own, or where a
// quantized model's file is mapped, so that a process holds them once: as the backend packed them.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace ivit {

class Weights {
  public:
    Weights() = default;
    Weights(std::vector<int8_t> values)  // NOLINT: a vector of weights is Weights
        : Weights(std::make_shared<const std::vector<int8_t>>(std::move(values))) {}
    // `bytes` within `mapping`, a file mapped read-only, which `file` keeps mapped.
    Weights(std::span<const int8_t> bytes, std::span<const std::byte> mapping,
            std::shared_ptr<const void> file)
        : owner_(std::move(file)), values_(bytes), mapping_(mapping) {}

    const int8_t* data() const { return values_.data(); }
    size_t size() const { return values_.size(); }
    bool empty() const { return values_.empty(); }
    auto begin() const { return values_.begin(); }
    auto end() const { return values_.end(); }
    const int8_t& operator[](size_t i) const { return values_[i]; }

    // Who has read the first `count` of them (or all) and made something of its own of them says so: mapped
    // pages then leave the resident set (and come back from the file when somebody reads them again). Weights
    // in memory stay.
    void let_go(size_t count = SIZE_MAX) const;

    bool operator==(const Weights& other) const {
        return values_.data() == other.values_.data() ? values_.size() == other.values_.size()
                                                      : std::ranges::equal(values_, other.values_);
    }

  private:
    explicit Weights(std::shared_ptr<const std::vector<int8_t>> values) : owner_(values), values_(*values) {}

    std::shared_ptr<const void> owner_;
    std::span<const int8_t> values_;
    std::span<const std::byte> mapping_;  // of the whole file; empty for weights in memory
};

// Pages of [from, from + bytes) in `mapping`, a file mapped read-only, leave the resident set, and with them
// the neighbours the kernel brings along when one is read. The next reader gets them back from the file.
void let_go_of(std::span<const std::byte> mapping, const void* from, size_t bytes);

}  // namespace ivit
