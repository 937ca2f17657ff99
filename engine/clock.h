// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>

namespace ivit {

// Milliseconds since some moment, by the clock that never steps back: for differences.
inline double now_ms() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

}  // namespace ivit
