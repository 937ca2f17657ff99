// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda_float/cublaslt.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

#include "engine/backends/cuda/capture.h"

namespace ivit::cuda_float {
namespace {

using cuda::Event;

// ---- NVIDIA's interface, by its numbers; compared with its header where that is.
constexpr int success = 0, allocation_failed = 3;
constexpr int real_32f = 0, real_16f = 2;                    // cudaDataType_t
constexpr int compute_32f = 68, compute_32f_fast_tf32 = 77;  // cublasComputeType_t
constexpr int desc_transpose_a = 3, desc_epilogue = 7, desc_bias_pointer = 8;
constexpr int transpose = 1;
constexpr int epilogue_default = 1, epilogue_bias = 4, epilogue_gelu_bias = 36;
constexpr int preference_workspace = 1, preference_alignment_a = 5;  // a, b, c, d

struct Heuristic {  // cublasLtMatmulHeuristicResult_t
    Algorithm algorithm;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

#if __has_include(<cublasLt.h>)
static_assert(success == CUBLAS_STATUS_SUCCESS && allocation_failed == CUBLAS_STATUS_ALLOC_FAILED);
static_assert(real_32f == CUDA_R_32F && real_16f == CUDA_R_16F);
static_assert(compute_32f == CUBLAS_COMPUTE_32F && compute_32f_fast_tf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(desc_transpose_a == CUBLASLT_MATMUL_DESC_TRANSA && transpose == CUBLAS_OP_T);
static_assert(desc_epilogue == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(desc_bias_pointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(epilogue_default == CUBLASLT_EPILOGUE_DEFAULT && epilogue_bias == CUBLASLT_EPILOGUE_BIAS);
static_assert(epilogue_gelu_bias == CUBLASLT_EPILOGUE_GELU_BIAS);
static_assert(preference_workspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(preference_alignment_a == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(sizeof(Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(Heuristic, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
#endif

struct Library {
    std::string absent;
    const char* (*status_name)(int);
    int (*create)(void**);
    int (*destroy)(void*);
    int (*matmul)(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*,
                  void*, void*, void*, const Algorithm*, void*, size_t, cudaStream_t);
    int (*heuristic)(void*, void*, void*, void*, void*, void*, void*, int, Heuristic*, int*);
    int (*operation_create)(void**, int, int);
    int (*operation_set)(void*, int, const void*, size_t);
    int (*operation_destroy)(void*);
    int (*layout_create)(void**, int, uint64_t, uint64_t, int64_t);
    int (*layout_destroy)(void*);
    int (*preference_create)(void**);
    int (*preference_set)(void*, int, const void*, size_t);
    int (*preference_destroy)(void*);

    Library() {
        void* library = nullptr;
        for (const char* name :
             {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
              "/usr/local/cuda/lib64/libcublasLt.so.12"})
            if ((library = dlopen(name, RTLD_NOW | RTLD_LOCAL))) break;
        if (!library) {
            absent =
                "the cuBLASLt library is not on this machine (libcublasLt.so.13 or .12, part of the CUDA "
                "toolkit)";
            return;
        }
        const auto find = [&](auto& function, const char* name) {
            void* address = dlsym(library, name);
            if (!address) absent = std::string("the cuBLASLt library on this machine has no ") + name;
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
        };
        find(status_name, "cublasLtGetStatusName");
        find(create, "cublasLtCreate");
        find(destroy, "cublasLtDestroy");
        find(matmul, "cublasLtMatmul");
        find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
        find(operation_create, "cublasLtMatmulDescCreate");
        find(operation_set, "cublasLtMatmulDescSetAttribute");
        find(operation_destroy, "cublasLtMatmulDescDestroy");
        find(layout_create, "cublasLtMatrixLayoutCreate");
        find(layout_destroy, "cublasLtMatrixLayoutDestroy");
        find(preference_create, "cublasLtMatmulPreferenceCreate");
        find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
        find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    }
};

const Library& library() {
    static const Library loaded;
    return loaded;
}

[[noreturn]] void fail(int status, const char* expression, int line) {
    const std::string name = library().status_name(status);
    throw Error(
        status == allocation_failed ? "the GPU has not enough free memory" : "cuBLASLt failed (" + name + ")",
        "cuda", "cublaslt.cpp:" + std::to_string(line) + ": " + expression + ": " + name);
}

#define IVIT_LT_CHECK(expression)                                             \
    do {                                                                      \
        const int ivit_status = (expression);                                 \
        if (ivit_status != success) fail(ivit_status, #expression, __LINE__); \
    } while (0)

template <class T>
void set(void* operation, int attribute, const T& value) {
    IVIT_LT_CHECK(library().operation_set(operation, attribute, &value, sizeof value));
}

}  // namespace

std::string cublaslt_absent() { return library().absent; }

CublasLt::CublasLt() {
    if (!library().absent.empty()) throw Error(library().absent, "cuda");
    IVIT_LT_CHECK(library().create(&handle_));
}

CublasLt::~CublasLt() { library().destroy(handle_); }

// Ours lie row by row, cuBLASLt's column by column: y^T [n, rows] = w [n, k] . x^T [k, rows], where w read by
// columns is [k, n] and is transposed.
Product::Product(const CublasLt& lt, const ProductShape& shape, Precision precision)
    : lt_(lt), shape_(shape) {
    const Library& l = library();
    const int in = precision == Precision::fp16 ? real_16f : real_32f;
    const int out = shape.out == Type::f16 ? real_16f : real_32f;
    IVIT_LT_CHECK(l.operation_create(
        &operation_, precision == Precision::tf32 ? compute_32f_fast_tf32 : compute_32f, real_32f));
    set(operation_, desc_transpose_a, transpose);
    set(operation_, desc_epilogue,
        shape.tanh_gelu ? epilogue_gelu_bias
        : shape.bias    ? epilogue_bias
                        : epilogue_default);
    const auto n = static_cast<uint64_t>(shape.n), rows = static_cast<uint64_t>(shape.rows),
               k = static_cast<uint64_t>(shape.k);
    IVIT_LT_CHECK(l.layout_create(&w_, in, k, n, shape.ld));
    IVIT_LT_CHECK(l.layout_create(&x_, in, k, rows, shape.ld));
    IVIT_LT_CHECK(l.layout_create(&y_, out, n, rows, shape.n));
}

Product::~Product() {
    const Library& l = library();
    for (void* layout : {w_, x_, y_})
        if (layout) l.layout_destroy(layout);
    if (operation_) l.operation_destroy(operation_);
}

int Product::run(const Operands& o, const Algorithm& algorithm, void* workspace, cudaStream_t stream) const {
    const float one = 1, beta = shape_.add ? 1 : 0;
    if (shape_.bias) set(operation_, desc_bias_pointer, o.bias);
    return library().matmul(lt_.handle(), operation_, &one, o.w, w_, o.x, x_, &beta, shape_.add ? o.add : o.y,
                            y_, o.y, y_, &algorithm, workspace, cublaslt_workspace, stream);
}

void Product::enqueue(const Operands& o, void* workspace, cudaStream_t stream) const {
    IVIT_LT_CHECK(run(o, algorithm_, workspace, stream));
}

std::vector<Algorithm> Product::proposals(const Operands& o) const {
    const Library& l = library();
    constexpr int most = 16;
    Heuristic found[most] = {};
    int count = 0;
    if (shape_.bias) set(operation_, desc_bias_pointer, o.bias);
    void* preference = nullptr;
    IVIT_LT_CHECK(l.preference_create(&preference));
    int status =
        l.preference_set(preference, preference_workspace, &cublaslt_workspace, sizeof cublaslt_workspace);
    const void* operands[4] = {o.w, o.x, shape_.add ? o.add : o.y, o.y};
    for (int i = 0; i < 4; ++i) {
        uint32_t alignment = 256;
        while (reinterpret_cast<uintptr_t>(operands[i]) % alignment != 0) alignment /= 2;
        if (status == success)
            status = l.preference_set(preference, preference_alignment_a + i, &alignment, sizeof alignment);
    }
    if (status == success)
        status = l.heuristic(lt_.handle(), operation_, w_, x_, y_, y_, preference, most, found, &count);
    l.preference_destroy(preference);
    if (status != success) fail(status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
    std::vector<Algorithm> algorithms;
    for (int i = 0; i < count; ++i)
        if (found[i].status == success) algorithms.push_back(found[i].algorithm);
    return algorithms;
}

double Product::median_ms(const Operands& o, const Algorithm& algorithm, double best, void* workspace,
                          cudaStream_t stream) const {
    Event begin, end;
    int failed = success;
    const auto once = [&] {
        if (failed == success) failed = run(o, algorithm, workspace, stream);
    };
    const auto timed = [&](const auto& work) {
        begin.record(stream);
        work();
        end.record(stream);
        IVIT_CUDA_CHECK(cudaStreamSynchronize(stream));
        return end.since(begin);
    };
    // The first run loads the kernel, the second says how long it takes.
    once();
    if (failed != success) return 0;
    const double rough = timed(once);
    if (failed != success || (best > 0 && rough > 3 * best && rough > 0.1)) return 0;
    // Short ones are repeated in a graph, as the network runs them: a loop of calls would measure the calls.
    constexpr int rounds = 5;
    const int repeats = rough > 0.5 ? 1 : 20;
    std::vector<double> ms;
    if (repeats == 1) {
        for (int r = 0; r < rounds; ++r) ms.push_back(timed(once));
    } else {
        const auto graph = cuda::capture(stream, [&] {
            for (int r = 0; r < repeats; ++r) once();
        });
        graph.launch(stream);
        for (int r = 0; r < rounds; ++r) ms.push_back(timed([&] { graph.launch(stream); }) / repeats);
    }
    std::nth_element(ms.begin(), ms.begin() + rounds / 2, ms.end());
    return failed == success ? ms[rounds / 2] : 0;
}

void Product::tune(const Operands& o, void* workspace, cudaStream_t stream) {
    double best = 0;
    for (const Algorithm& algorithm : proposals(o)) {
        const double ms = median_ms(o, algorithm, best, workspace, stream);
        if (ms > 0 && (best == 0 || ms < best)) {
            best = ms;
            algorithm_ = algorithm;
        }
    }
    if (best == 0)
        throw Error("cuBLASLt has no kernel for a product of [" + std::to_string(shape_.rows) + ", " +
                        std::to_string(shape_.k) + "] with [" + std::to_string(shape_.n) + ", " +
                        std::to_string(shape_.k) + "]",
                    "cuda");
}

}  // namespace ivit::cuda_float
