// SPDX-License-Identifier: Apache-2.0
// The AVX2 kernels that have a file of their own; AVX-VNNI shares them. See kernels.h.
#pragma once
#include "engine/backends/cpu/kernels.h"

namespace ivit::cpu::avx2 {

bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* groups);
void lookup(const uint8_t* table, uint8_t* x, int64_t n);
void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init);
void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out);
void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi, int16_t* out);
void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width);

}  // namespace ivit::cpu::avx2
