// SPDX-License-Identifier: Apache-2.0
// The one set of kernel threads. Both the cpu and the float backend run on it, so that neither disturbs the
// other.
#pragma once
#include <functional>
#include <memory>
#include <vector>

namespace ivit {

class ThreadPool {
  public:
    // A pool of `threads` workers including the caller; <= 0: available_cores(). Pools of the same size are
    // shared. Throws Error where the system does not give so many threads.
    static std::shared_ptr<ThreadPool> get(int threads);

    int size() const { return size_; }
    // Whether there is a core for each thread, so that one may wait for another inside a job.
    bool spins() const;
    // Calls job(i) for i in [0, count), spread over the threads, and returns when all are done. Up to one job
    // a thread, job i runs on thread i unless that one is asleep: what it left in its caches serves it again.
    // All of up to one job a thread run at the same time, sooner or later. job must not throw. A second
    // thread that calls it waits for the first; a job must not call it.
    void run(int count, const std::function<void(int)>& job);

    // The kernel's numbers (gettid) of all workers of all pools there are now, callers not among them.
    static std::vector<int> worker_ids();

    // Inside a job: whether another of the pool's threads was last seen on this one's core, as happens when
    // another program takes the rest. Then waiting for it keeps it from running.
    bool shares_core() const;

    // Inside a job: which of the pool's threads it runs on, 0 (the caller of run) .. size() - 1. For scratch
    // memory.
    static int worker();

    ~ThreadPool();

  private:
    explicit ThreadPool(int threads);
    struct State;
    std::unique_ptr<State> state_;
    int size_;
};

}  // namespace ivit
