// SPDX-License-Identifier: Apache-2.0
// k and v as the right-hand matrices of attention's two products.
#pragma once
#include <cstdint>

#include "engine/backends/cpu/buffer.h"

namespace ivit::cpu {

// The shape of attention: C = heads * d.
struct Heads {
    int64_t batch, tokens, C, heads;
    int64_t d() const { return C / heads; }
};

// One head of one picture: k [d, tokens] and v [tokens, d] as panels, and what k's columns start from. Sizes
// go up to whole groups.
struct HeadPanels {
    int8_t* k;
    int32_t* k_init;
    int8_t* v;
};

struct KeysValues {
    Buffer<int8_t> k, v;
    Buffer<int32_t> k_init;

    void grow(const Heads& h) {
        const int64_t count = h.batch * h.heads;
        k.grow(count * k_size(h));
        v.grow(count * v_size(h));
        k_init.grow(count * init_size(h));
    }
    // i: picture * heads + head
    HeadPanels head(const Heads& h, int64_t i) {
        return {k.data() + i * k_size(h), k_init.data() + i * init_size(h), v.data() + i * v_size(h)};
    }

    static int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
    static int64_t k_size(const Heads& h) { return rounded(h.tokens, 16) * rounded(h.d(), 16); }
    static int64_t v_size(const Heads& h) { return rounded(rounded(h.tokens, 4) * rounded(h.d(), 16), 64); }
    // A product reads as many as the widest panel has.
    static int64_t init_size(const Heads& h) { return rounded(h.tokens, 16) + 64; }
};

}  // namespace ivit::cpu
