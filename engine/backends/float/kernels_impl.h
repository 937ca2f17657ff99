// SPDX-License-Identifier: Apache-2.0
// Body of the kernels, included once per instruction set with TILE_ROWS and TILE_VECTORS (of 16 floats)
// defined to fit its registers. Compiler vectors of 16 floats whatever the hardware's width, so that sums
// have one order everywhere. No standard headers but <cstddef> and <cstdint>: an inline function compiled
// here for a wide instruction set must never be the copy the linker keeps for the rest of the program.
#include <cstddef>
#include <cstdint>

#include "engine/backends/float/kernels.h"

#pragma GCC diagnostic ignored "-Wpsabi"

namespace ivit::fp32 {
namespace {

using V = float __attribute__((vector_size(64)));
using I = int32_t __attribute__((vector_size(64)));
using V8 = float __attribute__((vector_size(32)));
using D8 = double __attribute__((vector_size(64)));

#define IVIT_INLINE inline __attribute__((always_inline))

IVIT_INLINE V load(const float* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
IVIT_INLINE void store(float* p, const V& v) { __builtin_memcpy(p, &v, sizeof v); }
IVIT_INLINE V all(float x) { return V{} + x; }
// The first `n` < 16 of p, the rest `fill`.
IVIT_INLINE V load_tail(const float* p, int64_t n, float fill) {
    V v = all(fill);
    __builtin_memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(float));
    return v;
}
IVIT_INLINE void store_tail(float* p, const V& v, int64_t n) {
    __builtin_memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(float));
}

// y[R, 16 * C] = x[R, k] * panel[k, panel_width] + bias, of which `n` columns are stored.
template <int R, int C>
IVIT_INLINE void tile(int64_t k, const float* x, int64_t ldx, const float* panel, const float* bias, float* y,
                      int64_t ldy, int64_t n) {
    V acc[R][C] = {};
    for (int64_t i = 0; i < k; ++i, panel += panel_width) {
        V b[C];
        for (int c = 0; c < C; ++c) b[c] = load(panel + 16 * c);
        for (int r = 0; r < R; ++r) {
            const V a = all(x[r * ldx + i]);
            for (int c = 0; c < C; ++c) acc[r][c] += a * b[c];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
            const int64_t left = n - 16 * c;
            float* to = y + r * ldy + 16 * c;
            if (left >= 16)
                store(to, bias ? acc[r][c] + load(bias + 16 * c) : acc[r][c]);
            else if (left > 0)
                store_tail(to, bias ? acc[r][c] + load_tail(bias + 16 * c, left, 0) : acc[r][c], left);
        }
}

void gemm(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const float* b, int64_t b_k,
          int64_t b_n, const float* bias, float* y, int64_t ldy, float* panel) {
    for (int64_t n0 = 0; n0 < n; n0 += panel_width) {
        const int64_t width = n - n0 < panel_width ? n - n0 : panel_width;
        const float* from = b + n0 * b_n;
        for (int64_t i = 0; i < k; ++i)
            for (int64_t j = 0; j < panel_width; ++j)
                panel[i * panel_width + j] = j < width ? from[i * b_k + j * b_n] : 0.0f;
        const float* bias0 = bias ? bias + n0 : nullptr;
        for (int64_t m0 = 0; m0 < m;) {
            const float* x0 = x + m0 * ldx;
            float* y0 = y + m0 * ldy + n0;
            const bool full = m - m0 >= TILE_ROWS;
            for (int64_t c = 0; c * 16 < width; c += TILE_VECTORS) {
                const float* bias1 = bias0 ? bias0 + 16 * c : nullptr;
                if (full)
                    tile<TILE_ROWS, TILE_VECTORS>(k, x0, ldx, panel + 16 * c, bias1, y0 + 16 * c, ldy,
                                                  width - 16 * c);
                else
                    tile<1, TILE_VECTORS>(k, x0, ldx, panel + 16 * c, bias1, y0 + 16 * c, ldy,
                                          width - 16 * c);
            }
            m0 += full ? TILE_ROWS : 1;
        }
    }
}

// e^x for x <= 88, to about 1 unit in the last place: 2^n * p(r), x = n ln 2 + r (Cephes' expf). Below -80 it
// stays at e^-80, which no sum beside 1 notices and which is far from the denormal numbers that slow
// everything.
IVIT_INLINE V exp(const V& y) {
    const V x = y > all(-80.0f) ? y : all(-80.0f);
    const V magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const V shifted = x * all(1.44269504f) + magic;
    const V n = shifted - magic;
    const V r = (x - n * all(0.693359375f)) - n * all(-2.12194440e-4f);
    V p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    p = p * r * r + r + all(1.0f);
    const I exponent = (reinterpret_cast<I>(shifted) - 0x4B400000 + 127) << 23;
    return p * reinterpret_cast<V>(exponent);
}

IVIT_INLINE V max(const V& a, const V& b) { return a > b ? a : b; }

void softmax(int64_t n, const float* x, float scale, float* y) {
    if (n < 16) {  // through a row of 16: e^-80 of the rest is nothing beside the sum
        float row[16];
        for (int64_t i = 0; i < 16; ++i) row[i] = i < n ? x[i] * scale : -3.0e38f;
        softmax(16, row, 1.0f, row);
        __builtin_memcpy(y, row, static_cast<std::size_t>(n) * sizeof(float));
        return;
    }
    // The last vector of a row overlaps the one before it. It is loaded before y, which may be x, is written,
    // and only its lanes from `fresh` on count for the sum.
    const int64_t last = n - 16;
    const int32_t fresh = static_cast<int32_t>((16 - n % 16) % 16);
    const V s = all(scale), end = load(x + last) * s;
    V top = end;
    for (int64_t i = 0; i < last; i += 16) top = max(top, load(x + i) * s);
    float most = top[0];
    for (int j = 1; j < 16; ++j) most = top[j] > most ? top[j] : most;

    const V m = all(most), end_e = exp(end - m);
    V sum{};
    for (int64_t i = 0; i < last; i += 16) {
        const V e = exp(load(x + i) * s - m);
        sum += e;
        store(y + i, e);
    }
    const I lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    sum += reinterpret_cast<V>(reinterpret_cast<I>(end_e) & (lane >= fresh));
    double total = 0;
    for (int j = 0; j < 16; ++j) total += static_cast<double>(sum[j]);
    const V inverse = all(static_cast<float>(1.0 / total));
    for (int64_t i = 0; i < last; i += 16) store(y + i, load(y + i) * inverse);
    store(y + last, end_e * inverse);
}

// erf as a quotient of polynomials on [-4, 4], beyond which it is 1 in single precision (Eigen's
// generic_fast_erf_float).
IVIT_INLINE V gelu(const V& x) {
    V z = x * all(0.70710678f);
    z = z < all(4.0f) ? z : all(4.0f);
    z = z > all(-4.0f) ? z : all(-4.0f);
    const V s = z * z;
    V p = all(-2.72614225801306e-10f);
    p = p * s + all(2.77068142495902e-08f);
    p = p * s + all(-2.10102402082508e-06f);
    p = p * s + all(-5.69250639462346e-05f);
    p = p * s + all(-7.34990630326855e-04f);
    p = p * s + all(-2.95459980854025e-03f);
    p = p * s + all(-1.60960333262415e-02f);
    V q = all(-1.45660718464996e-05f);
    q = q * s + all(-2.13374055278905e-04f);
    q = q * s + all(-1.68282697438203e-03f);
    q = q * s + all(-7.37332916720468e-03f);
    q = q * s + all(-1.42647390514189e-02f);
    const V half = x * all(0.5f);
    return half + half * (z * p / q);
}

void gelu(int64_t n, const float* x, float* y) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(y + i, gelu(load(x + i)));
    if (i < n) store_tail(y + i, gelu(load_tail(x + i, n - i, 0)), n - i);
}

IVIT_INLINE D8 load8(const float* p) {
    V8 v;
    __builtin_memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, D8);
}
IVIT_INLINE double sum(const D8& v) {
    double total = 0;
    for (int j = 0; j < 8; ++j) total += v[j];
    return total;
}

void layernorm(int64_t n, const float* x, const float* gamma, const float* beta, float eps, float* y) {
    D8 sums{};
    double rest = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) sums += load8(x + i);
    for (; i < n; ++i) rest += static_cast<double>(x[i]);
    const double mean = (sum(sums) + rest) / static_cast<double>(n);

    D8 squares{};
    rest = 0;
    for (i = 0; i + 8 <= n; i += 8) {
        const D8 d = load8(x + i) - mean;
        squares += d * d;
    }
    for (; i < n; ++i) rest += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
    const double variance = (sum(squares) + rest) / static_cast<double>(n);
    const float inverse = static_cast<float>(1.0 / __builtin_sqrt(variance + static_cast<double>(eps)));

    const float m = static_cast<float>(mean);
    for (i = 0; i + 16 <= n; i += 16)
        store(y + i, (load(x + i) - m) * inverse * load(gamma + i) + load(beta + i));
    for (; i < n; ++i) y[i] = (x[i] - m) * inverse * gamma[i] + beta[i];
}

void add(int64_t n, const float* a, const float* b, float* y) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(y + i, load(a + i) + load(b + i));
    for (; i < n; ++i) y[i] = a[i] + b[i];
}

#undef IVIT_INLINE

}  // namespace
}  // namespace ivit::fp32
