// SPDX-License-Identifier: Apache-2.0
// Runs a graph on the GPU: fused steps in one captured CUDA graph per batch size; or step by step and picture
// by picture, with the plain kernels where a tap, a node in floating point or an odd parameter asks for them.
#include "engine/backends/cuda/network.h"

#include <algorithm>
#include <map>
#include <optional>

#include "engine/backends/cuda/capture.h"
#include "engine/backends/cuda/copy_engine.h"
#include "engine/backends/cuda/kernels.h"
#include "engine/backends/cuda/one_node.h"
#include "engine/backends/cuda/pack.h"
#include "engine/backends/cuda/plan.h"
#include "engine/backends/cuda/prepared.h"
#include "engine/backends/integer_node.h"
#include "engine/clock.h"

namespace ivit::cuda {
namespace {

constexpr int most_pictures = 256;  // that one captured graph takes; greater batches run in parts
constexpr int most_graphs = 8;      // kept, one per batch size

Launch describe(const cudaDeviceProp& device) {
    Launch at;
    at.arch = 10 * device.major + device.minor;
    at.sms = device.multiProcessorCount;
    at.shared_limit = device.sharedMemPerBlockOptin;
    at.overlap = device.major >= 9 && compiled_for() >= 90;
    return at;
}

class CudaNetwork : public IntegerNetwork {
  public:
    CudaNetwork(std::shared_ptr<const QuantizedModel> model, const cudaDeviceProp& device,
                const CudaNetwork* previous)
        : model_(std::move(model)), at_(describe(device)) {
        at_.stream = stream_;
        plan_ = make_plan(graph());
        const std::vector<Slabs> slabs = cut_weights(graph(), plan_, at_);
        for (int i = 0; i < size(); ++i) packed_.push_back(pack(i, slabs[static_cast<size_t>(i)], previous));
        prepared_ = prepare_steps(*model_, plan_, packed_, at_);
    }

    const Graph& graph() const override { return *model_->graph; }
    const QuantizedModel& model() const override { return *model_; }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        check_pixels(graph(), pixels, batch);
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = "cuda";
        trace->batch = batch;
        const double start = now_ms();
        const bool taps = std::find(options.taps.begin(), options.taps.end(), true) != options.taps.end();
        if (options.time_nodes)
            for (const Step& step : plan_.steps) trace->timings.push_back({step.first, step.last, 0});
        const size_t picture = pixels.size() / static_cast<size_t>(batch);
        if (taps || !all_fast()) {
            for (int b = 0; b < batch; ++b)
                run_stepwise(pixels.subspan(static_cast<size_t>(b) * picture, picture), options, b, batch,
                             *trace);
        } else {
            for (int b = 0; b < batch; b += most_pictures) {
                if (options.stop.stop_requested()) throw Cancelled{};
                const int n = std::min(most_pictures, batch - b);
                upload(pixels.subspan(static_cast<size_t>(b) * picture, static_cast<size_t>(n) * picture), n);
                if (options.time_nodes) {
                    run_timed(n, *trace);
                } else {
                    const GraphExec& all = captured(n);
                    start_.record(stream_);
                    all.launch(stream_);
                    end_.record(stream_);
                }
                download(n, *trace);
                if (!options.time_nodes) trace->device_ms += end_.since(start_);
            }
        }
        trace->logit_scale = model_->nodes.back()->out.scale[0];
        for (const int32_t v : trace->integer_logits)
            trace->logits.push_back(static_cast<float>(v * trace->logit_scale));
        trace->ms = now_ms() - start;
        return trace;
    }

    IntTensor run_node(int node, std::span<const IntTensor* const> inputs) override {
        const Node& n = graph().nodes.at(static_cast<size_t>(node));
        const QuantNode& q = quant(node);
        if (q.quant.mode != Mode::integer) return run_non_integer(*model_, node, inputs);
        if (n.op == Op::input) throw Error("the input node reads pixels: use run", n.name);
        std::vector<Wide> wide;
        std::vector<const int32_t*> in;
        for (const IntTensor* t : inputs) {
            wide.push_back(one_node_.send(*t));
            in.push_back(data(wide.back()));
        }
        IntTensor out{n.shape, std::vector<int32_t>(static_cast<size_t>(elements(n.shape))), q.out};
        wide.push_back(one_node_.output_of(node));
        one_node_.run(node, in, {}, nullptr, data(wide.back()));
        one_node_.fetch(data(wide.back()), out.data.data(), out.data.size());
        return out;
    }

    std::vector<double> device_ms(std::span<const uint8_t> pixels, int batch, int runs) {
        check_pixels(graph(), pixels, batch);
        if (!all_fast()) throw Error("this network has steps that the fused kernels do not take", "cuda");
        upload(pixels, batch);
        return replay_ms(captured(batch), stream_, runs);
    }

    std::vector<Timing> step_ms(std::span<const uint8_t> pixels, int batch, int repeats) {
        device_ms(pixels, batch, 1);  // checks, fills every buffer and brings the clocks up
        const int n = micro_batch(batch);
        std::vector<Timing> result;
        for (size_t k = 0; k < plan_.steps.size(); ++k) {
            const GraphExec repeated = capture(stream_, [&] {
                for (int i = 0; i < repeats; ++i)
                    enqueue_step(k, n, pixels_.as<const uint8_t>(), logits_.as<>());
            });
            double best = 0;
            for (int i = 0; i < 5; ++i) {
                start_.record(stream_);
                repeated.launch(stream_);
                end_.record(stream_);
                stream_.wait();
                const double ms = end_.since(start_) / repeats;
                best = i == 0 ? ms : std::min(best, ms);
            }
            result.push_back({plan_.steps[k].first, plan_.steps[k].last, best});
        }
        return result;
    }
    int pictures_at_once(int batch) const { return micro_batch(batch); }

    FusedHalves fused_halves(int pictures) const {
        FusedHalves n;
        for (size_t k = 0; k < plan_.steps.size(); ++k) {
            n.attention += attention_at(k, pictures) ? 1 : 0;
            n.mlp += mlp_at(k, pictures) ? 1 : 0;
        }
        return n;
    }

    void set_micro_batch(int pictures) {
        micro_batch_ = pictures;
        graphs_.clear();
        capacity_ = 0;
    }

    void force_tile(const std::string& name) {
        forced_.reset();
        for (int i = 0; i < tiles; ++i)
            if (name == tile_names[i]) forced_ = static_cast<Tile>(i);
        if (!name.empty() && !forced_) throw Error("there is no tile called '" + name + "'", "cuda");
        graphs_.clear();
    }

    const std::map<const QuantNode*, std::shared_ptr<const PackedNode>>& shared_nodes() const {
        return shared_;
    }

  private:
    // ---- Loading

    int size() const { return static_cast<int>(graph().nodes.size()); }
    const QuantNode& quant(int node) const { return *model_->nodes[static_cast<size_t>(node)]; }
    const Node& node(int i) const { return graph().nodes[static_cast<size_t>(i)]; }
    const PackedNode& packed(int node) const { return *packed_[static_cast<size_t>(node)]; }
    // How input `which` of a node lies in memory.
    Form input_form(int i, size_t which = 0) const { return form_of(graph(), node(i).inputs.at(which)); }

    std::shared_ptr<const PackedNode> pack(int i, Slabs slabs, const CudaNetwork* previous) {
        const Node& n = node(i);
        Layout in = Layout::flat(1);
        if (n.op == Op::patch_embed)
            in = Layout::flat(int64_t{3} * n.patch * n.patch);
        else if (n.op == Op::linear || n.op == Op::head)
            in = input_form(i).layout;
        const Layout out = form_of(graph(), i).layout;
        const auto& q = model_->nodes[static_cast<size_t>(i)];
        std::shared_ptr<const PackedNode> result;
        if (previous) {
            const auto found = previous->shared_nodes().find(q.get());
            if (found != previous->shared_nodes().end() && found->second->in == in &&
                found->second->out == out && (slabs.cut == Cut::none || found->second->slabs))
                result = found->second;
        }
        RowOrder side = nullptr;
        if (at_.arch == 90 && n.op == Op::linear)
            side = n.to_residual ? plain_row : node(n.inputs[0]).op == Op::layernorm ? paired_row : nullptr;
        if (!result) result = pack_node(*q, in, out, side, slabs, stream_);
        shared_[q.get()] = result;
        return result;
    }

    // ---- Fused steps

    // Makes room for `pictures` pixels and logits, and activations of a micro-batch of them.
    void reserve(int pictures) {
        if (pictures > capacity_) {
            graphs_.clear();
            const size_t n = static_cast<size_t>(pictures);
            const int64_t pixel_bytes = int64_t{3} * graph().image_size * graph().image_size;
            pixels_ = DeviceBuffer(n * static_cast<size_t>(pixel_bytes));
            host_pixels_ = PinnedBuffer(n * static_cast<size_t>(pixel_bytes));
            const Form logits = plan_.steps.back().out;
            logits_ = DeviceBuffer(n * static_cast<size_t>(logits.bytes_per_picture()));
            host_logits_ = PinnedBuffer(logits_.bytes());
            capacity_ = pictures;
        }
        const int micro = micro_batch(pictures);
        if (micro <= activations_) return;
        graphs_.clear();
        slots_.clear();
        const auto zeros = [&](int64_t bytes) {
            DeviceBuffer buffer(static_cast<size_t>(bytes * micro));
            if (buffer.bytes()) IVIT_CUDA_CHECK(cudaMemsetAsync(buffer.as<>(), 0, buffer.bytes(), stream_));
            return buffer;
        };
        for (const int64_t bytes : plan_.slots) slots_.push_back(zeros(bytes));
        scratch_ = zeros(prepared_.scratch_bytes);
        scratch2_ = zeros(prepared_.scratch2_bytes);
        activations_ = micro;
    }

    // Pictures that go through the network together. Measured on an H200 (benchmarks_gpu.md), all of them is
    // best: waves of blocks without gaps are worth more than activations that stay in the cache.
    int micro_batch(int pictures) const {
        return micro_batch_ > 0 ? std::min(pictures, micro_batch_) : pictures;
    }

    bool all_fast() const {
        return std::all_of(prepared_.steps.begin(), prepared_.steps.end(),
                           [](const auto& p) { return p.fast; });
    }

    void* slot_of(int node) const {
        return slots_[static_cast<size_t>(plan_.steps[static_cast<size_t>(step_of(node))].slot)].as<>();
    }
    int step_of(int node) const { return plan_.step_of[static_cast<size_t>(node)]; }
    const void* input_slot(int i, size_t which = 0) const { return slot_of(node(i).inputs[which]); }

    void start_linear(const Linear& p) const {
        linear(p, forced_ && tile_fits(*forced_, p, at_) ? *forced_ : choose_tile(p, at_), at_);
    }

    // Starts step k on n pictures from `pixels`; the last step writes `logits`.
    void enqueue_step(size_t k, int n, const uint8_t* pixels, void* logits) const {
        const Step& step = plan_.steps[k];
        const Prepared& p = prepared_.steps[k];
        const int32_t rows = static_cast<int32_t>(step.out.rows) * n;
        void* const out =
            k + 1 == plan_.steps.size() ? logits : slots_[static_cast<size_t>(step.slot)].as<>();
        Linear linear = p.linear;
        linear.rows = rows;
        linear.out = out;
        switch (step.kind) {
            case StepKind::patch_embed: {
                Patches patches_args = p.patches;
                patches_args.pixels = pixels;
                patches_args.out = scratch_.as<int8_t>();
                patches_args.batch = n;
                patches(patches_args, at_);
                linear.a = scratch_.as<const int8_t>();
                start_linear(linear);
                break;
            }
            case StepKind::linear:
            case StepKind::head: {
                LayerNorm norm = p.norm;
                norm.in = static_cast<const int16_t*>(input_slot(step.first));
                if (p.gelu.table) linear.out = scratch2_.as<>();
                layernorm(norm, rows, scratch_.as<int8_t>(), linear.lda, at_);
                linear.a = scratch_.as<const int8_t>();
                start_linear(linear);
                if (p.gelu.table) {
                    RowGelu gelu = p.gelu;
                    gelu.in = scratch2_.as<const int8_t>();
                    gelu.out = static_cast<int8_t*>(out);
                    gelu.rows = rows;
                    row_gelu(gelu, at_);
                }
                break;
            }
            case StepKind::attention: {
                Attention a = p.attention;
                a.qkv = static_cast<const int8_t*>(input_slot(step.first));
                a.out = static_cast<int8_t*>(out);
                a.batch = n;
                attention(a, at_);
                break;
            }
            case StepKind::residual:
                linear.a = static_cast<const int8_t*>(input_slot(step.first));
                linear.residual = static_cast<const int16_t*>(input_slot(step.last, 1));
                start_linear(linear);
                break;
            case StepKind::single:
                break;
        }
    }

    // The block whose step `at` is step k.
    const Block* block_with(size_t k, size_t at) const {
        const auto found = std::find_if(prepared_.blocks.begin(), prepared_.blocks.end(),
                                        [&](const Block& b) { return b.first + at == k; });
        return found == prepared_.blocks.end() || forced_ ? nullptr : &*found;
    }
    // The half of a block that starts at step k, on n pictures; none where there is none, or it is not for so
    // many.
    std::optional<BlockAttention> attention_at(size_t k, int n) const {
        const Block* const b = block_with(k, 0);
        if (!b) return {};
        BlockAttention half = b->attention;
        half.attention.batch = n;
        if (!block_attention_fits(half, at_)) return {};
        return half;
    }
    std::optional<BlockMlp> mlp_at(size_t k, int n) const {
        const Block* const b = block_with(k, attention_steps);
        if (!b) return {};
        BlockMlp half = b->mlp;
        half.proj.rows *= n;
        half.fc2.rows *= n;
        if (!block_mlp_fits(half, at_)) return {};
        return half;
    }
    // Starts what begins at step k on n pictures from `pixels`, the last step to `logits`: half a block or a
    // step. Returns the step behind it.
    size_t enqueue_at(size_t k, int n, const uint8_t* pixels, void* logits) const {
        const Step* const s = &plan_.steps[k];
        const auto slot = [&](const Step& step) { return slots_[static_cast<size_t>(step.slot)].as<>(); };
        if (std::optional<BlockAttention> half = attention_at(k, n)) {
            half->norm.in = static_cast<const int16_t*>(input_slot(s[0].first));
            half->attention.out = static_cast<int8_t*>(slot(s[1]));
            block_attention(*half, at_);
            return k + attention_steps;
        }
        if (std::optional<BlockMlp> half = mlp_at(k, n)) {
            half->proj.a = static_cast<const int8_t*>(input_slot(s[0].first));
            half->proj.residual = static_cast<const int16_t*>(input_slot(s[0].last, 1));
            half->fc2.out = slot(s[2]);
            block_mlp(*half, at_);
            return k + block_steps - attention_steps;
        }
        enqueue_step(k, n, pixels, logits);
        return k + 1;
    }

    // The whole network on `n` pictures that lie in pixels_.
    void enqueue(int n) const {
        const int micro = micro_batch(n);
        const int64_t picture = int64_t{3} * graph().image_size * graph().image_size;
        const int64_t logit_bytes = plan_.steps.back().out.bytes_per_picture();
        for (int b = 0; b < n; b += micro)
            for (size_t k = 0; k < plan_.steps.size();)
                k = enqueue_at(k, std::min(micro, n - b), pixels_.as<const uint8_t>() + b * picture,
                               logits_.as<uint8_t>() + b * logit_bytes);
    }

    // The network on n pictures.
    const GraphExec& captured(int n) {
        reserve(n);
        const auto found = graphs_.find(n);
        if (found != graphs_.end()) return found->second;
        if (static_cast<int>(graphs_.size()) >= most_graphs) graphs_.clear();
        return graphs_.emplace(n, capture(stream_, [&] { enqueue(n); })).first->second;
    }

    void upload(std::span<const uint8_t> pixels, int n) {
        reserve(n);
        cuda::upload(pixels, host_pixels_, pixels_, stream_);
    }

    // Waits for the logits of n pictures and appends them.
    void download(int n, Trace& trace) {
        const Form form = plan_.steps.back().out;
        IVIT_CUDA_CHECK(cudaMemcpyAsync(host_logits_.as<>(), logits_.as<>(),
                                        static_cast<size_t>(n * form.bytes_per_picture()),
                                        cudaMemcpyDeviceToHost, stream_));
        stream_.wait();
        for (int b = 0; b < n; ++b) {
            const int32_t* row = host_logits_.as<const int32_t>() + int64_t{b} * form.layout.stride;
            trace.integer_logits.insert(trace.integer_logits.end(), row, row + form.layout.cols);
        }
    }

    // Every step by itself, with an event between two: what a block is made of is told apart even where
    // enqueue() has it in two kernels.
    void run_timed(int n, Trace& trace) {
        const int micro = micro_batch(n);
        const int64_t picture = int64_t{3} * graph().image_size * graph().image_size;
        const int64_t logit_bytes = plan_.steps.back().out.bytes_per_picture();
        std::vector<Event> events(plan_.steps.size() + 1);
        for (int b = 0; b < n; b += micro) {
            events[0].record(stream_);
            for (size_t k = 0; k < plan_.steps.size(); ++k) {
                enqueue_step(k, std::min(micro, n - b), pixels_.as<const uint8_t>() + b * picture,
                             logits_.as<uint8_t>() + b * logit_bytes);
                events[k + 1].record(stream_);
            }
            stream_.wait();
            for (size_t k = 0; k < plan_.steps.size(); ++k)
                trace.timings[k].ms += events[k + 1].since(events[k]);
        }
    }

    // ---- Step by step

    // What node i made of picture b of a batch, to its tap, if it has one; taps come in the nodes' order.
    void keep(int i, const int32_t* from, int b, int batch, Trace& trace) const {
        const size_t count = static_cast<size_t>(elements(node(i).shape));
        auto tap =
            std::find_if(trace.taps.begin(), trace.taps.end(), [&](const Tap& t) { return t.node == i; });
        if (tap == trace.taps.end()) {
            tap = trace.taps.emplace(tap);
            tap->node = i;
            tap->integers.grid = quant(i).out;
            tap->integers.shape = node(i).shape;
            tap->integers.shape.insert(tap->integers.shape.begin(), batch);
            tap->integers.data.resize(count * static_cast<size_t>(batch));
        }
        one_node_.fetch(from, tap->integers.data.data() + static_cast<size_t>(b) * count, count);
    }

    // One picture, step by step; b: its place in the batch. Fused steps run fused unless one of their inner
    // nodes is tapped; the others run node by node. Both compute the same integers.
    void run_stepwise(std::span<const uint8_t> pixels, const RunOptions& options, int b, int batch,
                      Trace& trace) {
        const auto tapped = [&](int i) {
            return !options.taps.empty() && options.taps[static_cast<size_t>(i)];
        };
        upload(pixels, 1);
        for (size_t k = 0; k < plan_.steps.size(); ++k) {
            if (options.stop.stop_requested()) throw Cancelled{};
            const Step& step = plan_.steps[k];
            const double start = now_ms();
            bool fused = prepared_.steps[k].fast;
            for (int i = step.first; i < step.last; ++i) fused = fused && !tapped(i);
            if (fused) {
                enqueue_step(k, 1, pixels_.as<const uint8_t>(), slot_of(step.last));
                if (tapped(step.last)) keep(step.last, data(widened(step.last)), b, batch, trace);
            } else {
                run_by_nodes(step, pixels, [&](int i, const int32_t* made) {
                    if (tapped(i)) keep(i, made, b, batch, trace);
                });
            }
            if (options.time_nodes) {
                stream_.wait();
                trace.timings[k].ms += now_ms() - start;
            }
        }
        const Form form = plan_.steps.back().out;
        std::vector<int32_t> logits(static_cast<size_t>(form.layout.cols));
        one_node_.fetch(static_cast<const int32_t*>(slot_of(size() - 1)), logits.data(), logits.size());
        trace.integer_logits.insert(trace.integer_logits.end(), logits.begin(), logits.end());
    }

    // What a step ending in node i has left of one picture, as int32.
    Wide widened(int i) {
        const Form form = form_of(graph(), i);
        Wide wide = one_node_.output_of(i);
        plain::widen(slot_of(i), form.bytes, static_cast<int32_t>(form.rows), form.layout, data(wide), at_);
        return wide;
    }

    // A step of one picture, node by node. made(node, int32 on the GPU) sees what each makes.
    template <class F>
    void run_by_nodes(const Step& step, std::span<const uint8_t> pixels, const F& made) {
        std::map<int, Wide> wide;  // by node: what this step made, and its inputs from earlier ones
        for (int i = step.first; i <= step.last; ++i) {
            std::vector<const int32_t*> in;
            for (const int from : node(i).inputs) {
                auto found = wide.find(from);
                if (found == wide.end()) found = wide.emplace(from, widened(from)).first;
                in.push_back(data(found->second));
            }
            int32_t* const out = data(wide.emplace(i, one_node_.output_of(i)).first->second);
            one_node_.run(i, in, pixels, pixels_.as<const uint8_t>(), out);
            made(i, out);
        }
        plain::narrow(data(wide.at(step.last)), static_cast<int32_t>(step.out.rows), step.out.layout,
                      step.out.bytes, slot_of(step.last), at_);
    }

    std::shared_ptr<const QuantizedModel> model_;
    Stream stream_;
    Launch at_;
    Plan plan_;
    std::vector<std::shared_ptr<const PackedNode>> packed_;                 // per node
    std::map<const QuantNode*, std::shared_ptr<const PackedNode>> shared_;  // the same, to be found again
    PreparedSteps prepared_;
    int capacity_ = 0, activations_ = 0, micro_batch_ = 0;  // pictures
    DeviceBuffer pixels_, logits_, scratch_, scratch2_;
    PinnedBuffer host_pixels_, host_logits_;
    std::vector<DeviceBuffer> slots_;
    std::optional<Tile> forced_;
    std::map<int, GraphExec> graphs_;  // by batch size
    OneNode one_node_{*model_, packed_, at_};
    Event start_, end_;
};

class CudaBackend : public Backend {
  public:
    CudaBackend() {
        IVIT_CUDA_CHECK(cudaSetDevice(0));
        IVIT_CUDA_CHECK(cudaGetDeviceProperties(&device_, 0));
        prepare_kernels(describe(device_));
        const int arch = 10 * device_.major + device_.minor, code = compiled_for();
        isa_ = "sm_" + std::to_string(arch) + (copy_engine_ready() ? "a" : "");
        // A GPU may be newer than the code that runs on it.
        if (code != arch) isa_ += " (code for sm_" + std::to_string(code) + ")";
    }

    BackendInfo info() const override { return {"cuda", device_.name, isa_, 1}; }

    std::unique_ptr<IntegerNetwork> load(std::shared_ptr<const QuantizedModel> model,
                                         IntegerNetwork* previous) override {
        IVIT_CUDA_CHECK(cudaSetDevice(0));
        return std::make_unique<CudaNetwork>(std::move(model), device_, dynamic_cast<CudaNetwork*>(previous));
    }

  private:
    cudaDeviceProp device_{};
    std::string isa_;
};

CudaNetwork& ours(IntegerNetwork& network) {
    auto* cuda_network = dynamic_cast<CudaNetwork*>(&network);
    if (!cuda_network) throw Error("this network does not run on the GPU", "cuda");
    return *cuda_network;
}

}  // namespace

std::string unavailable() {
    try {
        int count = 0;
        IVIT_CUDA_CHECK(cudaGetDeviceCount(&count));
        if (count == 0) return "there is no CUDA GPU on this machine";
        cudaDeviceProp device{};
        IVIT_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
        if (10 * device.major + device.minor < 75)
            return std::string(device.name) + " has compute capability " + std::to_string(device.major) +
                   "." + std::to_string(device.minor) + ", and 7.5 is the least this program has code for";
        return {};
    } catch (const Error& e) {
        return e.sentence();
    }
}

std::unique_ptr<Backend> make_backend() { return std::make_unique<CudaBackend>(); }

std::vector<double> device_ms(IntegerNetwork& network, std::span<const uint8_t> pixels, int batch, int runs) {
    return ours(network).device_ms(pixels, batch, runs);
}

std::vector<Timing> step_ms(IntegerNetwork& network, std::span<const uint8_t> pixels, int batch,
                            int repeats) {
    return ours(network).step_ms(pixels, batch, repeats);
}

FusedHalves fused_halves(IntegerNetwork& network, int pictures) {
    return ours(network).fused_halves(pictures);
}

int pictures_at_once(IntegerNetwork& network, int batch) { return ours(network).pictures_at_once(batch); }

void force_tile(IntegerNetwork& network, const std::string& name) { ours(network).force_tile(name); }

void set_micro_batch(IntegerNetwork& network, int pictures) { ours(network).set_micro_batch(pictures); }

}  // namespace ivit::cuda
