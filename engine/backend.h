// SPDX-License-Identifier: Apache-2.0
// A backend executes a graph. reference: the specification as plain loops; cpu: SIMD; cuda; float: the FP32
// opponent.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/quantized_model.h"
#include "engine/trace.h"

namespace ivit {

struct BackendInfo {
    std::string name;    // "cpu"
    std::string device;  // "AMD EPYC 9B14", "NVIDIA H200"
    std::string isa;     // "AVX-512 VNNI", "sm_90a"
    int threads = 1;
    // Why the GPU that `auto` had chosen is not used any more; empty: nothing happened.
    std::string gpu_lost = {};
};

struct RunOptions {
    std::vector<bool> taps;   // per node: keep its output; empty: keep nothing
    bool time_nodes = false;  // fill Trace::timings
    std::stop_token stop;     // checked between nodes; throws Cancelled
};

// A network loaded into a backend: weights packed, buffers allocated. run() is not re-entrant; one thread at
// a time.
class Network {
  public:
    virtual ~Network() = default;
    virtual const Graph& graph() const = 0;

    // pixels: RGB bytes [batch, image_size, image_size, 3]. Results do not depend on batch or thread count.
    virtual std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                             const RunOptions& options) = 0;
};

// A Network of integers can also execute one node alone: for isolated error.
class IntegerNetwork : public Network {
  public:
    virtual const QuantizedModel& model() const = 0;
    // inputs: one per Node::inputs, on the grids of the nodes that make them, batch 1, shapes as in Graph (no
    // batch). For the input node use `run`. Yields the node's output on its own grid, bit-equal to what run()
    // computes.
    virtual IntTensor run_node(int node, std::span<const IntTensor* const> inputs) = 0;
};

// An integer backend. Cheap to make; load() does the work.
class Backend {
  public:
    virtual ~Backend() = default;
    virtual BackendInfo info() const = 0;
    // `previous`, when it was made by this backend, lends what it packed for nodes both models share.
    virtual std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                                 IntegerNetwork* previous = nullptr) = 0;
    // Multiply-accumulates per second that this machine's instruction reaches on registers alone, all
    // threads: measured anew at each call, in some hundredths of a second. 0: this backend has no such
    // measurement.
    virtual double measure_peak() { return 0; }
};

// One line per backend in backends/registry.cpp.
struct BackendEntry {
    std::string name;
    // Empty when the backend can run here, else why not, in one sentence ("no CUDA driver on this machine").
    std::function<std::string()> unavailable;
    std::function<std::unique_ptr<Backend>(int threads)> make;  // threads <= 0: all cores
};
const std::vector<BackendEntry>& backends();

// "auto" picks cuda when there is one, else cpu. Throws Error for an unknown name, or one that is not
// available. `why`, when given, receives the reason the GPU was passed over, or stays empty.
std::unique_ptr<Backend> make_backend(const std::string& name, int threads, std::string* why = nullptr);

// The FP32 opponent on the CPU. threads <= 0: all cores.
std::unique_ptr<Network> make_float_network(std::shared_ptr<const Model> model, int threads);

// Other float opponents, for benchmarks: they keep no taps. One line each in backends/registry.cpp.
struct OpponentEntry {
    std::string name;                          // "cuda-fp16"
    std::string what;                          // "FP16 on the GPU"
    std::string backend;                       // the integer backend that runs on the same device: "cuda"
    std::function<std::string()> unavailable;  // as BackendEntry's
    std::function<std::unique_ptr<Network>(std::shared_ptr<const Model>)> make;
};
const std::vector<OpponentEntry>& float_opponents();

}  // namespace ivit
