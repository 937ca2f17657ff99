// SPDX-License-Identifier: Apache-2.0
// The matrix products for Hopper: wgmma on tiles that the copy engine brings.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

// linear_sm90.cu: any product with columns that `fits`. tile: wgmma64, wgmma (128 x 128) or wgmma192, the
// rows and columns of an output tile.
bool wgmma_fits(const Linear& p, const Launch& at);
void linear_wgmma(const Linear& p, Tile tile, const Launch& at);

// linear_panel.cu: what becomes bytes, where K is short.
bool panel_fits(const Linear& p, const Launch& at);
void linear_panel(const Linear& p, const Launch& at);

// linear_side.cu: what is added to the residual stream.
bool side_fits(const Linear& p, const Launch& at);
void linear_side(const Linear& p, const Launch& at);

// linear_split.cu: any product with columns that `fits`, for few rows.
bool split_fits(const Linear& p, const Launch& at);
void linear_split(const Linear& p, const Launch& at);

}  // namespace ivit::cuda
