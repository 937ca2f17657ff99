// SPDX-License-Identifier: GPL-3.0-or-later
// A small network with random weights, run for real: what the models and views are tested on.
#pragma once
#include <QElapsedTimer>
#include <QTest>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <random>

#include "engine/session.h"
#include "widgets/results.h"

namespace fixture {

inline std::shared_ptr<const ivit::Model> model() {
    static const auto m = ivit::random_model("deit_tiny_patch16_64", 7);
    return m;
}

inline ivit::Pixels noise(const ivit::Graph& g, unsigned seed) {
    ivit::Pixels p(static_cast<size_t>(g.image_size) * static_cast<size_t>(g.image_size) * 3);
    std::mt19937 random(seed);
    for (uint8_t& b : p) b = static_cast<uint8_t>(random());
    return p;
}

// The complete result of `config` on a picture of noise.
inline std::shared_ptr<const ivit::Result> run(const std::string& widths) {
    std::mutex mutex;
    std::condition_variable arrived;
    std::shared_ptr<const ivit::Result> last;
    ivit::Session session([&](std::shared_ptr<const ivit::Result> r) {
        std::lock_guard lock(mutex);
        if (r->complete || r->error) last = std::move(r);
        arrived.notify_all();
    });
    ivit::Request request;
    request.model = model();
    request.config = ivit::QuantConfig::from_spec(widths);
    request.pixels = noise(*request.model->graph, 1);
    request.picture = "noise";
    session.submit(std::move(request));
    std::unique_lock lock(mutex);
    arrived.wait_for(lock, std::chrono::seconds(120), [&] { return last != nullptr; });
    return last;
}

inline const Shown& shown() {
    static const Shown s = [] {
        Shown x;
        x.current = run("W4A8");
        x.ghost = run("W8A8");
        return x;
    }();
    return s;
}

// Lets the event loop turn until `what` holds.
inline bool wait_until(const std::function<bool()>& what, int ms = 120000) {
    QElapsedTimer clock;
    clock.start();
    while (!what()) {
        if (clock.elapsed() > ms) return false;
        QTest::qWait(10);
    }
    return true;
}

}  // namespace fixture
