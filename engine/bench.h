// SPDX-License-Identifier: Apache-2.0
// Latency of the integer network against the float one, measured alternately in one process.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/backend.h"

namespace ivit {

// Of wall times in milliseconds, pixels to logits.
struct Latency {
    double median = 0, p95 = 0, min = 0;
    int runs = 0;
};
Latency latency(std::vector<double> ms);  // nearest-rank percentiles; all zero for no samples
// The runs differ so much that another program must have taken the cores now and then.
bool scatters(const Latency& l);

// Neighbouring nodes that one backend or the other executes in one step.
struct BenchLayer {
    int first = -1, last = -1;
    double float_ms = 0, integer_ms = 0;  // medians; float_ms 0 without a float network
    int64_t macs = 0;                     // of a batch
};

// One network of a benchmark.
struct Measured {
    Latency wall;    // pixels on the host to logits on the host
    Latency device;  // pixels to logits on the GPU, Trace::device_ms; all zero where the network has no such
                     // clock
};

struct BenchResult {
    Latency floats, integers;  // wall
    Latency floats_device, integers_device;
    std::vector<Measured> others;  // as given to bench()
    double speedup = 0;            // median float / median integer; 0 without a float network
    // Of the time the threads wanted a core while the counted runs were taken, the share they had one, 0..1;
    // nothing where the system does not tell (engine/processor_time.h).
    std::optional<double> processor_share;
    std::vector<BenchLayer> layers;  // empty unless asked for
};

struct BenchOptions {
    int batch = 1;
    int warm_up = 3;         // runs of each, not counted
    int runs = 50;           // of each, alternating
    bool per_layer = false;  // as many runs again, timed step by step: their sum exceeds the end-to-end time
    std::stop_token stop;
    std::function<void(int done, int total)> progress;
};

// The runs scatter, or the threads had less of the cores than undisturbed_share.
bool disturbed(const BenchResult& r);
// What disturbed them, in words without a full stop: the share in per cent where that is the cause, else that
// they scatter. Empty where nothing did.
std::string disturbance(bool disturbed, std::optional<double> processor_share);

// pixels: [batch, image_size, image_size, 3]. floats may be null. others: more networks in the same
// alternation. Throws Cancelled.
BenchResult bench(Network* floats, IntegerNetwork& integers, std::span<const uint8_t> pixels,
                  const BenchOptions& options, std::span<Network* const> others = {});

}  // namespace ivit
