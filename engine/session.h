// SPDX-License-Identifier: Apache-2.0
// The one worker behind an interactive program: the newest request cancels the older one between nodes.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/compare.h"
#include "engine/error.h"

namespace ivit {

// Everything that determines a result. Values only: a request can be kept, compared and run again.
struct Request {
    std::shared_ptr<const Model> model;  // the float model; null for a quantized model without its source
    std::shared_ptr<const QuantizedModel> quantized;  // a loaded quantized model, used as it is; else null
    std::shared_ptr<const Calibration> calibration;   // null: calibrate on the picture at hand
    QuantConfig config;                               // ignored when `quantized` is set
    Pixels pixels;                                    // RGB [image_size, image_size, 3]
    std::string picture;                              // its name, for people
    std::string backend = "auto";
    int threads = 0;
};

struct Result {
    uint64_t id = 0;  // what submit() returned
    std::shared_ptr<const Request> request;
    Comparison comparison;  // .isolated is empty until `complete`
    bool complete = false;  // false: predictions and cumulative errors only, more is coming
    BackendInfo backend;
    std::string gpu_absent;  // why auto did not pick the GPU, or gave it up; empty when it runs there
    double float_ms = 0, integer_ms = 0;  // of these very runs (no warm-up): bench gives the honest figures
    std::optional<Error> error;           // then nothing else but id and request is set
};

// What runs a request's pictures. A network has one run at a time: for the worker only.
struct Networks {
    std::shared_ptr<Backend> backend;
    std::shared_ptr<IntegerNetwork> integers;
    std::shared_ptr<Network> floats;  // null where the request has no float model
    std::string gpu_absent;           // as in Result
};

// Owns the worker thread, the loaded networks and their caches (float trace of the present picture, quantized
// nodes and packed weights that a change left alone).
class Session {
  public:
    using Callback =
        std::function<void(std::shared_ptr<const Result>)>;  // on the worker thread; must not block
    explicit Session(Callback callback);
    ~Session();  // cancels and joins

    // Cancels whatever runs or waits and runs this. Returns its id, increasing. Never blocks.
    uint64_t submit(Request request);
    // Runs `job` on the worker when no request waits (latency samples, thumbnails, calibration); a later
    // submit() requests its stop, and it is called again afterwards unless it returned true (done).
    void submit_idle(std::function<bool(std::stop_token)> job);
    void cancel_idle();
    // Within a job of submit_idle only: networks for `model` (null: none for integers) and the request's
    // float model, on its backend and threads. Those that the session has loaded are handed out themselves,
    // for two copies of a large model's weights are some 400 MB; the rest is made for the caller. Throws
    // Error as make_backend() and Backend::load() do.
    Networks networks(const Request& request, std::shared_ptr<const QuantizedModel> model);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ivit
