// SPDX-License-Identifier: Apache-2.0
#include "engine/weights.h"

#include <sys/mman.h>
#include <unistd.h>

namespace ivit {

void let_go_of(std::span<const std::byte> mapping, const void* from, size_t bytes) {
    // A page that is read brings its neighbours in the same 64 KiB.
    constexpr uintptr_t around = 64 << 10;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto start = reinterpret_cast<uintptr_t>(mapping.data());  // mappings start on a page
    const auto end = (start + mapping.size() + page - 1) / page * page;
    const auto at = reinterpret_cast<uintptr_t>(from);
    const auto first = std::max(at / around * around, start),
               last = std::min((at + bytes + around - 1) / around * around, end);
    // A refusal costs memory, not correctness.
    if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void Weights::let_go(size_t count) const {
    if (!mapping_.empty()) let_go_of(mapping_, values_.data(), std::min(count, values_.size()));
}

}  // namespace ivit
