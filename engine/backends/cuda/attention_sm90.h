// SPDX-License-Identifier: Apache-2.0
// Attention for Hopper on many heads of some 200 tokens.
#pragma once
#include "engine/backends/cuda/kernels.h"

namespace ivit::cuda {

// False, and nothing started, where it is not what the kernel is made for. p: attention_usual.
bool attention_sm90(const Attention& p, const Launch& at);

}  // namespace ivit::cuda
