// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/float/onednn.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "engine/backends/float/kernels.h"

namespace ivit::fp32 {
namespace {

using dnnl::memory;

// Never destroyed: networks may outlive static destructors' order.
const dnnl::engine& cpu() {
    static const dnnl::engine& engine = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

memory::desc matrix(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
    return {{rows, cols}, memory::data_type::f32, memory::dims{row_stride, col_stride}};
}

dnnl::matmul::primitive_desc describe(const Product::Sizes& s) {
    const memory::desc x = matrix(s.m, s.k, s.ldx, 1), y = matrix(s.m, s.n, s.ldy, 1);
    const memory::desc w = s.w_k == 0 && s.w_n == 0
                               ? memory::desc({s.k, s.n}, memory::data_type::f32, memory::format_tag::any)
                               : matrix(s.k, s.n, s.w_k, s.w_n);
    // Scratch memory of ours, one a worker: oneDNN's own belongs to the thread that made the primitive, and
    // two threads in one primitive would write it at once (sizes that are no multiple of its blocks need it).
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return s.bias ? dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, w, matrix(1, s.n, s.n, 1), y), attr,
                                                 cpu())
                  : dnnl::matmul::primitive_desc(dnnl::matmul::desc(x, w, y), attr, cpu());
}

}  // namespace

SingleThreaded::SingleThreaded() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThreaded::~SingleThreaded() { omp_set_num_threads(before_); }

Product::Product(const Sizes& s, int workers) {
    const SingleThreaded guard;  // a primitive settles its threads when it is made
    const auto described = describe(s);
    weights_desc_ = described.weights_desc();
    primitive_ = dnnl::matmul(described);
    for (int i = 0; i < workers; ++i)
        workers_.push_back({dnnl::stream(cpu()), memory(described.src_desc(), cpu(), nullptr),
                            memory(weights_desc_, cpu(), nullptr),
                            memory(described.dst_desc(), cpu(), nullptr),
                            memory(described.scratchpad_desc(), cpu())});
}

void Product::execute(int worker, const float* x, const memory& weights, const memory* bias, float* y) {
    const SingleThreaded guard;
    Worker& w = workers_[static_cast<size_t>(worker)];
    w.x.set_data_handle(const_cast<float*>(x));
    w.y.set_data_handle(y);
    // The C call takes its arguments as an array; the C++ one would build a map on every product.
    const std::array<dnnl_exec_arg_t, 5> args{{{DNNL_ARG_SRC, w.x.get()},
                                               {DNNL_ARG_WEIGHTS, weights.get()},
                                               {DNNL_ARG_DST, w.y.get()},
                                               {DNNL_ARG_SCRATCHPAD, w.scratchpad.get()},
                                               {DNNL_ARG_BIAS, bias ? bias->get() : nullptr}}};
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(primitive_.get(), w.stream.get(), bias ? 5 : 4, args.data()),
        "could not execute a matrix product");
}

void Product::execute(int worker, const float* x, const float* weights, float* y) {
    const memory& w = workers_[static_cast<size_t>(worker)].w;
    w.set_data_handle(const_cast<float*>(weights));
    execute(worker, x, w, nullptr, y);
}

std::vector<int64_t> cut(int64_t count, int64_t pieces, int64_t unit) {
    const int64_t units = (count + unit - 1) / unit;
    pieces = std::clamp<int64_t>(pieces, 1, units);
    std::vector<int64_t> begins;
    for (int64_t i = 0; i < pieces; ++i) begins.push_back(i * units / pieces * unit);
    begins.push_back(count);
    return begins;
}

OneDnnGemm::OneDnnGemm(const Model& model, ThreadPool& pool) {
    const SingleThreaded guard;
    dnnl::stream stream(cpu());
    const Graph& graph = *model.graph;
    packed_.resize(graph.nodes.size());
    // Packed weights may take somewhat more than the tensors: what is too much comes from elsewhere.
    int64_t bytes = 0;
    for (const Node& node : graph.nodes)
        if (has_weights(node.op)) bytes += elements(model.weight(node.weight).shape) * 4 * 9 / 8;
    weights_ = std::make_unique<Arena>(bytes);
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
        const Node& node = graph.nodes[i];
        if (node.op != Op::linear && node.op != Op::patch_embed && node.op != Op::head) continue;
        const FloatTensor& weight = model.weight(node.weight);
        const int64_t cols = node.cols(), k = elements(weight.shape) / cols;

        // A piece per thread, two for one thread (oneDNN takes another way through the whole matrix than
        // through parts of it, with other last bits; parts of the usual sizes agree, so that the thread count
        // does not show): columns first, since then each thread reads only its own weights; rows where the
        // columns would get too few. The batch does not come in: every picture has the same products, and the
        // same bits.
        Packed& p = packed_[i];
        const int64_t parts = std::max(2, pool.size());
        const std::vector<int64_t> at = cut(cols, std::min(parts, std::max<int64_t>(1, cols / 64)), 16);
        const int64_t column_pieces = static_cast<int64_t>(at.size()) - 1;
        p.rows = cut(node.rows(),
                     std::min((parts + column_pieces - 1) / column_pieces, (node.rows() + 15) / 16), 1);
        for (size_t c = 0; c + 1 < at.size(); ++c) p.columns.push_back({at[c], at[c + 1], {}, {}});
        for (size_t r = 0; r + 1 < p.rows.size(); ++r) {
            p.products.emplace_back();
            for (const Columns& c : p.columns) {
                const Product::Sizes sizes{p.rows[r + 1] - p.rows[r], c.end - c.begin, k, k, cols, 0, 0,
                                           !node.bias.empty()};
                auto& product = products_[sizes];
                if (!product) product = std::make_unique<Product>(sizes, pool.size());
                p.products.back().push_back(product.get());
            }
        }
        for (size_t c = 0; c < p.columns.size(); ++c) {
            Columns& columns = p.columns[c];
            const int64_t n = columns.end - columns.begin;
            // [cols, k] as given is [k, cols] with strides swapped.
            memory given(matrix(k, n, 1, k), cpu(),
                         const_cast<float*>(weight.data.data() + columns.begin * k));
            const memory::desc& packed = p.products[0][c]->weights_desc();
            int8_t* const place = weights_->take(static_cast<int64_t>(packed.get_size()));
            columns.weights = place ? memory(packed, cpu(), place) : memory(packed, cpu());
            dnnl::reorder(given, columns.weights).execute(stream, given, columns.weights);
            if (!node.bias.empty())
                columns.bias =
                    memory(matrix(1, n, n, 1), cpu(),
                           const_cast<float*>(model.weight(node.bias).data.data() + columns.begin));
        }
    }
    stream.wait();
}

void OneDnnGemm::linear(const FloatArgs& a, const float* x, int64_t rows, int64_t k, Epilogue epilogue,
                        const float* residual, float* y) {
    const Packed& p = packed_[static_cast<size_t>(&a.node - a.model.graph->nodes.data())];
    const int64_t cols = a.node.cols(), row_pieces = static_cast<int64_t>(p.products.size());
    // Neighbouring jobs share their weights: pictures change fastest.
    const auto one = [&](int job) {
        const int64_t r = job / a.batch % row_pieces, picture = job % a.batch;
        const size_t column = static_cast<size_t>(job / a.batch / row_pieces);
        const Columns& c = p.columns[column];
        const int64_t begin = p.rows[static_cast<size_t>(r)], end = p.rows[static_cast<size_t>(r) + 1];
        const int64_t at = (picture * rows + begin) * cols + c.begin, n = c.end - c.begin;
        p.products[static_cast<size_t>(r)][column]->execute(ThreadPool::worker(),
                                                            x + (picture * rows + begin) * k, c.weights,
                                                            c.bias ? &*c.bias : nullptr, y + at);
        for (int64_t i = 0; i < end - begin && epilogue != Epilogue::none; ++i) {
            float* row = y + at + i * cols;
            if (epilogue == Epilogue::gelu)
                kernels().gelu(n, row, row);
            else
                kernels().add(n, row, residual + at + i * cols, row);
        }
    };
    const int jobs = static_cast<int>(a.batch * row_pieces * static_cast<int64_t>(p.columns.size()));
    // A single row (the head) stays on this thread: oneDNN 2.6 multiplies it by a routine that two threads
    // must not be in at once (measured: wrong logits for one picture of a batch of two on two threads).
    if (rows == 1)
        for (int job = 0; job < jobs; ++job) one(job);
    else
        a.pool->run(jobs, one);
}

Attention::Attention(int64_t tokens, int64_t heads, int64_t width, ThreadPool& pool)
    : tokens_(tokens), heads_(heads), width_(width), pool_(pool) {
    // Scores of a piece stay in the second level cache; the pieces of one picture spread evenly over the
    // threads.
    constexpr int64_t most_scores = 65536;
    int64_t pieces = (tokens * tokens + most_scores - 1) / most_scores;
    while (heads * pieces % pool.size() != 0 && heads * pieces < 4 * pool.size()) ++pieces;
    rows_ = cut(tokens, pieces, 1);
    const int64_t d = width / heads;
    int64_t most = 0;
    for (size_t i = 0; i + 1 < rows_.size(); ++i) {
        const int64_t m = rows_[i + 1] - rows_[i];
        most = std::max(most, m);
        const Product::Sizes logits{m, tokens, d, 3 * width, tokens, 1, 3 * width};
        const Product::Sizes context{m, d, tokens, tokens, width, 3 * width, 1};
        logits_.push_back(std::make_unique<Product>(logits, pool.size()));
        context_.push_back(std::make_unique<Product>(context, pool.size()));
    }
    scores_.assign(static_cast<size_t>(pool.size()), std::vector<float>(static_cast<size_t>(most * tokens)));
}

void Attention::run(int batch, const float* qkv, float* y) {
    const int64_t pieces = static_cast<int64_t>(logits_.size()), c = width_, d = width_ / heads_;
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
    pool_.run(static_cast<int>(batch * heads_ * pieces), [&](int job) {
        const size_t piece = static_cast<size_t>(job % pieces);
        const int64_t head = job / pieces % heads_, picture = job / pieces / heads_;
        const int64_t begin = rows_[piece], end = rows_[piece + 1];
        const float* q = qkv + picture * tokens_ * 3 * c + head * d;
        const int worker = ThreadPool::worker();
        float* scores = scores_[static_cast<size_t>(worker)].data();
        logits_[piece]->execute(worker, q + begin * 3 * c, q + c, scores);
        for (int64_t i = 0; i < end - begin; ++i)
            kernels().softmax(tokens_, scores + i * tokens_, scale, scores + i * tokens_);
        context_[piece]->execute(worker, scores, q + 2 * c, y + (picture * tokens_ + begin) * c + head * d);
    });
}

}  // namespace ivit::fp32
