// SPDX-License-Identifier: Apache-2.0
// The matrix product for Hopper: wgmma on tiles that the copy engine brings.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

bool wgmma_fits(const Linear& p, const Launch& at);
// tile: wgmma64, wgmma (128 x 128) or wgmma192, the rows and columns of an output tile.
void linear_wgmma(const Linear& p, Tile tile, const Launch& at);
void prepare_wgmma(const Launch& at);

}  // namespace ivit::cuda
