// SPDX-License-Identifier: Apache-2.0
// The one worker: newest first, nothing stale delivered, nothing left running. Run it under TSan too.
#include "engine/session.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

using namespace ivit;
using namespace std::chrono_literals;

namespace {

// What the worker delivered, in order; wait() gives up after a minute.
struct Inbox {
    std::mutex mutex;
    std::condition_variable arrived;
    std::vector<std::shared_ptr<const Result>> results;

    Session::Callback callback() {
        return [this](std::shared_ptr<const Result> r) {
            std::lock_guard lock(mutex);
            results.push_back(std::move(r));
            arrived.notify_all();
        };
    }
    // The final word on request `id`: complete, or an error.
    std::shared_ptr<const Result> wait(uint64_t id) {
        std::unique_lock lock(mutex);
        std::shared_ptr<const Result> found;
        arrived.wait_for(lock, 60s, [&] {
            for (const auto& r : results) {
                if (r->id == id && (r->complete || r->error)) found = r;
            }
            return found != nullptr;
        });
        return found;
    }
};

std::shared_ptr<const Model> model() {
    static const auto m = random_model("deit_tiny_patch16_64", 3);
    return m;
}

Request request(int weight_bits = 8, unsigned picture = 1) {
    Request r;
    r.model = model();
    r.config.weight_bits = weight_bits;
    r.backend = "reference";
    r.threads = 1;
    r.picture = "noise";
    r.pixels.resize(static_cast<size_t>(r.model->graph->image_size * r.model->graph->image_size * 3));
    std::mt19937 random(picture);
    for (uint8_t& p : r.pixels) p = static_cast<uint8_t>(random());
    return r;
}

}  // namespace

TEST_CASE("session: cumulative errors come first, isolated ones after", "[session][threads]") {
    Inbox inbox;
    Session session(inbox.callback());
    const uint64_t id = session.submit(request());
    const auto last = inbox.wait(id);
    REQUIRE(last);
    INFO((last->error ? last->error->what() : ""));
    REQUIRE_FALSE(last->error);
    REQUIRE(inbox.results.size() == 2);
    const auto& first = inbox.results.front();
    const size_t nodes = model()->graph->nodes.size();
    CHECK_FALSE(first->complete);
    CHECK(first->comparison.isolated.empty());
    CHECK(first->comparison.cumulative.size() == nodes);
    CHECK(last->comparison.isolated.size() == nodes);
    CHECK(last->backend.name == "reference");
    CHECK(last->request->picture == "noise");
    // One run of the integers serves both: a second trace of a large model is 180 MB.
    CHECK(first->comparison.integer_trace == last->comparison.integer_trace);
    CHECK(last->comparison.model->calibration.from_input);
}

TEST_CASE("session: the float trace and unchanged nodes are kept between requests", "[session][threads]") {
    Inbox inbox;
    Session session(inbox.callback());
    Request r = request();
    auto calibration = std::make_shared<Calibration>(calibrate(
        *r.model, 1, [&](int64_t) { return r.pixels; }, RangeMethod::minmax, 1));
    r.calibration = calibration;
    const auto a = inbox.wait(session.submit(r));
    QuantRule rule;
    rule.glob = "head";
    rule.bits.weight = 5;
    r.config.rules.push_back(rule);
    const auto b = inbox.wait(session.submit(r));
    REQUIRE((a && b));
    REQUIRE_FALSE(a->error);
    REQUIRE_FALSE(b->error);
    CHECK(a->comparison.float_trace == b->comparison.float_trace);
    const int qkv = model()->graph->find("blocks.0.attn.qkv"), head = model()->graph->find("head");
    REQUIRE((qkv >= 0 && head >= 0));
    CHECK(a->comparison.model->nodes[size_t(qkv)] == b->comparison.model->nodes[size_t(qkv)]);
    CHECK(a->comparison.model->nodes[size_t(head)] != b->comparison.model->nodes[size_t(head)]);
}

TEST_CASE("session: of 1000 rapid requests only the last is answered in full", "[session][threads]") {
    Inbox inbox;
    Session session(inbox.callback());
    uint64_t last = 0;
    const Request r8 = request(8), r4 = request(4);
    for (int i = 0; i < 1000; ++i) last = session.submit(i % 2 ? r4 : r8);
    const auto result = inbox.wait(last);
    REQUIRE(result);
    CHECK(result->request->config.weight_bits == 4);
    std::lock_guard lock(inbox.mutex);
    uint64_t previous = 0;
    size_t complete = 0;
    for (const auto& r : inbox.results) {
        CHECK(r->id >= previous);
        previous = r->id;
        complete += r->complete;
    }
    CHECK(previous == last);
    CHECK(complete == 1);
}

TEST_CASE("session: an error is a result, and the next request works", "[session][threads]") {
    Inbox inbox;
    Session session(inbox.callback());
    Request wrong = request();
    wrong.backend = "abacus";
    const auto a = inbox.wait(session.submit(wrong));
    REQUIRE(a);
    REQUIRE(a->error);
    CHECK(a->comparison.integer_trace == nullptr);
    Request small = request();
    small.pixels.resize(12);
    const auto b = inbox.wait(session.submit(small));
    REQUIRE(b);
    CHECK(b->error);
    const auto c = inbox.wait(session.submit(Request{}));
    REQUIRE(c);
    CHECK(c->error);
    const auto d = inbox.wait(session.submit(request()));
    REQUIRE(d);
    CHECK_FALSE(d->error);
}

TEST_CASE("session: idle jobs wait, stop for a request and come back", "[session][threads]") {
    Inbox inbox;
    std::atomic<int> calls{0}, stopped{0};
    std::atomic<bool> finish{false};
    Session session(inbox.callback());
    session.submit_idle([&](std::stop_token stop) {
        ++calls;
        while (!stop.stop_requested() && !finish) std::this_thread::sleep_for(1ms);
        if (finish) return true;
        ++stopped;
        return false;
    });
    while (calls == 0) std::this_thread::sleep_for(1ms);
    REQUIRE(inbox.wait(session.submit(request())));
    for (int i = 0; i < 10000 && calls < 2; ++i) std::this_thread::sleep_for(1ms);
    CHECK(stopped == 1);
    CHECK(calls == 2);
    finish = true;
    std::atomic<bool> other{false};
    session.submit_idle([&](std::stop_token) {
        other = true;
        return true;
    });
    for (int i = 0; i < 10000 && !other; ++i) std::this_thread::sleep_for(1ms);
    CHECK(other);
    CHECK(calls == 2);
}

TEST_CASE("session: jobs run the networks that are loaded, and have others made", "[session][threads]") {
    Inbox inbox;
    Session session(inbox.callback());
    const auto result = inbox.wait(session.submit(request()));
    REQUIRE(result);
    REQUIRE_FALSE(result->error);
    Request other = request();
    other.threads = 2;
    std::atomic<bool> done{false};
    std::vector<Networks> n;
    session.submit_idle([&](std::stop_token) {
        for (const Request& r : {*result->request, *result->request, other})
            n.push_back(session.networks(r, result->comparison.model));
        n.push_back(session.networks(*result->request, nullptr));
        done = true;
        return true;
    });
    for (int i = 0; i < 10000 && !done; ++i) std::this_thread::sleep_for(1ms);
    REQUIRE(n.size() == 4);
    CHECK(n[0].floats == n[1].floats);
    CHECK(n[0].integers == n[1].integers);
    CHECK(n[0].backend == n[1].backend);
    CHECK(n[2].floats != n[0].floats);
    CHECK(n[2].integers != n[0].integers);
    CHECK(n[3].floats == n[0].floats);
    CHECK_FALSE(n[3].integers);
    CHECK(n[2].integers->run(other.pixels, 1, {})->integer_logits ==
          result->comparison.integer_trace->integer_logits);
}

TEST_CASE("session: cancel_idle ends the running job and drops the others", "[session][threads]") {
    std::atomic<int> running{0}, others{0};
    Session session([](std::shared_ptr<const Result>) {});
    session.submit_idle([&](std::stop_token stop) {
        ++running;
        while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
        return false;
    });
    for (int i = 0; i < 5; ++i) {
        session.submit_idle([&](std::stop_token) {
            ++others;
            return true;
        });
    }
    while (running == 0) std::this_thread::sleep_for(1ms);
    session.cancel_idle();
    std::atomic<bool> after{false};
    session.submit_idle([&](std::stop_token) {
        after = true;
        return true;
    });
    for (int i = 0; i < 10000 && !after; ++i) std::this_thread::sleep_for(1ms);
    CHECK(after);
    CHECK(running == 1);
    CHECK(others == 0);
}

TEST_CASE("session: a job that throws does not take the worker with it", "[session][threads]") {
    std::atomic<bool> after{false};
    Session session([](std::shared_ptr<const Result>) {});
    session.submit_idle([](std::stop_token) -> bool { throw std::runtime_error("a test's own failure"); });
    session.submit_idle([&](std::stop_token) {
        after = true;
        return true;
    });
    for (int i = 0; i < 10000 && !after; ++i) std::this_thread::sleep_for(1ms);
    CHECK(after);
}

TEST_CASE("session: closing while something runs returns at once", "[session][threads]") {
    const auto begin = std::chrono::steady_clock::now();
    for (int round = 0; round < 5; ++round) {
        Inbox inbox;
        Session session(inbox.callback());
        session.submit_idle([](std::stop_token stop) {
            while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
            return false;
        });
        session.submit(request(8, static_cast<unsigned>(round)));
        std::this_thread::sleep_for(std::chrono::milliseconds(round * 7));
    }
    // The waits above are 70 ms; a job that is not asked to stop would never end.
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}
