// SPDX-License-Identifier: Apache-2.0
// The matrix product for Hopper: wgmma on tiles that the copy engine brings.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

bool wgmma_fits(const Linear& p, const Launch& at);
// small: tiles of 64 x 64 instead of 128 x 128.
void linear_wgmma(const Linear& p, bool small, const Launch& at);
void prepare_wgmma(const Launch& at);

}  // namespace ivit::cuda
