// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cpu/slots.h"

namespace ivit::cpu {

Kind kind_of(const Node& n) {
    switch (n.op) {
        case Op::layernorm:
        case Op::attn_context:
        case Op::gelu:
            return Kind::u8;
        case Op::linear:
            return n.to_residual ? Kind::i32 : Kind::u8;
        case Op::patch_embed:
        case Op::pos_embed:
        case Op::residual_add:
            return Kind::i16;
        default:
            return Kind::i32;
    }
}

void Slot::grow(int64_t batch) {
    if (kind == Kind::u8) u8.grow(batch * elements);
    if (kind == Kind::i16) i16.grow(batch * elements);
    if (kind == Kind::i32) i32.grow(batch * elements);
}

int64_t Slot::picture_bytes() const { return elements * (kind == Kind::u8 ? 1 : kind == Kind::i16 ? 2 : 4); }

void widen(const Slot& slot, int64_t first, int64_t count, std::vector<int32_t>* out) {
    out->reserve(out->size() + static_cast<size_t>(count));
    for (int64_t at = first; at < first + count; ++at)
        out->push_back(slot.kind == Kind::u8    ? slot.u8[at] - 128
                       : slot.kind == Kind::i16 ? slot.i16[at]
                                                : slot.i32[at]);
}

void narrow(const std::vector<int32_t>& from, int64_t first, Slot* slot) {
    for (size_t i = 0; i < from.size(); ++i) {
        const int64_t at = first + static_cast<int64_t>(i);
        if (slot->kind == Kind::u8)
            slot->u8[at] = static_cast<uint8_t>(from[i] + 128);
        else if (slot->kind == Kind::i16)
            slot->i16[at] = static_cast<int16_t>(from[i]);
        else
            slot->i32[at] = from[i];
    }
}

}  // namespace ivit::cpu
