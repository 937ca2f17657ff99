// SPDX-License-Identifier: Apache-2.0
// Whether the kernels' threads had the cores to themselves. Another program that takes the cores evenly makes
// every run longer by the same share, which no scatter of the runs shows; the scheduler's books show it.
#pragma once
#include <optional>

namespace ivit {

// Of threads, milliseconds: on a core, and ready to run while something else had it.
struct ProcessorTime {
    double had_ms = 0, waited_ms = 0;

    // Of the time they wanted a core, the share they had one, 0..1. 1 where they wanted none.
    double share() const { return had_ms + waited_ms > 0 ? had_ms / (had_ms + waited_ms) : 1; }
    ProcessorTime operator-(const ProcessorTime& earlier) const {
        return {had_ms - earlier.had_ms, waited_ms - earlier.waited_ms};
    }
    ProcessorTime& operator+=(const ProcessorTime& more) {
        had_ms += more.had_ms;
        waited_ms += more.waited_ms;
        return *this;
    }
};

// Below this share a measurement says that the processor was shared. On a quiet machine it is 0.99 or more.
constexpr double undisturbed_share = 0.95;

// Of the calling thread and every ThreadPool's workers since each began, from /proc/self/task/ID/schedstat
// (Linux, Documentation/scheduler/sched-stats.rst). Two such readings differ by what happened between them,
// to a few milliseconds: read outside of what is timed, it opens a file for every thread. Nothing where the
// kernel keeps no such books. What a hypervisor takes from a virtual machine is not in them.
std::optional<ProcessorTime> processor_time();

}  // namespace ivit
