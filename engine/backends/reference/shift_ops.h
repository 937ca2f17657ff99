// SPDX-License-Identifier: Apache-2.0
// The three row functions of I-ViT, apart from the graph, so that golden_ops.json can be held against them.
#pragma once
#include <cstdint>
#include <span>

#include "engine/arithmetic.h"

namespace ivit::reference {

// x [cols] -> p [cols], 0 <= p <= 2^(k-1). arithmetic.md, Shiftmax over a row. i0 >= 1.
void shiftmax_row(std::span<const int32_t> x, int64_t i0, const ShiftParams& q, std::span<int32_t> p);

// x [cols] -> y [cols] = x * sigma, real = y * S / 2^(k-1). arithmetic.md, ShiftGELU. i0 >= 1, k <= 16, |x| <
// 2^15.
void shiftgelu_row(std::span<const int32_t> x, int64_t i0, const ShiftParams& q, std::span<int32_t> y);

// x [C] -> y [C], |y| <= 2^30, real = y * sqrt(C) / 2^30. arithmetic.md, I-LayerNorm. |x| < 2^15, C <= 2^20.
void layernorm_row(std::span<const int32_t> x, std::span<int32_t> y);

}  // namespace ivit::reference
