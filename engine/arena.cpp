// SPDX-License-Identifier: Apache-2.0
#include "engine/arena.h"

#include <sys/mman.h>

#include <new>

namespace ivit {
namespace {

constexpr int64_t huge_page = int64_t{2} << 20;

int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

Arena::Arena(int64_t bytes) : mapped_(static_cast<size_t>(bytes + huge_page)), size_(bytes) {
    mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::bad_alloc();
    const auto at = reinterpret_cast<uintptr_t>(mapping_);
    begin_ = static_cast<int8_t*>(mapping_) + (-at & static_cast<uintptr_t>(huge_page - 1));
    // Whole huge pages alone: a part of one would take all of it.
    madvise(begin_, static_cast<size_t>(size_ / huge_page * huge_page), MADV_HUGEPAGE);
}

Arena::~Arena() { munmap(mapping_, mapped_); }

int8_t* Arena::take(int64_t bytes) {
    const int64_t at = used_.fetch_add(rounded(bytes, 64));
    return at + bytes <= size_ ? begin_ + at : nullptr;
}

}  // namespace ivit
