// SPDX-License-Identifier: Apache-2.0
// Memory for kernels: aligned to a cache line, zeroed, and readable for one line past its end, so that no
// kernel needs a careful last load.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace ivit::cpu {

template <typename T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(int64_t count) { grow(count); }
    Buffer(Buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { std::free(data_); }

    // At least `count` elements. What was there is lost when it has to grow; nothing happens when it is large
    // enough.
    void grow(int64_t count) {
        if (count <= size_) return;
        const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 64 + 63) / 64 * 64;
        std::free(data_);
        data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
        size_ = data_ ? count : 0;
        if (!data_) throw std::bad_alloc();
        std::memset(data_, 0, bytes);
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](int64_t i) { return data_[i]; }
    const T& operator[](int64_t i) const { return data_[i]; }
    int64_t size() const { return size_; }

  private:
    T* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace ivit::cpu
