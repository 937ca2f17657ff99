// SPDX-License-Identifier: Apache-2.0
// Every operator in FP32, one function and one file each. Tensors carry the batch in front: [batch,
// ...Node::shape].
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "engine/model.h"
#include "engine/thread_pool.h"

namespace ivit::fp32 {

struct FloatArgs;

// What a matrix product with weights is followed by, while its output is still in cache.
enum class Epilogue { none, gelu, residual };

// How products with weights are made. PlainGemm: deterministic loops. OneDnnGemm: oneDNN on weights packed at
// load.
class Gemm {
  public:
    virtual ~Gemm() = default;
    // y[batch, rows, cols] = epilogue(x[batch, rows, k] * weight[cols, k]^T + bias), weight and bias those of
    // a.node, rows those of y. residual: [batch, rows, cols], added when the epilogue says so; not y.
    virtual void linear(const FloatArgs& a, const float* x, int64_t rows, int64_t k, Epilogue epilogue,
                        const float* residual, float* y) = 0;
};

class PlainGemm : public Gemm {
  public:
    void linear(const FloatArgs& a, const float* x, int64_t rows, int64_t k, Epilogue epilogue,
                const float* residual, float* y) override;
};

struct FloatArgs {
    const Node& node;
    const Model& model;
    std::span<const FloatTensor* const> inputs;  // one per Node::inputs, each [batch, ...]
    FloatTensor& output;                         // of the right shape; data may be longer
    Gemm& gemm;
    ThreadPool* pool;  // null: the calling thread alone
    int batch;
    std::span<const uint8_t> pixels{};      // input: RGB bytes [batch, H, W, 3]
    std::vector<float>* scratch = nullptr;  // patch_embed: kept between runs; null: a vector of its own

    const float* in(size_t i) const { return inputs[i]->data.data(); }
    float* out() const { return output.data.data(); }
    // Last dimension of input i.
    int64_t in_cols(size_t i) const { return inputs[i]->shape.back(); }
    // Weight or bias by the name a node gives; null for an empty name.
    const float* weight(const std::string& name) const {
        return name.empty() ? nullptr : model.weight(name).data.data();
    }
};

#define X(name) void name(const FloatArgs& a);
IVIT_OPS(X)
#undef X

// The function above that belongs to a.node.op.
void run_op(const FloatArgs& a);

// Calls job(begin, end) over [0, count) in at most one piece per thread, none smaller than `least` but the
// last.
void parallel(ThreadPool* pool, int64_t count, int64_t least,
              const std::function<void(int64_t, int64_t)>& job);

}  // namespace ivit::fp32
