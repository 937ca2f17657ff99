// SPDX-License-Identifier: Apache-2.0
#include "engine/weights.h"

#include <sys/mman.h>
#include <unistd.h>

namespace ivit {

void Weights::let_go() const {
    if (!mapped_ || values_.empty()) return;
    // Whole pages only: those at the ends hold the neighbours' bytes too.
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto from = (reinterpret_cast<uintptr_t>(values_.data()) + page - 1) / page * page;
    const auto to = reinterpret_cast<uintptr_t>(values_.data() + values_.size()) / page * page;
    // A refusal costs memory, not correctness.
    if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

}  // namespace ivit
