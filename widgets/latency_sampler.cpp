// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/latency_sampler.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "engine/bench.h"

double LatencySamples::quantile(std::vector<double> values, double q) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    std::sort(values.begin(), values.end());
    const double at = q * static_cast<double>(values.size() - 1);
    const size_t low = static_cast<size_t>(at);
    const size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

std::optional<double> LatencySamples::processor_share() const {
    if (processor.empty()) return {};
    ivit::ProcessorTime all;
    for (const ivit::ProcessorTime& t : processor) all += t;
    return all.share();
}

bool LatencySamples::unsettled() const {
    return ivit::scatters(ivit::latency(integer_ms)) || ivit::scatters(ivit::latency(float_ms)) ||
           processor_share().value_or(1) < ivit::undisturbed_share;
}

QString LatencySamples::disturbance() const {
    return QString::fromStdString(ivit::disturbance(unsettled(), processor_share()));
}

double LatencySamples::ratio() const {
    const double integers = typical(integer_ms);
    return integers > 0 ? typical(float_ms) / integers : std::numeric_limits<double>::quiet_NaN();
}

// Lives on the worker; only the flags are shared.
struct LatencySampler::Job {
    std::atomic<bool> cancelled{false}, keep_running{false};
    std::shared_ptr<const ivit::Result> result;
    int batch = 1;

    ivit::Networks networks;
    ivit::Pixels pixels;
    LatencySamples samples;
    std::vector<std::vector<double>> integer_nodes, float_nodes;  // [node][run]
    int warm_up = 5;
    // How often half of the runs are taken anew, should they scatter; and until when: a large network would
    // keep all cores busy for a minute.
    int repeats = 6;
    static constexpr std::chrono::seconds longest{10};
    const std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point told = begun;  // when samples were last posted

    void prepare(ivit::Session& session) {
        const ivit::Request& request = *result->request;
        networks = session.networks(request, result->comparison.model);
        samples.gpu_absent = networks.gpu_absent;
        samples.backend = networks.backend->info();
        samples.batch = batch;
        samples.config = result->comparison.model->config.label();
        samples.float_is_absent = !networks.floats;
        for (int i = 0; i < batch; ++i)
            pixels.insert(pixels.end(), request.pixels.begin(), request.pixels.end());
    }

    // A fused step's time is split evenly over the nodes it covers.
    static void add(std::vector<std::vector<double>>& nodes, const ivit::Trace& t) {
        std::vector<double> ms(t.graph->nodes.size(), 0.0);
        for (const ivit::Timing& timing : t.timings) {
            const int first = std::max(0, timing.first),
                      last = std::min(timing.last, static_cast<int>(ms.size()) - 1);
            for (int i = first; i <= last; ++i) ms[static_cast<size_t>(i)] += timing.ms / (last - first + 1);
        }
        if (t.timings.empty()) return;
        nodes.resize(ms.size());
        for (size_t i = 0; i < ms.size(); ++i) nodes[i].push_back(ms[i]);
    }

    // The oldest n runs.
    void forget(size_t n) {
        const auto drop = [n](auto& list) {
            list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(std::min(n, list.size())));
        };
        drop(samples.integer_ms);
        drop(samples.float_ms);
        drop(samples.processor);
    }

    // A few pairs of runs, so that others get their turn.
    void turn(std::stop_token stop) {
        const auto before = ivit::processor_time();
        int taken = 0;
        try {
            for (int i = 0; i < 4 && !stop.stop_requested() && !cancelled; ++i) taken += sample(stop);
        } catch (const ivit::Cancelled&) {  // a change comes first; the next turn goes on from here
        }
        const auto after = ivit::processor_time();
        if (before && after && taken > 0) {
            const ivit::ProcessorTime all = *after - *before;
            samples.processor.insert(samples.processor.end(), static_cast<size_t>(taken),
                                     {all.had_ms / taken, all.waited_ms / taken});
        }
        constexpr size_t window = 1000;
        if (samples.integer_ms.size() > window) forget(samples.integer_ms.size() - window);
    }

    static std::vector<double> medians(const std::vector<std::vector<double>>& nodes) {
        std::vector<double> m;
        for (const auto& runs : nodes) m.push_back(LatencySamples::quantile(runs, 0.5));
        return m;
    }

    // One pair of runs. The whole is timed without, every fourth run the nodes with their clocks. False while
    // it warms up.
    bool sample(std::stop_token stop) {
        ivit::RunOptions options;
        options.stop = stop;
        const size_t n = samples.integer_ms.size();
        ivit::IntegerNetwork& integers = *networks.integers;
        ivit::Network* floats = networks.floats.get();
        const auto a = integers.run(pixels, batch, options);
        const auto b = floats ? floats->run(pixels, batch, options) : nullptr;
        if (warm_up > 0) {
            --warm_up;
            return false;
        }
        if (n % 4 == 0) {
            options.time_nodes = true;
            add(integer_nodes, *integers.run(pixels, batch, options));
            if (floats) add(float_nodes, *floats->run(pixels, batch, options));
            samples.integer_node_ms = medians(integer_nodes);
            samples.float_node_ms = medians(float_nodes);
        }
        samples.backend = networks.backend->info();  // a GPU may have been lost on the way
        if (samples.gpu_absent.empty()) samples.gpu_absent = samples.backend.gpu_lost;
        samples.integer_ms.push_back(a->ms);
        if (b) samples.float_ms.push_back(b->ms);
        return true;
    }
};

LatencySampler::LatencySampler(ivit::Session& session, QObject* parent) : QObject(parent), session_(session) {
    again_.setSingleShot(true);
    again_.setInterval(10000);
    connect(&again_, &QTimer::timeout, this, &LatencySampler::begin);
}

LatencySampler::~LatencySampler() { stop(); }

void LatencySampler::stop() {
    if (job_) job_->cancelled = true;
    job_.reset();
    again_.stop();
    busy_ = false;
}

void LatencySampler::set_mode(bool keep_running, int batch) {
    const bool restart = batch != batch_ || (keep_running && !busy_);
    keep_running_ = keep_running;
    batch_ = batch;
    if (job_) job_->keep_running = keep_running;
    if (restart && result_) start(result_);
}

void LatencySampler::start(std::shared_ptr<const ivit::Result> result) {
    stop();
    result_ = std::move(result);
    samples_ = {};
    tries_ = 6;
    begin();
}

void LatencySampler::begin() {
    if (!result_ || result_->error || !result_->comparison.model) return;
    job_ = std::make_shared<Job>();
    job_->result = result_;
    job_->batch = batch_;
    job_->keep_running = keep_running_;
    busy_ = true;
    session_.submit_idle([this, job = job_](std::stop_token stop) {
        bool done = false;
        try {
            if (job->cancelled) return true;
            if (!job->networks.backend) job->prepare(session_);
            job->turn(stop);
            done = !job->keep_running && job->samples.integer_ms.size() >= first_runs;
            const bool in_time = std::chrono::steady_clock::now() - job->begun < Job::longest;
            if (done && job->samples.unsettled() && in_time && job->repeats-- > 0) {
                job->forget(first_runs / 2);  // what came with the opening: thumbnails, first painting
                done = false;
            }
        } catch (const ivit::Cancelled&) {
        } catch (const ivit::Error& e) {
            job->samples.error = e.sentence();
            done = true;
        }
        // Painting takes a core from the next runs: what is shown is renewed twice a second, not after every
        // turn.
        const auto now = std::chrono::steady_clock::now();
        if (!done && now - job->told < std::chrono::milliseconds(500)) return job->cancelled.load();
        job->told = now;
        QMetaObject::invokeMethod(
            this,
            [this, job, samples = job->samples, done] {
                if (job != job_) return;
                samples_ = samples;
                if (done) busy_ = false;
                // What else ran may have ended in a while; "disturbed" need not be the last word.
                if (done && samples.unsettled() && --tries_ > 0) again_.start();
                emit changed();
            },
            Qt::QueuedConnection);
        return done || job->cancelled.load();
    });
}
