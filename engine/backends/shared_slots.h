// SPDX-License-Identifier: Apache-2.0
// Which outputs of a network's steps can lie in the same buffer, one after another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ivit {

class SharedSlots {
  public:
    // The slot, 0 .., for an output that is written at `from` and read for the last time at `until`, which
    // count steps or nodes in the order they run in; calls come in that order. Two share a slot only when
    // they are of one kind: the size in bytes, say.
    int take(int64_t kind, int from, int until) {
        size_t slot = 0;
        while (slot < kinds_.size() && (kinds_[slot] != kind || busy_until_[slot] >= from)) ++slot;
        if (slot == kinds_.size()) {
            kinds_.push_back(kind);
            busy_until_.push_back(until);
        }
        busy_until_[slot] = until;
        return static_cast<int>(slot);
    }
    // Per slot.
    const std::vector<int64_t>& kinds() const { return kinds_; }

  private:
    std::vector<int64_t> kinds_;
    std::vector<int> busy_until_;
};

}  // namespace ivit
