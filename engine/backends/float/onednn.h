// SPDX-License-Identifier: Apache-2.0
// oneDNN's products, one thread each: the network's own pool spreads the work. oneDNN's OpenMP threads would
// go on spinning after every product and disturb whatever runs next (the integer network, in a benchmark that
// alternates).
#pragma once
#include <array>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <vector>

#include "engine/arena.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// Makes the calling thread's OpenMP region one thread wide for as long as it lives.
class SingleThreaded {
  public:
    SingleThreaded();
    ~SingleThreaded();
    SingleThreaded(const SingleThreaded&) = delete;
    SingleThreaded& operator=(const SingleThreaded&) = delete;

  private:
    int before_;
};

// y[m, n] = x[m, k] * w[k, n] (+ bias[n]) for one set of sizes and strides. Rows of x are ldx floats apart,
// of y ldy.
class Product {
  public:
    struct Sizes {
        int64_t m, n, k, ldx, ldy;
        // Distance of w's neighbours along k and n; both 0: packed, in the order oneDNN likes best.
        int64_t w_k = 0, w_n = 0;
        bool bias = false;
        auto operator<=>(const Sizes&) const = default;
    };
    // workers: of the pool that will call execute().
    Product(const Sizes& sizes, int workers);

    const dnnl::memory::desc& weights_desc() const { return weights_desc_; }

    // Packed weights; bias null where Sizes::bias is false. On the pool's thread `worker`.
    void execute(int worker, const float* x, const dnnl::memory& weights, const dnnl::memory* bias, float* y);
    // Weights where they lie.
    void execute(int worker, const float* x, const float* weights, float* y);

  private:
    struct Worker {
        dnnl::stream stream;
        dnnl::memory x, w, y, scratchpad;
    };
    dnnl::memory::desc weights_desc_;
    dnnl::matmul primitive_;
    std::vector<Worker> workers_;
};

// The products of a network with its weights, packed at construction.
class OneDnnGemm : public Gemm {
  public:
    // pool: the one `linear` will be called with.
    OneDnnGemm(const Model& model, ThreadPool& pool);
    void linear(const FloatArgs& a, const float* x, int64_t rows, int64_t k, Epilogue epilogue,
                const float* residual, float* y) override;

  private:
    // A node's output is cut into pieces of columns, each with weights of its own, and of rows.
    struct Columns {
        int64_t begin, end;
        dnnl::memory weights;
        std::optional<dnnl::memory> bias;
    };
    struct Packed {
        std::vector<Columns> columns;
        std::vector<int64_t> rows;                    // where each piece begins, then the end
        std::vector<std::vector<Product*>> products;  // [row piece][column piece]
    };
    std::unique_ptr<Arena> weights_;
    std::map<Product::Sizes, std::unique_ptr<Product>> products_;  // shared by nodes of one shape
    std::vector<Packed> packed_;                                   // per node; empty without a weight matrix
};

// attn_logits, softmax and attn_context of one layer in one go, a few rows of one head at a time: no buffer
// of [tokens, tokens]. qkv [batch, tokens, 3 C] -> y [batch, tokens, C].
class Attention {
  public:
    Attention(int64_t tokens, int64_t heads, int64_t width, ThreadPool& pool);
    void run(int batch, const float* qkv, float* y);

  private:
    int64_t tokens_, heads_, width_;
    ThreadPool& pool_;
    std::vector<int64_t> rows_;  // where each piece of query rows begins, then the end
    std::vector<std::unique_ptr<Product>> logits_, context_;  // per piece
    std::vector<std::vector<float>> scores_;                  // per worker: [rows of a piece, tokens]
};

// count cut into `pieces` as even as multiples of `unit` allow: where each begins, then count.
std::vector<int64_t> cut(int64_t count, int64_t pieces, int64_t unit);

}  // namespace ivit::fp32
