// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "engine/cpu_info.h"

using ivit::ThreadPool;

TEST_CASE("every job of a run is done once, and before run returns", "[thread_pool]") {
    for (const int threads : {1, 2, 3, 7}) {
        const auto pool = ThreadPool::get(threads);
        REQUIRE(pool->size() == threads);
        std::vector<int> done(100, 0);
        int expected[100] = {};
        for (int round = 0; round < 400; ++round) {
            const int count = round * 7 % 101;
            // Plain ints: a job done twice at once, or after run returned, is a race that TSan reports.
            pool->run(count, [&](int i) { ++done[static_cast<size_t>(i)]; });
            for (int i = 0; i < count; ++i) ++expected[i];
            // Long enough for the workers to fall asleep now and then.
            if (round % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        for (int i = 0; i < 100; ++i) CHECK(done[static_cast<size_t>(i)] == expected[i]);
    }
}

TEST_CASE("worker() tells jobs at work at the same time apart", "[thread_pool]") {
    const auto pool = ThreadPool::get(4);
    std::vector<std::atomic<int>> busy(4);
    std::atomic<bool> clash{false}, outside{false};
    for (int round = 0; round < 200; ++round)
        pool->run(16, [&](int) {
            const int w = ThreadPool::worker();
            if (w < 0 || w >= 4) {
                outside = true;
                return;
            }
            if (busy[static_cast<size_t>(w)].fetch_add(1) != 0) clash = true;
            std::this_thread::yield();
            busy[static_cast<size_t>(w)].fetch_sub(1);
        });
    CHECK_FALSE(clash);
    CHECK_FALSE(outside);
    CHECK(ThreadPool::worker() == 0);
}

TEST_CASE("shares_core() says whether two threads of a pool have one core", "[thread_pool]") {
    cpu_set_t allowed;
    REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    if (CPU_COUNT(&allowed) < 2) return;
    std::vector<int> cores;
    for (int c = 0; c < CPU_SETSIZE && cores.size() < 2; ++c)
        if (CPU_ISSET(c, &allowed)) cores.push_back(c);
    // Up to one job a thread, and both threads awake: each waits for the other. The caller gets its cores
    // back below, the pool ends with the round.
    for (const int of_worker : {0, 1}) {
        const auto pool = ThreadPool::get(2);
        std::atomic<int> arrived{0}, looked{0};
        std::atomic<bool> shares[2];
        pool->run(2, [&](int i) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cores[static_cast<size_t>(ThreadPool::worker() == 0 ? 0 : of_worker)], &one);
            sched_setaffinity(0, sizeof one, &one);
            pool->shares_core();
            for (++arrived; arrived < 2;) std::this_thread::yield();
            shares[i] = pool->shares_core();
            for (++looked; looked < 2;) std::this_thread::yield();
        });
        sched_setaffinity(0, sizeof allowed, &allowed);
        CHECK(shares[0] == (of_worker == 0));
        CHECK(shares[1] == (of_worker == 0));
    }
}

TEST_CASE("two threads may share a pool", "[thread_pool]") {
    const auto pool = ThreadPool::get(2);
    std::vector<int> a(50, 0), b(50, 0);
    std::thread other([&] {
        for (int round = 0; round < 200; ++round) pool->run(50, [&](int i) { ++a[static_cast<size_t>(i)]; });
    });
    for (int round = 0; round < 200; ++round) pool->run(50, [&](int i) { ++b[static_cast<size_t>(i)]; });
    other.join();
    CHECK(a == std::vector<int>(50, 200));
    CHECK(b == a);
}

TEST_CASE("pools of one size are one pool, and the default takes the cores there are", "[thread_pool]") {
    const auto pool = ThreadPool::get(3);
    CHECK(ThreadPool::get(3) == pool);
    CHECK(ThreadPool::get(2) != pool);
    CHECK(ThreadPool::get(0)->size() == ivit::available_cores());
    CHECK(ThreadPool::get(-1)->size() == ivit::available_cores());
}

TEST_CASE("a worker does jobs beside the caller", "[thread_pool]") {
    const auto pool = ThreadPool::get(2);
    std::atomic<int> here{0};
    std::atomic<bool> both{false};
    // Two jobs that each wait for the other to have begun: they end only when two threads run them.
    pool->run(2, [&](int) {
        ++here;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (here < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
        if (here == 2) both = true;
    });
    CHECK(both);
}
