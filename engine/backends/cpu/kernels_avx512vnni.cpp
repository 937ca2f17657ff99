// SPDX-License-Identifier: Apache-2.0
// AVX-512 VNNI: tables and patches, and the set of all kernels.
#include "engine/backends/cpu/avx512vnni.h"

namespace ivit::cpu {
namespace avx512 {
// A table of 256 bytes, looked up 64 at a time. `vbmi`: Zen 4, Ice Lake and later.
namespace {

__attribute__((target("avx512vbmi"))) void lookup_vbmi(const uint8_t* table, uint8_t* x, int64_t n) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (int64_t i = 0; i < n; i += 64) {
        const __mmask64 valid = lanes64(n - i);
        const __m512i u = _mm512_maskz_loadu_epi8(valid, x + i);
        const __m512i low = _mm512_permutex2var_epi8(t0, u, t1), high = _mm512_permutex2var_epi8(t2, u, t3);
        _mm512_mask_storeu_epi8(x + i, valid, _mm512_mask_blend_epi8(_mm512_movepi8_mask(u), low, high));
    }
}

void lookup_plain(const uint8_t* table, uint8_t* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = table[x[i]];
}

}  // namespace

void lookup(const uint8_t* table, uint8_t* x, int64_t n) {
    has_vbmi() ? lookup_vbmi(table, x, n) : lookup_plain(table, x, n);
}

// ---- Patches ----

namespace {

// Four rows of 16 pixels at a time: 48 interleaved bytes to 16 of each colour, then through the colour's
// table.
__attribute__((target("avx512vbmi"))) void patch16_vbmi(const uint8_t* pixels, int64_t stride,
                                                        const uint8_t* tables, uint8_t* out) {
    alignas(64) uint8_t order[64] = {};
    for (int c = 0; c < 3; ++c)
        for (int x = 0; x < 16; ++x) order[c * 16 + x] = static_cast<uint8_t>(3 * x + c);
    const __m512i planar = _mm512_load_si512(order);
    const __mmask64 valid = (__mmask64{1} << 48) - 1;
    for (int y = 0; y < 16; y += 4) {
        __m512i r[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
            r[i] = _mm512_permutexvar_epi8(planar, _mm512_maskz_loadu_epi8(valid, pixels + (y + i) * stride));
        const __m512i r0 = _mm512_shuffle_i32x4(r[0], r[1], 0x44),
                      r1 = _mm512_shuffle_i32x4(r[0], r[1], 0xEE);
        const __m512i r2 = _mm512_shuffle_i32x4(r[2], r[3], 0x44),
                      r3 = _mm512_shuffle_i32x4(r[2], r[3], 0xEE);
        const __m512i colour[3] = {_mm512_shuffle_i32x4(r0, r2, 0x88), _mm512_shuffle_i32x4(r0, r2, 0xDD),
                                   _mm512_shuffle_i32x4(r1, r3, 0x88)};
#pragma GCC unroll 3
        for (int c = 0; c < 3; ++c) {
            const uint8_t* t = tables + c * 256;
            const __m512i low =
                _mm512_permutex2var_epi8(_mm512_loadu_si512(t), colour[c], _mm512_loadu_si512(t + 64));
            const __m512i high =
                _mm512_permutex2var_epi8(_mm512_loadu_si512(t + 128), colour[c], _mm512_loadu_si512(t + 192));
            _mm512_storeu_si512(out + c * 256 + y * 16,
                                _mm512_mask_blend_epi8(_mm512_movepi8_mask(colour[c]), low, high));
        }
    }
}

}  // namespace

void patch(const uint8_t* pixels, int64_t stride, int64_t p, const uint8_t* tables, uint8_t* out) {
    if (p != 16 || !has_vbmi()) return scalar_kernels.patch(pixels, stride, p, tables, out);
    patch16_vbmi(pixels, stride, tables, out);
}

void add_constant(const int16_t* x, const int16_t* constant, int64_t n, int32_t lo, int32_t hi,
                  int16_t* out) {
    const __m512i low = _mm512_set1_epi16(static_cast<int16_t>(lo)),
                  high = _mm512_set1_epi16(static_cast<int16_t>(hi));
    for (int64_t i = 0; i < n; i += 32) {
        const auto valid = static_cast<__mmask32>(lanes64(n - i));
        __m512i y = _mm512_maskz_loadu_epi16(valid, constant + i);
        if (x) y = _mm512_adds_epi16(y, _mm512_maskz_loadu_epi16(valid, x + i));
        _mm512_mask_storeu_epi16(out + i, valid, _mm512_min_epi16(_mm512_max_epi16(y, low), high));
    }
}

}  // namespace avx512

const Kernels& avx512vnni_kernels() {
    static const Kernels k = {avx512::gemm_tile,     avx512::lift,
                              avx512::requant_u8,    avx512::requant_i16,
                              avx512::residual_add,  avx512::layernorm,
                              avx512::shiftmax,      avx512::pack_k,
                              avx512::pack_v,        avx512::lookup,
                              avx512::patch,         avx512::add_constant,
                              avx512::multiply_only, 12 * 64};
    return k;
}

}  // namespace ivit::cpu
