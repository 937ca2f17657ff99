// SPDX-License-Identifier: Apache-2.0
// One kernel for logits, Shiftmax and context (arithmetic.md, Attention): K and V of a head on chip, a row's
// logits in registers from the first product to the last. The 16-bit probabilities go through the tensor
// cores as two planes of 8 bits.
#include "engine/backends/cuda/attention.cuh"
#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

constexpr int table_entries = 256;  // of exponentials in shared memory: logits of up to 8 bits

// D: bytes of a padded head. chunks: of 32 tokens that a warp holds. split: the warps of a block share 16
// queries and split the tokens (few queries, or many tokens); else each warp has 16 queries of its own and
// sees all tokens.
template <int D_, int chunks_, int warps_, bool split_>
struct Shape {
    static constexpr int D = D_, chunks = chunks_, warps = warps_;
    static constexpr bool split = split_;
    static constexpr int blocks = chunks > 4 ? (split ? 1 : 3) : 4;   // per multiprocessor, at least
    static constexpr int tokens = 32 * chunks * (split ? warps : 1);  // at most
    static size_t shared_bytes(int tokens_padded) {
        const size_t kv = 2 * static_cast<size_t>(tokens_padded) * D + table_entries * 4;
        return kv + (split ? static_cast<size_t>(warps) * (16 * 8 + 16 * D * 4) : 0);
    }
};

template <class S>
__global__ void __launch_bounds__(32 * S::warps, S::blocks) attention_kernel(const Attention p) {
    constexpr int D = S::D, N8 = 4 * S::chunks;  // N8: groups of 8 tokens a warp holds
    extern __shared__ __align__(128) uint8_t shared[];
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const int head = blockIdx.y, picture = blockIdx.z;
    const int padded = (p.tokens + 31) & ~31;
    uint8_t* const keys = shared;
    uint8_t* const values = keys + padded * D;
    uint32_t* const table = reinterpret_cast<uint32_t*>(values + padded * D);
    const int8_t* const qkv = p.qkv + static_cast<int64_t>(picture) * p.tokens * p.ld + head * D;
    const bool in_shared = p.entries <= table_entries;

    let_next_start();
    if (in_shared)
        for (int i = threadIdx.x; i < p.entries; i += blockDim.x) table[i] = __ldg(p.exponential + i);
    wait_for_inputs();
    for (int i = threadIdx.x; i < padded * (D / 16); i += blockDim.x) {
        const int c = i % (D / 16), r = i / (D / 16);
        const int8_t* from = qkv + static_cast<int64_t>(r < p.tokens ? r : 0) * p.ld + 16 * c;
        copy16(shared_address(keys) + swizzled_row<D>(r, c), from + p.heads * D, r < p.tokens);
        copy16(shared_address(values) + swizzled_row<D>(r, c), from + 2 * p.heads * D, r < p.tokens);
    }
    copy_commit();
    copy_wait<0>();
    __syncthreads();

    const int first = S::split ? warp * 32 * S::chunks : 0;  // token of this warp's first logit
    const int64_t r_logits = int64_t{1} << (p.s_logits - 1), r_context = int64_t{1} << (p.s_context - 1);
    const int shift = p.M - p.k + 1, low_shift = min(shift, 32), high_shift = max(shift - 32, 0);
    const uint32_t most = 1u << (p.k - 1);
    const int limit = p.tokens - first - 2 * t;  // this thread's columns 8j, 8j + 1 below it are tokens

    const int tiles = (p.tokens + 15) / 16;
    const int stride = S::split ? gridDim.x : gridDim.x * S::warps;
    for (int tile = S::split ? blockIdx.x : blockIdx.x * S::warps + warp; tile < tiles; tile += stride) {
        const int row[2] = {16 * tile + g, 16 * tile + g + 8};
        // x: logits, then exponentials, then probabilities of rows g (0, 1) and g + 8 (2, 3).
        int x[N8][4];
#pragma unroll
        for (int j = 0; j < N8; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) x[j][e] = 0;
#pragma unroll
        for (int kk = 0; kk < D / 32; ++kk) {
            uint32_t q[4];
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int i = row[e & 1];
                q[e] = i < p.tokens
                           ? *reinterpret_cast<const uint32_t*>(qkv + static_cast<int64_t>(i) * p.ld +
                                                                32 * kk + 16 * (e >> 1) + 4 * t)
                           : 0;
            }
#pragma unroll
            for (int j = 0; j < N8; j += 2) {
                if (first + 8 * j >= padded) break;
                uint32_t b[4];
                const int n = first + 8 * j + (lane & 7) + (lane >> 4) * 8;
                load_matrices(b, shared_address(keys) + swizzled_row<D>(n, 2 * kk + (lane >> 3 & 1)));
                mma_s8(x[j], q, b[0], b[1]);
                mma_s8(x[j + 1], q, b[2], b[3]);
            }
        }

        int greatest[2] = {INT32_MIN, INT32_MIN};
        const auto requantize = [&](const auto& scale) {
#pragma unroll
            for (int j = 0; j < N8; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const bool there = 8 * j + (e & 1) < limit;
                    x[j][e] = there ? scale(x[j][e]) : INT32_MIN;
                    greatest[e >> 1] = max(greatest[e >> 1], x[j][e]);
                }
        };
        if (p.s_logits >= least_attention_shift)
            requantize([&](int v) {
                return clamp32(scale_word(v, p.m_logits, r_logits, p.s_logits), p.low_logits, p.top_logits);
            });
        else
            requantize([&](int v) {
                return scale_clamped(v, p.m_logits, r_logits, p.s_logits, p.low_logits, p.top_logits);
            });
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            greatest[h] = max(greatest[h], __shfl_xor_sync(0xffffffff, greatest[h], 1));
            greatest[h] = max(greatest[h], __shfl_xor_sync(0xffffffff, greatest[h], 2));
        }
        int* const sums = reinterpret_cast<int*>(table + table_entries);  // split: [warps][16 * D]
        unsigned long long* const rows =
            reinterpret_cast<unsigned long long*>(sums + S::warps * 16 * D);  // [warps][16]
        if constexpr (S::split) {
            if (t == 0) {
                rows[warp * 16 + g] = static_cast<uint32_t>(greatest[0]);
                rows[warp * 16 + g + 8] = static_cast<uint32_t>(greatest[1]);
            }
            __syncthreads();
#pragma unroll
            for (int h = 0; h < 2; ++h)
                for (int w = 0; w < S::warps; ++w)
                    greatest[h] = max(greatest[h], static_cast<int>(rows[w * 16 + g + 8 * h]));
            __syncthreads();
        }

        uint64_t sum[2] = {0, 0};
        // Loads first, then selects: no branch between two loads. What is no token reads entry 0 and counts
        // nothing.
        const auto raise = [&](const auto& entry) {
#pragma unroll
            for (int j = 0; j < N8; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const bool there = 8 * j + (e & 1) < limit;
                    const uint32_t v = entry(there ? greatest[e >> 1] - x[j][e] : 0);
                    x[j][e] = static_cast<int>(there ? v : 0);
                    sum[e >> 1] += static_cast<uint32_t>(x[j][e]);
                }
        };
        if (in_shared)
            raise([&](int i) { return table[i]; });
        else
            raise([&](int i) { return __ldg(p.exponential + i); });
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            sum[h] += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum[h]), 1);
            sum[h] += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum[h]), 2);
        }
        if constexpr (S::split) {
            if (t == 0) {
                rows[warp * 16 + g] = sum[0];
                rows[warp * 16 + g + 8] = sum[1];
            }
            __syncthreads();
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                sum[h] = 0;
                for (int w = 0; w < S::warps; ++w) sum[h] += rows[w * 16 + g + 8 * h];
            }
        }
        // The four lanes of a row would divide the same numbers: even ones take row g, odd ones row g + 8.
        const uint32_t mine = quick_reciprocal(static_cast<int64_t>(t & 1 ? sum[1] : sum[0]), p.M);
        const uint32_t f[2] = {__shfl_sync(0xffffffff, mine, lane & ~3),
                               __shfl_sync(0xffffffff, mine, lane | 1)};

        // Probabilities, packed as the products want them: slots 4t .. 4t+3 of a chunk are its tokens 2t,
        // 2t+1, 8+2t, 9+2t, and 16 further on, so no value changes its thread.
        uint32_t low[S::chunks][4], high[S::chunks][4];
#pragma unroll
        for (int c = 0; c < S::chunks; ++c)
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    uint32_t pair[2];
#pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        uint32_t two[2];
#pragma unroll
                        for (int e = 0; e < 2; ++e) {
                            const uint64_t share = static_cast<uint64_t>(f[h]) *
                                                   static_cast<uint32_t>(x[4 * c + 2 * half + j][2 * h + e]);
                            two[e] = __funnelshift_rc(static_cast<uint32_t>(share),
                                                      static_cast<uint32_t>(share >> 32), low_shift) >>
                                     high_shift;
                            two[e] = min(two[e], most);
                        }
                        pair[j] = __byte_perm(two[0], two[1], 0x5410);
                    }
                    low[c][2 * half + h] = __byte_perm(pair[0], pair[1], 0x6420);
                    high[c][2 * half + h] = __byte_perm(pair[0], pair[1], 0x7531);
                }

        const auto put = [&](int d, const int(&ev)[4], const int(&od)[4]) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                if (row[h] >= p.tokens) continue;
                const int o[4] = {ev[2 * h], od[2 * h], ev[2 * h + 1], od[2 * h + 1]};
                int y[4];
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    y[e] = scale_clamped(o[e], p.m_context, r_context, p.s_context, p.low_context,
                                         p.top_context);
                *reinterpret_cast<uint32_t*>(p.out +
                                             (static_cast<int64_t>(picture) * p.tokens + row[h]) * p.ldo +
                                             head * D + 16 * d + 4 * t) = pack4(y[0], y[1], y[2], y[3]);
            }
        };
        // Sixteen dimensions at a time: even[] holds 4t + {0, 2} of rows g and g + 8, odd[] 4t + {1, 3}; the
        // high plane apart, as it counts 256 times.
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
            int even[4] = {}, odd[4] = {}, even_high[4] = {}, odd_high[4] = {};
#pragma unroll
            for (int c = 0; c < S::chunks; ++c) {
                if (first + 32 * c >= p.tokens) break;
                uint32_t v[4];
                load_matrices_transposed(v,
                                         shared_address(values) + swizzled_row<D>(first + 32 * c + lane, d));
                const uint32_t e0 = __byte_perm(v[0], v[1], 0x6420), e1 = __byte_perm(v[2], v[3], 0x6420);
                const uint32_t o0 = __byte_perm(v[0], v[1], 0x7531), o1 = __byte_perm(v[2], v[3], 0x7531);
                mma_u8(even, low[c], e0, e1);
                mma_u8(odd, low[c], o0, o1);
                mma_u8(even_high, high[c], e0, e1);
                mma_u8(odd_high, high[c], o0, o1);
            }
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                even[e] += even_high[e] * 256;
                odd[e] += odd_high[e] * 256;
            }
            if constexpr (S::split) {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    sums[warp * 16 * D + (d * 8 + e) * 32 + lane] = even[e];
                    sums[warp * 16 * D + (d * 8 + 4 + e) * 32 + lane] = odd[e];
                }
            } else {
                put(d, even, odd);
            }
        }
        if constexpr (S::split) {
            __syncthreads();
            for (int d = warp; d < D / 16; d += S::warps) {
                int ev[4] = {}, od[4] = {};
                for (int w = 0; w < S::warps; ++w)
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        ev[e] += sums[w * 16 * D + (d * 8 + e) * 32 + lane];
                        od[e] += sums[w * 16 * D + (d * 8 + 4 + e) * 32 + lane];
                    }
                put(d, ev, od);
            }
            __syncthreads();
        }
    }
}

// Calls f with the Shape for these heads and tokens; returns false when there is none.
template <class F>
bool with_shape(const Attention& p, const Launch& at, const F& f) {
    const int64_t tiles = static_cast<int64_t>((p.tokens + 15) / 16) * p.heads * p.batch;
    const bool few = tiles < 8 * static_cast<int64_t>(at.sms);
    const auto fits = [&]<class S>(S) {
        return S::D == p.padded && p.tokens <= S::tokens &&
               S::shared_bytes((p.tokens + 31) & ~31) <= at.shared_limit;
    };
    const auto attempt = [&]<class S>(S shape) { return fits(shape) && (f(shape), true); };
    if (!few && attempt(Shape<64, 7, 4, false>{})) return true;
    return attempt(Shape<64, 2, 4, true>{}) || attempt(Shape<64, 8, 8, true>{}) ||
           attempt(Shape<32, 8, 8, true>{}) || attempt(Shape<128, 8, 8, true>{});
}

template <class... S>
void allow(const Launch& at) {
    (allow_shared(attention_kernel<S>, at.shared_limit, at), ...);
}

}  // namespace

void prepare_attention(const Launch& at) {
    allow<Shape<64, 7, 4, false>, Shape<64, 2, 4, true>, Shape<64, 8, 8, true>, Shape<32, 8, 8, true>,
          Shape<128, 8, 8, true>>(at);
    prepare_attention_fast(at);
}

bool attention_fits(const Attention& p, const Launch& at) {
    return with_shape(p, at, [](auto) {});
}

void attention(const Attention& p, const Launch& at) {
    if (attention_fast(p, at)) return;
    with_shape(p, at, [&]<class S>(S) {
        const int tiles = (p.tokens + 15) / 16;
        const dim3 grid(static_cast<unsigned>(S::split ? tiles : 1), static_cast<unsigned>(p.heads),
                        static_cast<unsigned>(p.batch));
        start<Attention>(attention_kernel<S>, p, grid, dim3(32 * S::warps),
                         S::shared_bytes((p.tokens + 31) & ~31), at);
    });
}

}  // namespace ivit::cuda
