// SPDX-License-Identifier: Apache-2.0
// What lies between the steps of a network: buffers several steps use one after another.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/backends/cpu/buffer.h"
#include "engine/backends/cpu/keys_values.h"
#include "engine/graph.h"

namespace ivit::cpu {

// What a node's output is stored as between steps.
enum class Kind { u8, i16, i32 };
Kind kind_of(const Node& n);

// [batch, elements] of whichever kind.
struct Slot {
    Kind kind;
    int64_t elements = 0;  // a picture
    Buffer<uint8_t> u8;
    Buffer<int16_t> i16;
    Buffer<int32_t> i32;
    KeysValues panels;  // of qkv: what attention makes of it, where its parts are rows

    void grow(int64_t batch);
    int64_t picture_bytes() const;
};

// Elements first .. first + count of a slot, appended as the int32 of taps; and back.
void widen(const Slot& slot, int64_t first, int64_t count, std::vector<int32_t>* out);
void narrow(const std::vector<int32_t>& from, int64_t first, Slot* slot);

}  // namespace ivit::cpu
