// SPDX-License-Identifier: Apache-2.0
#include "engine/processor_time.h"

#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "engine/thread_pool.h"

namespace ivit {

std::optional<ProcessorTime> processor_time() {
    std::vector<int> threads = ThreadPool::worker_ids();
    threads.push_back(gettid());
    ProcessorTime all;
    for (const int id : threads) {
        // "77241258 75002 1": nanoseconds on a core, nanoseconds ready but waiting, time slices.
        std::ifstream books("/proc/self/task/" + std::to_string(id) + "/schedstat");
        double had = 0, waited = 0;
        if (!(books >> had >> waited)) {
            if (id == threads.back()) return {};
            continue;  // a worker of a pool that has just been let go
        }
        all += {had * 1e-6, waited * 1e-6};
    }
    // A kernel without these books has zeros there; we are running, so the truth is not zero.
    if (all.had_ms <= 0) return {};
    return all;
}

}  // namespace ivit
