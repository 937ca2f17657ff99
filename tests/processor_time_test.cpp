// SPDX-License-Identifier: Apache-2.0
// Whether a measurement notices that the cores were held by something else.
#include "engine/processor_time.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/bench.h"
#include "engine/cpu_info.h"
#include "engine/thread_pool.h"
#include "tests/small_model.h"

using namespace ivit;

namespace {

// Keeps as many threads busy as there are cores, on all of them alike.
class Load {
  public:
    Load() {
        for (int i = 0; i < available_cores(); ++i)
            threads_.emplace_back([this] {
                while (!stop_) {
                }
            });
    }
    ~Load() {
        stop_ = true;
        for (std::thread& t : threads_) t.join();
    }

  private:
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

// Of the pool's threads, which all work for `ms` milliseconds.
ProcessorTime work(ThreadPool& pool, double ms) {
    const auto before = processor_time();
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double, std::milli>(ms);
    while (std::chrono::steady_clock::now() < end)
        pool.run(pool.size(), [&](int) {
            const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(500);
            while (std::chrono::steady_clock::now() < until) {
            }
        });
    return *processor_time() - *before;
}

// Hundredths of a second that anything on this machine has computed, over all cores.
double busy_everywhere() {
    std::ifstream stat("/proc/stat");
    std::string cpu;
    double user = 0, nice = 0, system = 0;
    stat >> cpu >> user >> nice >> system;
    return user + nice + system;
}

}  // namespace

TEST_CASE("processor time: a program that holds the cores evenly is seen, a quiet machine is not blamed",
          "[processor]") {
    if (!processor_time()) {
        WARN("this kernel keeps no books of its threads: skipped");
        return;
    }
    const auto pool = ThreadPool::get(available_cores());
    pool->run(pool->size(), [](int) {});
    {
        const Load load;
        CHECK(work(*pool, 400).share() < 0.8);
    }
    // Others may really hold the cores just now: wait for them, then only judge what they did not touch.
    constexpr double window_ms = 500;
    double best = 0, others = 1;
    for (int i = 0; i < 20 && best < undisturbed_share && others > 0.04; ++i) {
        const double before = busy_everywhere();
        const ProcessorTime mine = work(*pool, window_ms);
        best = std::max(best, mine.share());
        others = (10 * (busy_everywhere() - before) - mine.had_ms) / (window_ms * available_cores());
    }
    if (best < undisturbed_share && others > 0.04)
        WARN("other programs held the cores all along: the quiet half was not judged");
    else
        CHECK(best >= undisturbed_share);
}

TEST_CASE("processor time: threads that want no core are not waiting for one", "[processor]") {
    if (!processor_time()) return;
    const auto before = processor_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const ProcessorTime slept = *processor_time() - *before;
    CHECK(slept.had_ms < 50);
    CHECK(slept.waited_ms < 50);
    CHECK(ProcessorTime{}.share() == 1);
    CHECK(ProcessorTime{30, 10}.share() == 0.75);
}

TEST_CASE("a pool's workers are known while it lives", "[processor]") {
    const size_t before = ThreadPool::worker_ids().size();
    {
        const auto pool = ThreadPool::get(5);
        std::atomic<int> begun{0};
        pool->run(5, [&](int) {  // all at once: so all have begun
            ++begun;
            while (begun < 5) std::this_thread::yield();
        });
        CHECK(ThreadPool::worker_ids().size() == before + 4);
    }
    CHECK(ThreadPool::worker_ids().size() == before);
}

TEST_CASE("a benchmark tells the share its threads had, and says so when they had to share", "[processor]") {
    if (!processor_time()) return;
    const auto model = test::small_model(1, {64, 8, 96, 3, 384, 4, 7, 1e-6f});
    const auto backend = make_backend("cpu", 0);
    const auto ranges = calibrate(
        *model, 1, [](int64_t) { return test::picture(64, 1); }, RangeMethod::minmax, 1);
    const auto integers = backend->load(quantize(model, ranges, QuantConfig{}));
    BenchOptions options;
    options.runs = 2000;
    const Load load;
    const BenchResult r = bench(nullptr, *integers, test::picture(64, 1), options);
    REQUIRE(r.processor_share);
    CHECK(*r.processor_share < 0.9);
    CHECK(disturbed(r));
}

TEST_CASE("what disturbed a measurement, in words", "[processor]") {
    CHECK(disturbance(false, {}).empty());
    CHECK(disturbance(false, 0.99).empty());
    CHECK(disturbance(true, 0.99) == "the runs scatter, another program took the cores now and then");
    CHECK(disturbance(true, 0.523) ==
          "the processor was shared, the threads had 52 % of the time they wanted");
    BenchResult even;
    even.integers = {1, 1, 1, 10};
    even.floats = {4, 4, 4, 10};
    CHECK_FALSE(disturbed(even));
    even.processor_share = 0.5;  // every run as long as the next, and yet
    CHECK(disturbed(even));
}
