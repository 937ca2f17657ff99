// SPDX-License-Identifier: Apache-2.0
// Every kernel in plain C++, for any parameters at all: what the vector kernels fall back on for the rare
// ones.
#include "engine/arithmetic.h"
#include "engine/backends/cpu/kernels.h"

namespace ivit::cpu {

void layernorm_moments(int64_t sum, int64_t squares, int64_t C, int64_t* mean, int64_t* f) {
    const int64_t mu = arith::floor_div(2 * sum + C, 2 * C);
    const int64_t v = squares - 2 * mu * sum + C * mu * mu;  // sum of (x - mu)^2, exactly
    const int64_t root = arith::isqrt(v);
    *mean = mu;
    *f = 0x7fffffff / (root < 1 ? 1 : root);
}

uint64_t shiftmax_reciprocal(uint64_t d, int M) {
    return static_cast<uint64_t>(arith::shift_reciprocal(static_cast<int64_t>(d), M));
}

void finish(const Kernels& k, const Finish& f) {
    for (int i = 0; i < f.lines; ++i) __builtin_prefetch(f.fetch + 64 * i, 0, 2);
    switch (f.to) {
        case Finish::To::nothing:
            break;
        case Finish::To::u8:
            k.requant_u8(f.acc, f.rows, f.cols, f.q, f.table, f.u8, f.ld);
            break;
        case Finish::To::i16:
            k.requant_i16(f.acc, f.rows, f.cols, f.q, f.i16, f.ld);
            break;
        case Finish::To::sum:
            k.residual_add(f.acc, f.rows, f.cols, f.q, f.stream, f.old, f.i16, f.ld);
            break;
        case Finish::To::shiftmax:
            f.logits->upper = k.shiftmax(f.logits->x, f.logits->ld, f.logits->rows, f.logits->n, f.logits->q,
                                         f.logits->low, f.logits->high, f.logits->groups);
            break;
    }
}

namespace {

void gemm_tile(const uint8_t* a, const UpperBytes* high, int64_t lda, const int8_t* b, int64_t k4,
               const int32_t* init, int rows, int width, int32_t* acc, const Finish& before) {
    finish(scalar_kernels, before);
    for (int r = 0; r < rows; ++r) {
        int32_t* y = acc + r * tile_cols;
        for (int c = 0; c < width; ++c) y[c] = 0;
        for (int plane = high ? 1 : 0; plane >= 0; --plane) {
            const uint8_t* x = (plane ? high->bytes : a) + r * lda;
            for (int64_t k = 0; k < k4; ++k) {
                const int8_t* w = b + k * width * 4;
                const int32_t x0 = x[4 * k], x1 = x[4 * k + 1], x2 = x[4 * k + 2], x3 = x[4 * k + 3];
                // Modulo 2^32, like the vector kernels: the shifted upper plane may pass it on the way.
                for (int c = 0; c < width; ++c)
                    y[c] = static_cast<int32_t>(static_cast<uint32_t>(y[c]) +
                                                static_cast<uint32_t>(x0 * w[4 * c] + x1 * w[4 * c + 1] +
                                                                      x2 * w[4 * c + 2] + x3 * w[4 * c + 3]));
            }
            if (plane)
                for (int c = 0; c < width; ++c) y[c] = static_cast<int32_t>(static_cast<uint32_t>(y[c]) << 8);
        }
        for (int c = 0; c < width; ++c)
            y[c] = static_cast<int32_t>(static_cast<uint32_t>(y[c]) + static_cast<uint32_t>(init[c]));
    }
}

void lift(int32_t* acc, int rows, int cols, const int32_t* lift) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) {
            int32_t& x = acc[r * tile_cols + c];
            const int32_t most = 0x7fffffff >> lift[c];
            x = static_cast<int32_t>(arith::clamp(x, -most, most)) * (1 << lift[c]);
        }
}

int32_t requant(int32_t acc, const RequantView& q, int c) {
    return static_cast<int32_t>(
        arith::clamp(arith::round_shift(static_cast<int64_t>(acc) * q.m[c], q.shift[c] + 32), q.lo, q.hi));
}

void requant_u8(const int32_t* acc, int rows, int cols, const RequantView& q, const uint8_t* table,
                uint8_t* out, int64_t ldo) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) {
            const auto y = static_cast<uint8_t>(requant(acc[r * tile_cols + c], q, c) + 128);
            out[r * ldo + c] = table ? table[y] : y;
        }
}

void requant_i16(const int32_t* acc, int rows, int cols, const RequantView& q, int16_t* out, int64_t ldo) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c)
            out[r * ldo + c] = static_cast<int16_t>(requant(acc[r * tile_cols + c], q, c));
}

void residual_add(const int32_t* acc, int rows, int cols, const RequantView& q, const ResidualView& old,
                  const int16_t* t, int16_t* out, int64_t ld) {
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) {
            const int64_t branch =
                arith::round_shift(static_cast<int64_t>(acc[r * tile_cols + c]) * q.m[c], q.shift[c] + 32);
            const int64_t stream = arith::round_shift(static_cast<int64_t>(t[r * ld + c]) * old.m, old.s);
            out[r * ld + c] = static_cast<int16_t>(arith::clamp(branch + stream, q.lo, q.hi));
        }
}

void layernorm(const int16_t* x, int64_t ldx, int64_t rows, int64_t C, const LayernormView& q, uint8_t* out) {
    for (int64_t r = 0; r < rows; ++r, x += ldx, out += C) {
        int64_t sum = 0, squares = 0, mean = 0, f = 0;
        for (int64_t c = 0; c < C; ++c) {
            sum += x[c];
            squares += static_cast<int64_t>(x[c]) * x[c];
        }
        layernorm_moments(sum, squares, C, &mean, &f);
        for (int64_t c = 0; c < C; ++c) {
            const int64_t y = ((x[c] - mean) * f) >> 1;
            const int64_t B = q.B[(c & ~int64_t{15}) + (c & 1) * 8 + (c & 15) / 2];
            out[c] =
                static_cast<uint8_t>(arith::clamp((y * q.m[c] + B) >> (q.shift[c] + 32), q.lo, q.hi) + 128);
        }
    }
}

bool shiftmax(const uint8_t* x, int64_t ld, int rows, int64_t n, const ShiftmaxView& q, uint8_t* low,
              uint8_t* high, uint64_t* /*groups*/) {
    uint8_t max[tile_rows] = {};
    int64_t f[tile_rows];
    bool upper = false;
    for (int r = 0; r < rows; ++r) {
        const uint8_t* row = x + r * ld;
        for (int64_t j = 0; j < n; ++j) max[r] = row[j] > max[r] ? row[j] : max[r];
        uint64_t d = 0;
        for (int64_t j = 0; j < n; ++j) d += q.e[max[r] - row[j]];
        f[r] = static_cast<int64_t>(shiftmax_reciprocal(d, q.M));
        // The greatest logit has the greatest share.
        upper = upper || arith::shift_share(static_cast<int64_t>(q.e[0]), f[r], q.M, q.k) > 255;
    }
    for (int r = 0; r < rows; ++r)
        for (int64_t j = 0; j < n; ++j) {
            const int64_t at = r * ld + j;
            const int64_t p = arith::shift_share(static_cast<int64_t>(q.e[max[r] - x[at]]), f[r], q.M, q.k);
            low[at] = static_cast<uint8_t>(p);
            if (upper) high[at] = static_cast<uint8_t>(p >> 8);
        }
    return upper;
}

void pack_k(const uint8_t* rows, int64_t ld, Part part, int64_t d, int8_t* panel, int width, int32_t* init) {
    const int64_t d4 = (d + 3) / 4;
    for (int j = part.first; j < part.end; ++j) {
        int32_t sum = 0;
        for (int64_t c = 0; c < d4 * 4; ++c) {
            const int x = j < part.last && c < d ? rows[j * ld + c] - 128 : 0;
            panel[(c / 4 * width + j) * 4 + c % 4] = static_cast<int8_t>(x);
            sum += x;
        }
        init[j] = -128 * sum;
    }
}

void pack_v(const uint8_t* rows, int64_t ld, Part part, int cols, int8_t* group, int width) {
    for (int c = 0; c < width; ++c)
        for (int j = part.first; j < part.end; ++j)
            group[c * 4 + j] = static_cast<int8_t>(j < part.last && c < cols ? rows[j * ld + c] - 128 : 0);
}

void lookup(const uint8_t* table, uint8_t* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = table[x[i]];
}

void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out) {
    for (int c = 0; c < 3; ++c)
        for (int64_t y = 0; y < p; ++y) {
            const uint8_t* from = pixels + y * stride + c;
            for (int64_t x = 0; x < p; ++x) *out++ = tables[c * 256 + from[3 * x]];
        }
}

void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi,
                  int16_t* out) {
    for (int64_t i = 0; i < n; ++i) {
        const int32_t y = constant[i] + (x ? x[i] : 0);
        out[i] = static_cast<int16_t>(y < lo ? lo : y > hi ? hi : y);
    }
}

}  // namespace

const Kernels scalar_kernels = {gemm_tile, lift,   requant_u8, requant_i16, residual_add, layernorm, shiftmax,
                                pack_k,    pack_v, lookup,     patch,       add_constant, nullptr,   0};

const Kernels& kernels(Isa isa) {
    switch (isa) {
        case Isa::avx512vnni:
            return avx512vnni_kernels();
        case Isa::avxvnni:
            return avxvnni_kernels();
        case Isa::avx2:
            return avx2_kernels();
        case Isa::scalar:
            break;
    }
    return scalar_kernels;
}

}  // namespace ivit::cpu
