// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt, which is loaded when the first float opponent is made: the program neither
// links nor needs it. Declared here is the little of NVIDIA's C interface that is used (versions 12 and 13).
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/backends/cuda_float/kernels.h"
#include "engine/backends/cuda_float/network.h"

namespace ivit::cuda_float {

// Empty when the library is there, else why not, in one sentence.
std::string cublaslt_absent();

// A handle on the present device.
class CublasLt {
  public:
    CublasLt();  // throws Error where cublaslt_absent() says something
    ~CublasLt();
    CublasLt(const CublasLt&) = delete;
    CublasLt& operator=(const CublasLt&) = delete;
    void* handle() const { return handle_; }

  private:
    void* handle_ = nullptr;
};

// Of one product: y [rows, n] = x [rows, k] . w [n, k]^T (+ bias [n]) (+ add [rows, n]), all dense but for x,
// w and their rows' stride ld >= k.
struct ProductShape {
    int64_t rows = 0, n = 0, k = 0, ld = 0;
    bool bias = false, add = false, tanh_gelu = false;
    Type out = Type::f32;  // of y, bias and add
    auto operator<=>(const ProductShape&) const = default;
};

constexpr size_t cublaslt_workspace = size_t{32} << 20;  // bytes, what NVIDIA advises for sm_90

// One way to compute a product, cublasLtMatmulAlgo_t.
struct Algorithm {
    uint64_t data[8] = {};
};

// A product of one shape, ready to be enqueued; weights, bias and activations are given with each call.
class Product {
  public:
    Product(const CublasLt& lt, const ProductShape& shape, Precision precision);
    ~Product();
    Product(const Product&) = delete;
    Product& operator=(const Product&) = delete;

    struct Operands {
        const void *x = nullptr, *w = nullptr, *bias = nullptr, *add = nullptr;
        void* y = nullptr;
    };
    // Chooses among what cuBLASLt proposes by the clock: each is run on these operands. Blocks.
    void tune(const Operands& o, void* workspace, cudaStream_t stream);
    // tune() first.
    void enqueue(const Operands& o, void* workspace, cudaStream_t stream) const;

  private:
    int run(const Operands& o, const Algorithm& algorithm, void* workspace, cudaStream_t stream) const;
    std::vector<Algorithm> proposals(const Operands& o) const;  // cuBLASLt's, the likeliest first
    // 0 where it fails, or where its first run is so far from `best` (0: none yet) that it is not measured.
    double median_ms(const Operands& o, const Algorithm& algorithm, double best, void* workspace,
                     cudaStream_t stream) const;

    const CublasLt& lt_;
    ProductShape shape_;
    void *operation_ = nullptr, *w_ = nullptr, *x_ = nullptr, *y_ = nullptr;  // cuBLASLt's descriptions
    Algorithm algorithm_;
};

}  // namespace ivit::cuda_float
