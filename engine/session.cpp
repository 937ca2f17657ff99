// SPDX-License-Identifier: Apache-2.0
#include "engine/session.h"

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace ivit {

namespace {

int64_t bytes_of(const Trace& t) {
    int64_t n = 0;
    for (const Tap& tap : t.taps)
        n += 4 * static_cast<int64_t>(tap.floats.data.size() + tap.integers.data.size());
    return n;
}

// Float traces of the pictures seen last, so that going back to one, or turning a bit-width, costs no float
// run.
class TraceCache {
  public:
    std::shared_ptr<const Trace> find(const std::shared_ptr<const Model>& model, const Pixels& pixels) {
        for (auto it = entries_.begin(); it != entries_.end(); ++it) {
            if (it->model != model || it->pixels != pixels) continue;
            Entry entry = std::move(*it);
            entries_.erase(it);
            entries_.push_front(std::move(entry));
            return entries_.front().trace;
        }
        return nullptr;
    }
    void add(std::shared_ptr<const Model> model, Pixels pixels, std::shared_ptr<const Trace> trace) {
        entries_.push_front({std::move(model), std::move(pixels), std::move(trace)});
        int64_t bytes = 0;
        size_t keep = 0;
        for (const Entry& e : entries_) {
            bytes += bytes_of(*e.trace);
            if (keep > 0 && (bytes > limit || keep >= 16)) break;
            ++keep;
        }
        entries_.resize(keep);
    }

  private:
    static constexpr int64_t limit = 256 << 20;
    struct Entry {
        std::shared_ptr<const Model> model;
        Pixels pixels;
        std::shared_ptr<const Trace> trace;
    };
    std::deque<Entry> entries_;  // newest first
};

// Everything a person looks into, and a clock at every node.
RunOptions all_taps(const Graph& graph, std::stop_token stop) {
    RunOptions options;
    options.taps.assign(graph.nodes.size(), true);
    options.time_nodes = true;
    options.stop = std::move(stop);
    return options;
}

}  // namespace

struct Session::State {
    explicit State(Callback c) : callback(std::move(c)), worker([this] { loop(); }) {}
    ~State() {
        {
            std::lock_guard lock(mutex);
            quit = true;
            idle.clear();
            waiting.reset();
            running.request_stop();
        }
        wake.notify_all();
        worker.join();
    }

    void loop();
    void answer(uint64_t id, const std::shared_ptr<const Request>& request, std::stop_token stop);
    bool has_backend(const Request& request) const {
        return backend && backend_name == request.backend && backend_threads == request.threads;
    }
    bool has_floats(const Request& request) const {
        return float_network && float_model == request.model && float_threads == request.threads;
    }
    void use_backend(const Request& request);
    std::shared_ptr<const Trace> float_trace_of(const Request& request, std::stop_token stop);
    std::shared_ptr<const Calibration> calibration_of(const Request& request, std::stop_token stop);
    std::shared_ptr<const QuantizedModel> quantized_of(const Request& request, std::stop_token stop);
    void compute(Result& result, const Request& request, std::stop_token stop);
    void deliver(const Result& result, const std::stop_token& stop);

    // Shared, under `mutex`.
    std::mutex mutex;
    std::condition_variable wake;
    bool quit = false;
    uint64_t last_id = 0;
    std::shared_ptr<const Request> waiting;
    std::deque<std::function<bool(std::stop_token)>> idle;
    uint64_t idle_generation = 0;  // counts cancel_idle(): a job that was running then does not come back
    bool idle_running = false;
    std::stop_source running;

    // The worker's own.
    Callback callback;
    std::string backend_name, gpu_absent;
    int backend_threads = -1;
    std::shared_ptr<Backend> backend;
    std::shared_ptr<const Model> float_model;
    int float_threads = -1;
    std::shared_ptr<Network> float_network;
    // Made from own_pixels, when a request came without one.
    std::shared_ptr<const Calibration> own_calibration;
    std::shared_ptr<const Model> own_model;
    Pixels own_pixels;
    std::shared_ptr<const Calibration> quantized_with;
    std::shared_ptr<const QuantizedModel> quantized;
    std::shared_ptr<IntegerNetwork> network;  // of `quantized`, or of a request's own quantized model
    TraceCache float_traces;

    std::thread worker;  // last: everything above is there when it starts
};

Session::Session(Callback callback) : state_(std::make_unique<State>(std::move(callback))) {}
Session::~Session() = default;

uint64_t Session::submit(Request request) {
    auto shared = std::make_shared<const Request>(std::move(request));
    std::lock_guard lock(state_->mutex);
    state_->waiting = std::move(shared);
    state_->running.request_stop();
    state_->wake.notify_all();
    return ++state_->last_id;
}

void Session::submit_idle(std::function<bool(std::stop_token)> job) {
    std::lock_guard lock(state_->mutex);
    state_->idle.push_back(std::move(job));
    state_->wake.notify_all();
}

void Session::cancel_idle() {
    std::lock_guard lock(state_->mutex);
    state_->idle.clear();
    ++state_->idle_generation;
    if (state_->idle_running) state_->running.request_stop();
}

Networks Session::networks(const Request& request, std::shared_ptr<const QuantizedModel> model) {
    const State& s = *state_;
    Networks n;
    if (s.has_backend(request)) {
        n.backend = s.backend;
        n.gpu_absent = s.gpu_absent;
    } else {
        n.backend = make_backend(request.backend, request.threads, &n.gpu_absent);
    }
    if (model && s.network && n.backend == s.backend && &s.network->model() == model.get())
        n.integers = s.network;
    else if (model)
        n.integers = n.backend->load(std::move(model), n.backend == s.backend ? s.network.get() : nullptr);
    if (s.has_floats(request))
        n.floats = s.float_network;
    else if (request.model)
        n.floats = make_float_network(request.model, request.threads);
    return n;
}

void Session::State::loop() {
    std::unique_lock lock(mutex);
    while (true) {
        wake.wait(lock, [this] { return quit || waiting || !idle.empty(); });
        if (quit) return;
        running = std::stop_source();
        const std::stop_token stop = running.get_token();
        if (waiting) {
            const auto request = std::exchange(waiting, nullptr);
            const uint64_t id = last_id;
            lock.unlock();
            answer(id, request, stop);
            lock.lock();
            continue;
        }
        auto job = std::move(idle.front());
        idle.pop_front();
        const uint64_t generation = idle_generation;
        idle_running = true;
        lock.unlock();
        bool done = true;
        try {
            done = job(stop);
        } catch (const Cancelled&) {
            done = false;
        } catch (const std::exception& e) {
            spdlog::warn("a background job ended: {}", e.what());  // it had its chance to say so itself
        }
        if (done) job = nullptr;  // what it holds is released outside the lock
        lock.lock();
        idle_running = false;
        if (!done && generation == idle_generation && !quit) idle.push_back(std::move(job));
    }
}

// Nothing is delivered for a request that a newer one has replaced.
void Session::State::deliver(const Result& result, const std::stop_token& stop) {
    if (stop.stop_requested()) throw Cancelled();
    callback(std::make_shared<const Result>(result));
}

void Session::State::answer(uint64_t id, const std::shared_ptr<const Request>& request,
                            std::stop_token stop) {
    Result result;
    result.id = id;
    result.request = request;
    std::optional<Error> error;
    try {
        compute(result, *request, stop);
        return;
    } catch (const Cancelled&) {
        return;
    } catch (const Error& e) {
        error = e;
    } catch (const std::bad_alloc&) {
        error = Error("not enough memory for this model and picture", request->picture,
                      "close other programs, or use a smaller model");
    } catch (const std::exception& e) {
        error = Error(e.what());
    }
    network.reset();  // a run that failed half way leaves no state worth keeping
    Result failed;
    failed.id = id;
    failed.request = request;
    failed.error = std::move(error);
    try {
        deliver(failed, stop);
    } catch (const Cancelled&) {
    }
}

void Session::State::use_backend(const Request& request) {
    if (has_backend(request)) return;
    network.reset();
    backend.reset();
    gpu_absent.clear();
    backend = make_backend(request.backend, request.threads, &gpu_absent);
    backend_name = request.backend;
    backend_threads = request.threads;
}

// The float side, which no bit-width changes.
std::shared_ptr<const Trace> Session::State::float_trace_of(const Request& request, std::stop_token stop) {
    if (!has_floats(request)) {
        float_network.reset();
        float_network = make_float_network(request.model, request.threads);
        float_model = request.model;
        float_threads = request.threads;
    }
    if (auto known = float_traces.find(request.model, request.pixels)) return known;
    auto trace = float_network->run(request.pixels, 1, all_taps(*request.model->graph, stop));
    float_traces.add(request.model, request.pixels, trace);
    return trace;
}

// The request's, else that of the picture at hand.
std::shared_ptr<const Calibration> Session::State::calibration_of(const Request& request,
                                                                  std::stop_token stop) {
    if (request.calibration) return request.calibration;
    if (own_calibration && own_model == request.model && own_pixels == request.pixels) return own_calibration;
    own_calibration = std::make_shared<Calibration>(calibrate_on_picture(
        *request.model, request.pixels, request.threads,
        [&stop](int64_t, int64_t) { return !stop.stop_requested(); }, float_network.get()));
    own_model = request.model;
    own_pixels = request.pixels;
    return own_calibration;
}

// Taken over from the last request where nothing changed.
std::shared_ptr<const QuantizedModel> Session::State::quantized_of(const Request& request,
                                                                   std::stop_token stop) {
    if (request.quantized) return request.quantized;
    const auto calibration = calibration_of(request, stop);
    const bool same_origin = quantized && quantized->source == request.model && quantized_with == calibration;
    if (!same_origin || quantized->config != request.config) {
        quantized =
            quantize(request.model, *calibration, request.config, same_origin ? quantized.get() : nullptr);
        quantized_with = calibration;
    }
    return quantized;
}

void Session::State::compute(Result& result, const Request& request, std::stop_token stop) {
    const auto check = [&stop] {
        if (stop.stop_requested()) throw Cancelled();
    };
    if (!request.model && !request.quantized) throw Error("there is no model to run", "", "open one first");
    const Graph& graph = request.quantized ? *request.quantized->graph : *request.model->graph;
    const auto size = static_cast<size_t>(graph.image_size);
    if (request.pixels.size() != size * size * 3) {
        throw Error("the picture was prepared for another image size", request.picture);
    }
    use_backend(request);
    // Said again after each step: a GPU may be lost on the way.
    const auto say_backend = [&] {
        result.backend = backend->info();
        result.gpu_absent = gpu_absent.empty() ? result.backend.gpu_lost : gpu_absent;
    };
    std::shared_ptr<const Trace> float_trace;
    if (request.model) {
        float_trace = float_trace_of(request, stop);
        result.float_ms = float_trace->ms;
    }
    check();
    const auto model = quantized_of(request, stop);
    check();
    if (!network || &network->model() != model.get()) network = backend->load(model, network.get());
    check();

    if (!request.model) {  // a quantized model without its source: integers only
        result.comparison.integer_trace = network->run(request.pixels, 1, all_taps(graph, stop));
        result.comparison.model = model;
        result.integer_ms = result.comparison.integer_trace->ms;
        result.complete = true;
        say_backend();
        deliver(result, stop);
        return;
    }
    // What a person waits for first: predictions and cumulative errors. Then the isolated ones.
    result.comparison = compare(*float_network, *network, request.pixels, float_trace, false, stop);
    result.integer_ms = result.comparison.integer_trace->ms;
    say_backend();
    deliver(result, stop);
    isolate(result.comparison, *network, stop);
    result.complete = true;
    say_backend();
    deliver(result, stop);
}

}  // namespace ivit
