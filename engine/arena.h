// SPDX-License-Identifier: Apache-2.0
// One mapping for all packed weights of a network, on huge pages where the system gives them: a run reads
// each weight once, and with small pages would look up an address every few microseconds.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ivit {

class Arena {
  public:
    // Throws std::bad_alloc. What is never written takes no memory.
    explicit Arena(int64_t bytes);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // The next `bytes` of it, zeroed, aligned to a cache line; null when it is used up. From any thread.
    int8_t* take(int64_t bytes);

  private:
    void* mapping_;
    size_t mapped_;
    int8_t* begin_;
    int64_t size_;
    std::atomic<int64_t> used_{0};
};

}  // namespace ivit
