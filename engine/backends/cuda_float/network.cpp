// SPDX-License-Identifier: Apache-2.0
// Runs a graph in floating point on the GPU: fused steps in one captured CUDA graph per batch size.
#include "engine/backends/cuda_float/network.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/backends/cuda/capture.h"
#include "engine/backends/cuda/network.h"
#include "engine/backends/cuda_float/cublaslt.h"
#include "engine/backends/cuda_float/kernels.h"
#include "engine/backends/cuda_float/steps.h"
#include "engine/clock.h"
#include "engine/error.h"

namespace ivit::cuda_float {
namespace {

using cuda::DeviceBuffer;
using cuda::Event;
using cuda::GraphExec;
using cuda::PinnedBuffer;
using cuda::Stream;

constexpr int most_pictures = 256;  // that one captured graph takes, as with the integers
constexpr int most_graphs = 8;      // kept, one per batch size

const char* name_of(Precision p) {
    return p == Precision::fp32 ? "cuda-fp32" : p == Precision::tf32 ? "cuda-tf32" : "cuda-fp16";
}

class CudaFloatNetwork : public Network {
  public:
    CudaFloatNetwork(std::shared_ptr<const Model> model, Precision precision)
        : model_(std::move(model)),
          precision_(precision),
          type_(precision == Precision::fp16 ? Type::f16 : Type::f32) {
        cudaDeviceProp device{};
        IVIT_CUDA_CHECK(cudaSetDevice(0));
        IVIT_CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
        at_.stream = stream_;
        at_.arch = 10 * device.major + device.minor;
        at_.sms = device.multiProcessorCount;
        at_.shared_limit = device.sharedMemPerBlockOptin;
        at_.overlap = device.major >= 9 && cuda::compiled_for() >= 90;
        load_kernels(at_);
        workspace_ = DeviceBuffer(cublaslt_workspace);
        steps_ = cut_into_steps(graph(), type_, at_);
        slots_of_ = assign_slots(graph(), steps_);
        upload_weights();
    }

    const Graph& graph() const override { return *model_->graph; }

    std::shared_ptr<const Trace> run(std::span<const uint8_t> pixels, int batch,
                                     const RunOptions& options) override {
        check(pixels, batch);
        if (std::find(options.taps.begin(), options.taps.end(), true) != options.taps.end())
            throw Error("the float networks on the GPU keep no layer outputs: take the CPU's",
                        name_of(precision_));
        auto trace = std::make_shared<Trace>();
        trace->graph = model_->graph;
        trace->backend = name_of(precision_);
        trace->batch = batch;
        const double start = now_ms();
        if (options.time_nodes)
            for (const Step& step : steps_) trace->timings.push_back({step.first, step.last, 0});
        const size_t picture = pixels.size() / static_cast<size_t>(batch);
        for (int b = 0; b < batch; b += most_pictures) {
            if (options.stop.stop_requested()) throw Cancelled{};
            const int n = std::min(most_pictures, batch - b);
            upload(pixels.subspan(static_cast<size_t>(b) * picture, static_cast<size_t>(n) * picture), n);
            const GraphExec& all = captured(n);
            if (options.time_nodes) {
                run_timed(n, *trace);
            } else {
                start_.record(stream_);
                all.launch(stream_);
                end_.record(stream_);
            }
            download(n, *trace);
            if (!options.time_nodes) trace->device_ms += end_.since(start_);
        }
        trace->ms = now_ms() - start;
        return trace;
    }

    std::vector<double> device_ms(std::span<const uint8_t> pixels, int batch, int runs) {
        check(pixels, batch);
        if (batch > most_pictures) throw Error("at most 256 pictures at once", "cuda");
        upload(pixels, batch);
        return cuda::replay_ms(captured(batch), stream_, runs);
    }

    void use_tanh_gelu() {
        tanh_gelu_ = true;
        graphs_.clear();
    }

  private:
    // ---- Loading

    const Node& node(int i) const { return graph().nodes[static_cast<size_t>(i)]; }

    void check(std::span<const uint8_t> pixels, int batch) const {
        const size_t picture =
            static_cast<size_t>(graph().image_size) * static_cast<size_t>(graph().image_size) * 3;
        if (batch < 1 || pixels.size() != picture * static_cast<size_t>(batch))
            throw Error("got " + std::to_string(pixels.size()) + " bytes of pixels for a batch of " +
                        std::to_string(batch) + ", expected " + std::to_string(picture) + " each");
    }

    DeviceBuffer to_device(const std::vector<float>& values) const {
        DeviceBuffer buffer(values.size() * sizeof(float));
        IVIT_CUDA_CHECK(cudaMemcpyAsync(buffer.as<>(), values.data(), values.size() * sizeof(float),
                                        cudaMemcpyHostToDevice, stream_));
        stream_.wait();
        return buffer;
    }
    // In this network's type, or FP32.
    DeviceBuffer to_device(const std::vector<float>& values, Type type) const {
        DeviceBuffer wide = to_device(values);
        if (type == Type::f32) return wide;
        DeviceBuffer buffer(values.size() * 2);
        narrow(wide.as<const float>(), buffer.as<>(), static_cast<int64_t>(values.size()), at_);
        stream_.wait();
        return buffer;
    }

    // A matrix [rows, k] with rows of ld values, zeros behind them.
    static std::vector<float> padded(const std::vector<float>& w, int64_t rows, int64_t k, int64_t ld) {
        std::vector<float> out(static_cast<size_t>(rows * ld));
        for (int64_t r = 0; r < rows; ++r) std::copy_n(w.begin() + r * k, k, out.begin() + r * ld);
        return out;
    }

    // What the product of the patches is added to: the position, and the bias or the class token. [tokens,
    // cols]
    std::vector<float> positions(const Node& embed, const Node& pos) const {
        std::vector<float> position = model_->weight(pos.weight).data;
        const auto& class_token = model_->weight(pos.bias).data;
        const auto cols = static_cast<size_t>(embed.cols());
        for (size_t i = 0; i < position.size(); ++i) {
            if (i < cols)
                position[i] += class_token[i];
            else if (!embed.bias.empty())
                position[i] += model_->weight(embed.bias).data[i % cols];
        }
        return position;
    }

    // [3, 256]: a colour's byte, normalized.
    std::vector<float> pixel_table() const {
        std::vector<float> table(3 * 256);
        for (size_t c = 0; c < 3; ++c)
            for (size_t u = 0; u < 256; ++u)
                table[c * 256 + u] = static_cast<float>(
                    (static_cast<double>(u) / 255.0 - model_->info.mean[c]) / model_->info.std[c]);
        return table;
    }

    void upload_patch_embed(size_t k) {
        const Node &embed = node(steps_[k].first + 1), &pos = node(steps_[k].last);
        const int64_t inner = int64_t{3} * embed.patch * embed.patch;
        patch_ld_ = (inner + 7) / 8 * 8;
        weights_[k] =
            to_device(padded(model_->weight(embed.weight).data, embed.cols(), inner, patch_ld_), type_);
        biases_[k] = to_device(positions(embed, pos), type_);
        table_ = to_device(pixel_table());
    }

    void upload_weights() {
        weights_.resize(steps_.size());
        biases_.resize(steps_.size());
        for (size_t k = 0; k < steps_.size(); ++k) {
            const Step& step = steps_[k];
            const Node& n = node(step.first);
            switch (step.kind) {
                case StepKind::patch_embed:
                    upload_patch_embed(k);
                    break;
                case StepKind::layernorm:
                    weights_[k] = to_device(model_->weight(n.weight).data, type_);
                    biases_[k] = to_device(model_->weight(n.bias).data, type_);
                    break;
                case StepKind::linear:
                    weights_[k] = to_device(model_->weight(n.weight).data, type_);
                    if (!n.bias.empty()) biases_[k] = to_device(model_->weight(n.bias).data, out_type(step));
                    break;
                case StepKind::attention:
                    break;
            }
        }
    }

    // ---- Running

    // Logits stay in FP32.
    Type out_type(const Step& step) const { return node(step.first).op == Op::head ? Type::f32 : type_; }

    void reserve(int n) {
        if (n <= capacity_) return;
        graphs_.clear();
        capacity_ = 0;
        slots_.clear();
        const int64_t pixels = int64_t{3} * graph().image_size * graph().image_size;
        pixels_ = DeviceBuffer(static_cast<size_t>(n * pixels));
        host_pixels_ = PinnedBuffer(static_cast<size_t>(n * pixels));
        host_logits_ =
            PinnedBuffer(static_cast<size_t>(n) * static_cast<size_t>(graph().classes) * sizeof(float));
        patches_ = DeviceBuffer(static_cast<size_t>(n * graph().tokens * patch_ld_ * bytes_of(type_)));
        for (const int64_t size : slots_of_.elements)
            slots_.emplace_back(static_cast<size_t>(n * size) * sizeof(float));
        capacity_ = n;
    }

    void* slot(const Step& step) const { return slots_[static_cast<size_t>(step.slot)].as<>(); }
    const void* input(int node_index, size_t which = 0) const {
        const int from = node(node_index).inputs.at(which);
        return slots_[static_cast<size_t>(slots_of_.of_node.at(from))].as<>();
    }

    ProductShape shape_of(const Step& step, int n) const {
        const Node& first = node(step.first);
        ProductShape s;
        if (step.kind == StepKind::patch_embed) {
            s.rows = int64_t{n} * graph().tokens;
            s.n = node(step.last).cols();
            s.k = s.ld = patch_ld_;
            s.add = true;
            s.out = type_;
            return s;
        }
        s.rows = n * first.rows();
        s.n = first.cols();
        s.k = s.ld = node(first.inputs[0]).cols();
        s.bias = !first.bias.empty();
        s.add = step.residual;
        s.out = out_type(step);
        s.tanh_gelu = step.gelu && tanh_gelu_ && s.bias;
        return s;
    }

    Product::Operands operands_of(size_t k) const {
        const Step& step = steps_[k];
        Product::Operands o;
        o.w = weights_[k].as<>();
        o.y = slot(step);
        if (step.kind == StepKind::patch_embed) {
            o.x = patches_.as<>();
            o.add = o.y;
            return o;
        }
        o.x = input(step.first);
        o.bias = biases_[k].as<>();
        if (step.residual) o.add = input(step.last, 1);
        return o;
    }

    void enqueue_patches(size_t k, int n) {
        const Step& step = steps_[k];
        Patches p;
        p.pixels = pixels_.as<const uint8_t>();
        p.table = table_.as<const float>();
        p.out = patches_.as<>();
        p.position = biases_[k].as<>();
        p.stream = slot(step);
        p.size = graph().image_size;
        p.patch = node(step.first + 1).patch;
        p.tokens = graph().tokens;
        p.ld = static_cast<int32_t>(patch_ld_);
        p.width = static_cast<int32_t>(node(step.last).cols());
        p.batch = n;
        patches(p, type_, at_);
    }

    void enqueue_layernorm(size_t k, int n) {
        const Step& step = steps_[k];
        const Node& norm = node(step.first);
        LayerNorm p;
        p.in = input(step.first);
        p.out = slot(step);
        p.gamma = weights_[k].as<>();
        p.beta = biases_[k].as<>();
        p.eps = norm.eps;
        p.cols = static_cast<int32_t>(norm.cols());
        p.rows = static_cast<int32_t>(norm.rows());
        p.tokens = static_cast<int32_t>(node(norm.inputs[0]).rows());
        p.batch = n;
        layernorm(p, type_, at_);
    }

    void enqueue_attention(const Step& step, int n) {
        Attention p;
        p.qkv = input(step.first);
        p.out = slot(step);
        p.tokens = static_cast<int32_t>(node(step.first).rows());
        p.heads = node(step.first).heads;
        p.dim = static_cast<int32_t>(node(step.last).cols() / p.heads);
        p.batch = n;
        p.scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(p.dim)));
        attention(p, type_, precision_ != Precision::fp32, at_);
    }

    // The matrix product of step k. tune: chooses its kernel first, when its shape is new.
    void enqueue_product(size_t k, int n, bool tune) {
        const ProductShape shape = shape_of(steps_[k], n);
        auto& product = products_[shape];
        if (!product) {
            if (!tune) throw Error("a product was not tuned before its graph was captured", "cuda");
            auto made = std::make_unique<Product>(lt_, shape, precision_);
            made->tune(operands_of(k), workspace_.as<>(), stream_);
            product = std::move(made);
            // Its output is its input, and tuning has written there.
            if (steps_[k].kind == StepKind::patch_embed) enqueue_patches(k, n);
        }
        product->enqueue(operands_of(k), workspace_.as<>(), stream_);
    }

    // Step k on n pictures. tune: as of enqueue_product().
    void enqueue_step(size_t k, int n, bool tune) {
        const Step& step = steps_[k];
        switch (step.kind) {
            case StepKind::patch_embed:
                enqueue_patches(k, n);
                enqueue_product(k, n, tune);
                break;
            case StepKind::layernorm:
                enqueue_layernorm(k, n);
                break;
            case StepKind::linear:
                enqueue_product(k, n, tune);
                if (step.gelu && !shape_of(step, n).tanh_gelu)
                    gelu(slot(step), n * elements(node(step.last).shape), type_, at_);
                break;
            case StepKind::attention:
                enqueue_attention(step, n);
                break;
        }
    }

    // The graph of n pictures; pixels_ must hold some. Its kernels are chosen, and loaded, by a run in front.
    const GraphExec& captured(int n) {
        reserve(n);
        const auto found = graphs_.find(n);
        if (found != graphs_.end()) return found->second;
        if (static_cast<int>(graphs_.size()) >= most_graphs) graphs_.clear();
        for (size_t k = 0; k < steps_.size(); ++k) enqueue_step(k, n, true);
        stream_.wait();
        return graphs_
            .emplace(n, cuda::capture(stream_,
                                      [&] {
                                          for (size_t k = 0; k < steps_.size(); ++k)
                                              enqueue_step(k, n, false);
                                      }))
            .first->second;
    }

    void upload(std::span<const uint8_t> pixels, int n) {
        reserve(n);
        cuda::upload(pixels, host_pixels_, pixels_, stream_);
    }

    // Waits for the logits of n pictures and appends them.
    void download(int n, Trace& trace) const {
        const size_t count = static_cast<size_t>(n) * static_cast<size_t>(graph().classes);
        IVIT_CUDA_CHECK(cudaMemcpyAsync(host_logits_.as<>(), slot(steps_.back()), count * sizeof(float),
                                        cudaMemcpyDeviceToHost, stream_));
        stream_.wait();
        const float* logits = host_logits_.as<const float>();
        trace.logits.insert(trace.logits.end(), logits, logits + count);
    }

    // Every step with an event before and after it.
    void run_timed(int n, Trace& trace) {
        std::vector<Event> events(steps_.size() + 1);
        events[0].record(stream_);
        for (size_t k = 0; k < steps_.size(); ++k) {
            enqueue_step(k, n, false);
            events[k + 1].record(stream_);
        }
        stream_.wait();
        for (size_t k = 0; k < steps_.size(); ++k) trace.timings[k].ms += events[k + 1].since(events[k]);
    }

    std::shared_ptr<const Model> model_;
    Precision precision_;
    Type type_;
    Stream stream_;
    CublasLt lt_;
    Launch at_;
    bool tanh_gelu_ = false;
    std::vector<Step> steps_;
    Slots slots_of_;
    std::vector<DeviceBuffer> weights_, biases_;  // per step; of patch_embed the bias is the position
    DeviceBuffer table_, workspace_;
    int64_t patch_ld_ = 0;
    int capacity_ = 0;  // pictures
    DeviceBuffer pixels_, patches_;
    PinnedBuffer host_pixels_, host_logits_;
    std::vector<DeviceBuffer> slots_;
    std::map<ProductShape, std::unique_ptr<Product>> products_;
    std::map<int, GraphExec> graphs_;  // by batch size
    Event start_, end_;
};

CudaFloatNetwork& ours(Network& network) {
    auto* found = dynamic_cast<CudaFloatNetwork*>(&network);
    if (!found) throw Error("this is no float network on the GPU", "cuda");
    return *found;
}

}  // namespace

std::string unavailable(Precision precision) {
    if (std::string why = cuda::unavailable(); !why.empty()) return why;
    try {
        int major = 0;
        IVIT_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
        if (precision == Precision::tf32 && major < 8)
            return "this GPU has no TF32: compute capability 8.0 is the least";
        if (precision == Precision::tf32 && cuda::compiled_for() < 80)
            return "the code for this GPU has no TF32: it was compiled for sm_" +
                   std::to_string(cuda::compiled_for());
    } catch (const Error& e) {
        return e.sentence();
    }
    return cublaslt_absent();
}

std::unique_ptr<Network> make_network(std::shared_ptr<const Model> model, Precision precision) {
    if (const std::string why = unavailable(precision); !why.empty()) throw Error(why, "cuda");
    return std::make_unique<CudaFloatNetwork>(std::move(model), precision);
}

std::vector<double> device_ms(Network& network, std::span<const uint8_t> pixels, int batch, int runs) {
    return ours(network).device_ms(pixels, batch, runs);
}

void use_tanh_gelu(Network& network) { ours(network).use_tanh_gelu(); }

}  // namespace ivit::cuda_float
