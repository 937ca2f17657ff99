// SPDX-License-Identifier: Apache-2.0
// A backend that may be lost while it runs (a GPU: out of memory, reset, unplugged) with another behind it.
#pragma once
#include <functional>
#include <memory>

#include "engine/backend.h"

namespace ivit {

// Runs on `first` until it throws an Error whose `where` is its name ("cuda"): from then on, that very call
// included, on what `second` makes. Both compute the same integers, so nobody notices but the clock;
// BackendInfo::gpu_lost says why from then on, and a warning is logged once. Other errors (a wrong picture,
// say) and Cancelled pass through.
std::unique_ptr<Backend> with_fallback(std::unique_ptr<Backend> first,
                                       std::function<std::unique_ptr<Backend>()> second);

}  // namespace ivit
