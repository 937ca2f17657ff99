// SPDX-License-Identifier: Apache-2.0
// The float backend's inner loops over rows, written once (kernels_impl.h) and compiled for three widths.
// Multiplies and adds are never fused and every sum has a fixed order, so all of them give the same bits:
// what Mode::exact and Mode::float_ops nodes of the integer backends need.
#pragma once
#include <cstdint>

namespace ivit::fp32 {

struct Kernels {
    // y[m, n] = sum over k of x[m, k] * b[k, n], plus bias[n] unless bias is null. Row m of x starts at x + m
    // * ldx, b[k, n] is b[k * b_k + n * b_n], row m of y starts at y + m * ldy. panel: scratch of k *
    // panel_width floats.
    void (*gemm)(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const float* b, int64_t b_k,
                 int64_t b_n, const float* bias, float* y, int64_t ldy, float* panel);
    // y[i] = softmax(scale * x)[i], i < n; y may be x. Accurate to about 2 units in the last place.
    void (*softmax)(int64_t n, const float* x, float scale, float* y);
    // y[i] = x[i] * (1 + erf(x[i] / sqrt(2))) / 2, i < n; y may be x. Absolute error below 2e-7 * max(1,
    // |x|).
    void (*gelu)(int64_t n, const float* x, float* y);
    // y = (x - mean) / sqrt(var + eps) * gamma + beta over n values; y may be x. Mean and variance in double.
    void (*layernorm)(int64_t n, const float* x, const float* gamma, const float* beta, float eps, float* y);
    // y[i] = a[i] + b[i]; y may be a or b.
    void (*add)(int64_t n, const float* a, const float* b, float* y);
};

constexpr int64_t panel_width = 32;

// Those of best_isa().
const Kernels& kernels();

// One each, for tests: do not call one the processor cannot run.
extern const Kernels kernels_baseline, kernels_avx2, kernels_avx512;

}  // namespace ivit::fp32
