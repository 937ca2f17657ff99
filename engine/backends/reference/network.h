// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "engine/backend.h"

namespace ivit::reference {

std::unique_ptr<Backend> make_backend();  // single-threaded, always available

}  // namespace ivit::reference
