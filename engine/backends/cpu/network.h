// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "engine/backend.h"
#include "engine/cpu_info.h"

namespace ivit::cpu {

// threads <= 0: all cores. isa: at most best_isa(); tests pass less to walk every path on one machine.
std::unique_ptr<Backend> make_backend(int threads, Isa isa = best_isa());

}  // namespace ivit::cpu
