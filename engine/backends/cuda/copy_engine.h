// SPDX-License-Identifier: Apache-2.0
// Hopper's copy engine: what describes a matrix to it.
#pragma once
#include <cuda.h>

#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

constexpr int box_bytes = 128;  // width of a box: one row of the 128-byte swizzle

// Whether wgmma and the copy engine can be used: set by prepare_copy_engine, which asks the device, the code
// that was compiled and the driver.
bool copy_engine_ready();
void prepare_copy_engine(const Launch& at);

// Boxes of box_rows x `width` bytes, under the swizzle of that width, 64 or 128, out of a matrix [rows, k] of
// bytes whose rows are `stride` bytes apart. What a box has outside the matrix arrives as zeros and is not
// written. Throws where the driver refuses.
CUtensorMap boxes(const void* data, int32_t rows, int32_t k, int32_t stride, int32_t box_rows,
                  int32_t width = box_bytes);

}  // namespace ivit::cuda
