// SPDX-License-Identifier: Apache-2.0
// The operators a Graph is made of. A new operator is one file per backend (named as here) and one line in
// this list; every backend's table and the names in reports are made from it.
#pragma once

// clang-format off
//  name          inputs                   output (batch left out)          integer type of the output
//  input         pixels u8 [H, W, 3]      [3, H, W]                        int8 (a table per colour channel)
//  patch_embed   input                    [patches, C]                     residual stream, at pos_embed's scale
//  pos_embed     patch_embed              [tokens, C], class token first   residual stream
//  layernorm     residual [tokens, C]     [rows, C], the first rows only   int8
//  linear        [rows, K]                [rows, C], C in 1 or 3 groups    int8; int32 accumulator where a
//                                                                          residual_add alone reads it
//  attn_logits   qkv [tokens, 3C]         [heads, tokens, tokens]          int8 (4..16 bits)
//  softmax       attn_logits              [heads, tokens, tokens]          0..2^(k-1)
//  attn_context  softmax, qkv             [tokens, C]                      int8
//  gelu          linear [tokens, hidden]  [tokens, hidden]                 int8
//  residual_add  linear, residual         [tokens, C]                      residual stream
//  head          layernorm [1, C]         [1, classes]                     int32, one common scale
// clang-format on
#define IVIT_OPS(X) \
    X(input)        \
    X(patch_embed)  \
    X(pos_embed)    \
    X(layernorm)    \
    X(linear)       \
    X(attn_logits)  \
    X(softmax)      \
    X(attn_context) \
    X(gelu)         \
    X(residual_add) \
    X(head)

namespace ivit {

enum class Op {
#define X(name) name,
    IVIT_OPS(X)
#undef X
};

constexpr const char* to_string(Op op) {
    switch (op) {
#define X(name)    \
    case Op::name: \
        return #name;
        IVIT_OPS(X)
#undef X
    }
    return "?";
}

// Of these a node has a weight and a bias.
constexpr bool has_weights(Op op) { return op == Op::patch_embed || op == Op::linear || op == Op::head; }

}  // namespace ivit
