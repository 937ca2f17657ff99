// SPDX-License-Identifier: Apache-2.0
// Up to one job a thread: each has a flag of its own, which its thread takes down. So a thread gets the same
// part of every step of a network, and finds in its caches what it left there. Whoever is done early takes
// what a sleeper has left. More jobs than threads are handed out through one atomic word, `ticket`: (jobs of
// this run << 32) | next job. Whoever moves it on by one owns that job. Either way a worker that wakes up
// late finds nothing left and sleeps again: the caller never waits for it.
#include "engine/thread_pool.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/cpu_info.h"
#include "engine/error.h"

namespace ivit {
namespace {

// Longer than the pauses between the steps of a network, shorter than anything a person or another process
// notices.
constexpr std::chrono::microseconds spin_time{60};

thread_local int worker_index = 0;

// Numbers of the workers that live, under one lock that no run touches.
struct Living {
    std::mutex mutex;
    std::set<int> ids;
};
Living& living() {
    static Living& all = *new Living;  // never destroyed: a pool may outlive whatever else is static
    return all;
}

}  // namespace

struct ThreadPool::State {
    std::mutex run_mutex;  // one run() at a time
    const std::function<void(int)>* job = nullptr;
    struct alignas(64) Flag {
        std::atomic<uint32_t> up{0};
        std::atomic<int> core{-1};  // where the thread ran when it last looked
    };
    std::vector<Flag> flags;  // by thread
    alignas(64) std::atomic<uint64_t> ticket{0};
    alignas(64) std::atomic<uint32_t> done{0};
    alignas(64) std::atomic<int> sleepers{0};
    std::atomic<bool> stop{false};
    std::mutex sleep_mutex;
    std::condition_variable wake;
    bool spin = true;
    std::vector<std::thread> threads;

    explicit State(int size) : flags(static_cast<size_t>(size)) {}
    ~State() {
        {
            std::lock_guard lock(sleep_mutex);
            stop = true;
        }
        wake.notify_all();
        for (std::thread& t : threads) t.join();
    }

    bool has_work(int index) const {
        const uint64_t t = ticket.load();
        return flags[static_cast<size_t>(index)].up.load() ||
               static_cast<uint32_t>(t) < static_cast<uint32_t>(t >> 32);
    }

    // Says where thread `index`, which calls, runs, and whether another one does.
    bool shares_core(int index) {
        const int core = sched_getcpu();
        if (core < 0) return false;
        flags[static_cast<size_t>(index)].core.store(core, std::memory_order_relaxed);
        for (size_t i = 0; i < flags.size(); ++i)
            if (static_cast<int>(i) != index && flags[i].core.load(std::memory_order_relaxed) == core)
                return true;
        return false;
    }

    // Takes and does jobs until none is left.
    void work(int index) {
        shares_core(index);
        // Its own first. A flag taken down is a job of a run that cannot end before we are done: only now is
        // `job` safe to read.
        const auto size = static_cast<int>(flags.size());
        for (int i = 0; i < size; ++i) {
            const int j = (index + i) % size;
            if (!flags[static_cast<size_t>(j)].up.load() || !flags[static_cast<size_t>(j)].up.exchange(0))
                continue;
            (*job)(j);
            done.fetch_add(1);
        }
        uint64_t t = ticket.load();
        while (static_cast<uint32_t>(t) < static_cast<uint32_t>(t >> 32)) {
            if (!ticket.compare_exchange_weak(t, t + 1)) continue;
            (*job)(static_cast<int>(static_cast<uint32_t>(t)));
            done.fetch_add(1);
            t = ticket.load();
        }
    }

    // Less long where the thread that will make it ready has no other core.
    template <typename Ready>
    bool spin_until(int index, Ready ready) {
        if (!spin) return ready();
        const auto end = std::chrono::steady_clock::now() + spin_time;
        do {
            for (int i = 0; i < 64; ++i) {
                if (ready()) return true;
                __builtin_ia32_pause();
            }
        } while (!shares_core(index) && std::chrono::steady_clock::now() < end);
        return false;
    }

    void worker(int index) {
        worker_index = index;
        const int id = gettid();
        {
            std::lock_guard lock(living().mutex);
            living().ids.insert(id);
        }
        while (!stop.load()) {
            if (!spin_until(index, [&] { return has_work(index) || stop.load(); })) {
                std::unique_lock lock(sleep_mutex);
                sleepers.fetch_add(1);  // before the last look at the ticket: run() looks the other way round
                wake.wait(lock, [&] { return has_work(index) || stop.load(); });
                sleepers.fetch_sub(1);
            }
            work(index);
        }
        std::lock_guard lock(living().mutex);
        living().ids.erase(id);
    }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>(threads)), size_(threads) {
    cpu_set_t allowed;
    const bool known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    // A core each only when the pool takes them all: two smaller pools, or processes, would be pinned onto
    // one core.
    const bool pin = known && threads == CPU_COUNT(&allowed) && threads == available_cores();
    state_->spin = threads <= available_cores();
    int cpu = -1;
    for (int i = 0; i < threads; ++i) {
        if (pin) do
                ++cpu;
            while (!CPU_ISSET(cpu, &allowed));
        if (i == 0) continue;  // the caller, whose affinity is not ours to change
        try {
            state_->threads.emplace_back([state = state_.get(), i] { state->worker(i); });
        } catch (const std::system_error& e) {
            throw Error(
                fmt::format("only {} of {} threads could be started: {}", i, threads, e.code().message()), {},
                "take fewer threads");
        }
        if (pin) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(state_->threads.back().native_handle(), sizeof one, &one);
        }
    }
}

ThreadPool::~ThreadPool() = default;

std::shared_ptr<ThreadPool> ThreadPool::get(int threads) {
    static std::mutex mutex;
    static std::map<int, std::weak_ptr<ThreadPool>> pools;
    if (threads <= 0) threads = available_cores();
    std::lock_guard lock(mutex);
    std::shared_ptr<ThreadPool> pool = pools[threads].lock();
    if (!pool) pools[threads] = pool = std::shared_ptr<ThreadPool>(new ThreadPool(threads));
    return pool;
}

std::vector<int> ThreadPool::worker_ids() {
    std::lock_guard lock(living().mutex);
    return {living().ids.begin(), living().ids.end()};
}

bool ThreadPool::spins() const { return state_->spin; }

bool ThreadPool::shares_core() const { return state_->shares_core(worker_index); }

int ThreadPool::worker() { return worker_index; }

void ThreadPool::run(int count, const std::function<void(int)>& job) {
    if (count <= 0) return;
    State& s = *state_;
    std::lock_guard run_lock(s.run_mutex);
    if (count == 1 || size_ == 1) {
        for (int i = 0; i < count; ++i) job(i);
        return;
    }
    s.job = &job;
    s.done = 0;
    if (count <= size_)
        for (int i = 0; i < count; ++i) s.flags[static_cast<size_t>(i)].up = 1;
    else
        s.ticket = static_cast<uint64_t>(count) << 32;
    if (s.sleepers.load() > 0) {
        std::lock_guard lock(s.sleep_mutex);  // a worker between its look and its sleep holds it
        s.wake.notify_all();
    }
    s.work(0);
    const auto all_done = [&] { return s.done.load() == static_cast<uint32_t>(count); };
    while (!s.spin_until(0, all_done)) std::this_thread::yield();
}

}  // namespace ivit
