// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/ops.h"

#include <algorithm>

namespace ivit::fp32 {

void run_op(const FloatArgs& a) {
    switch (a.node.op) {
#define X(name)    \
    case Op::name: \
        return name(a);
        IVIT_OPS(X)
#undef X
    }
}

void parallel(ThreadPool* pool, int64_t count, int64_t least,
              const std::function<void(int64_t, int64_t)>& job) {
    const int64_t threads = pool ? pool->size() : 1;
    const int64_t size = std::max(least, (count + threads - 1) / threads);
    const int64_t pieces = (count + size - 1) / size;
    if (pieces <= 1) {
        if (count > 0) job(0, count);
        return;
    }
    pool->run(static_cast<int>(pieces), [&](int i) { job(i * size, std::min(count, (i + 1) * size)); });
}

}  // namespace ivit::fp32
