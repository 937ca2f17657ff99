// SPDX-License-Identifier: Apache-2.0
// The matrix product for Hopper where K is short.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

bool panel_fits(const Linear& p, const Launch& at);
void linear_panel(const Linear& p, const Launch& at);

}  // namespace ivit::cuda
