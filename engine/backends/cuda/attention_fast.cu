// SPDX-License-Identifier: Apache-2.0
// The attention kernel for what networks usually ask: logits of up to 8 bits and a Shiftmax whose shares are
// the high word of a 32-bit product (M - k = 31). The same integers as attention.cu in a third of the
// instructions: logits travel as bytes, four to a word, whose places in the exponentials' table are one dot
// product each; that table has a copy for every eighth lane; and only the last tokens are masked.
#include <type_traits>

#include "engine/backends/cuda/attention.cuh"
#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

// As in attention.cu. Where a warp sees all tokens there are more than 32 * (chunks - 1) of them, and a block
// has `heads` heads of a picture (or what is left of them), so that its warps have nearly equally many tiles.
template <int D_, int chunks_, int warps_, bool split_, int blocks_, int heads_>
struct Shape {
    static constexpr int D = D_, chunks = chunks_, warps = warps_, blocks = blocks_, heads = heads_;
    static constexpr bool split = split_;
    static constexpr int tokens = 32 * chunks * (split ? warps : 1);  // at most
    static constexpr int least_tokens = split ? 1 : 32 * (chunks - 1) + 1;
    static size_t shared_bytes(int tokens_padded) {
        const size_t kv = 2 * static_cast<size_t>(tokens_padded) * D;
        return heads * kv + exponential_bytes +
               (split ? static_cast<size_t>(warps) * (16 * 8 + 16 * D * 4) : 0);
    }
};

using Some = Shape<64, 3, 4, false, 4, 1>;
using Many = Shape<64, 7, 4, false, 4, 1>;
using ManyHeads = Shape<64, 7, 8, false, 2, 3>;  // where two such blocks fit
using Split1 = Shape<64, 1, 4, true, 4, 1>;
using Split2 = Shape<64, 2, 4, true, 4, 1>;

// Four integers to a byte each, the first lowest; below 0 and above 255 they saturate.
__device__ __forceinline__ uint32_t pack_u8(int a, int b, int c, int d) {
    uint32_t upper, all;
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(d), "r"(c));
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(b), "r"(a), "r"(upper));
    return all;
}
// base - entry_bytes * byte e of four.
__device__ __forceinline__ uint32_t entry_below(uint32_t base, uint32_t four, int e) {
    uint32_t at;
    asm("dp4a.u32.s32 %0, %1, %2, %3;"
        : "=r"(at)
        : "r"(four), "r"(static_cast<uint32_t>(256 - entry_bytes) << 8 * e), "r"(base));
    return at;
}

// bytes: logits fill 8 bits, and a thread's share of a row's exponentials, two of each group of eight, adds
// up to 32 bits.
template <class S, bool bytes>
__global__ void __launch_bounds__(32 * S::warps, S::blocks)
    attention_fast_kernel(const __grid_constant__ Attention p) {
    constexpr int D = S::D, N8 = 4 * S::chunks;  // N8: groups of 8 tokens a warp holds
    extern __shared__ __align__(128) uint8_t shared[];
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const int first_head = blockIdx.y * S::heads, heads = min(S::heads, p.heads - first_head);
    const int picture = blockIdx.z, padded = (p.tokens + 31) & ~31;
    uint8_t* const kv = shared + exponential_bytes;  // [heads][2][padded, D]
    const int8_t* const qkv = p.qkv + static_cast<int64_t>(picture) * p.tokens * p.ld + first_head * D;

    let_next_start();
    for (int i = threadIdx.x; i < p.entries; i += blockDim.x) {
        static_assert(copies == 8);
        const uint32_t v = __ldg(p.exponential + i);
        uint4* const to = reinterpret_cast<uint4*>(shared + i * entry_bytes);
        to[0] = to[1] = make_uint4(v, v, v, v);
    }
    wait_for_inputs();
    for (int head = 0; head < heads; ++head) {
        const uint32_t keys = shared_address(kv) + head * 2 * padded * D, values = keys + padded * D;
        for (int i = threadIdx.x; i < padded * (D / 16); i += blockDim.x) {
            const int c = i % (D / 16), r = i / (D / 16);
            const int8_t* from = qkv + static_cast<int64_t>(r < p.tokens ? r : 0) * p.ld + head * D + 16 * c;
            copy16(keys + swizzled_row<D>(r, c), from + p.heads * D, r < p.tokens);
            copy16(values + swizzled_row<D>(r, c), from + 2 * p.heads * D, r < p.tokens);
        }
    }
    copy_commit();

    const int first = S::split ? warp * 32 * S::chunks : 0;  // token of this warp's first logit
    // Logits count from the grid's lowest: 0 .. span.
    const int r_logits = (1 << (p.s_logits - 33)) - p.low_logits * (1 << (p.s_logits - 32));
    const int r_context = 1 << (p.s_context - 33);
    const int s_logits = p.s_logits - 32, s_context = p.s_context - 32;
    const uint32_t span = static_cast<uint32_t>(p.top_logits - p.low_logits);
    const int limit = p.tokens - first - 2 * t;  // this thread's columns 8j, 8j + 1 below it are tokens
    const uint32_t copy = static_cast<uint32_t>(lane % copies) * 4;
    bool loaded = false;

    const int tiles = (p.tokens + 15) / 16;
    const int stride = S::split ? gridDim.x : S::warps;
    int head = 0;
    for (int tile = S::split ? blockIdx.x : warp; head < heads || !loaded; tile += stride) {
        while (tile >= tiles && head < heads) tile -= tiles, ++head;
        const uint32_t keys = shared_address(kv) + head * 2 * padded * D, values = keys + padded * D;
        const int row[2] = {16 * tile + g, 16 * tile + g + 8};
        uint32_t q[D / 32][4];
#pragma unroll
        for (int kk = 0; kk < D / 32; ++kk)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int i = row[e & 1];
                q[kk][e] =
                    i < p.tokens && head < heads
                        ? *reinterpret_cast<const uint32_t*>(qkv + static_cast<int64_t>(i) * p.ld + head * D +
                                                             32 * kk + 16 * (e >> 1) + 4 * t)
                        : 0;
            }
        if (!loaded) {  // the queries' way from memory and the keys' are one wait
            copy_wait<0>();
            __syncthreads();
            loaded = true;
        }
        if (head >= heads) break;
        const auto is_token = [&](int j, int e) { return 8 * j + e < limit; };
        constexpr int first_masked = S::split ? 0 : N8 - 4;

        uint32_t fours[N8 / 2]
                      [2];  // two neighbouring tokens of a group and of the next, of row g, and of row g + 8
        int greatest[2] = {0, 0};
#pragma unroll
        for (int j = 0; j < N8; j += 2) {
            int x[2][4] = {};
            if (!S::split || first + 8 * j < padded) {
#pragma unroll
                for (int kk = 0; kk < D / 32; ++kk) {
                    uint32_t b[4];
                    const int n = first + 8 * j + (lane & 7) + (lane >> 4) * 8;
                    load_matrices(b, keys + swizzled_row<D>(n, 2 * kk + (lane >> 3 & 1)));
                    mma_s8(x[0], q[kk], b[0], b[1]);
                    mma_s8(x[1], q[kk], b[2], b[3]);
                }
            }
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                int y[2][2];
#pragma unroll
                for (int i = 0; i < 2; ++i) {
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        y[i][e] = scale_top(x[i][2 * h + e], p.m_logits, r_logits, s_logits);
                        if (j + i >= first_masked && !is_token(j + i, e))
                            y[i][e] = 0;  // no row's greatest is below 0
                    }
                    greatest[h] = max(max(greatest[h], y[i][0]), y[i][1]);
                }
                fours[j / 2][h] = pack_u8(y[0][0], y[0][1], y[1][0], y[1][1]);
                if (!bytes) fours[j / 2][h] = __vminu4(fours[j / 2][h], span * 0x1010101u);
            }
        }
        uint32_t most[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            most[h] = min(static_cast<uint32_t>(greatest[h]), span);
            most[h] = max(most[h], __shfl_xor_sync(0xffffffff, most[h], 1));
            most[h] = max(most[h], __shfl_xor_sync(0xffffffff, most[h], 2));
        }
        int* const sums = reinterpret_cast<int*>(kv + S::heads * 2 * padded * D);  // split: [warps][16 * D]
        unsigned long long* const rows =
            reinterpret_cast<unsigned long long*>(sums + S::warps * 16 * D);  // split: [warps][16]
        if constexpr (S::split) {
            if (t == 0) {
                rows[warp * 16 + g] = most[0];
                rows[warp * 16 + g + 8] = most[1];
            }
            __syncthreads();
#pragma unroll
            for (int h = 0; h < 2; ++h)
                for (int w = 0; w < S::warps; ++w)
                    most[h] = max(most[h], static_cast<uint32_t>(rows[w * 16 + g + 8 * h]));
            __syncthreads();
        }

        uint32_t x[N8][4];
        uint64_t sum[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint32_t base = most[h] * entry_bytes + copy;
            std::conditional_t<bytes, uint32_t, uint64_t> mine = 0;
#pragma unroll
            for (int j = 0; j < N8; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    uint32_t v = *reinterpret_cast<const uint32_t*>(
                        shared + entry_below(base, fours[j / 2][h], 2 * (j & 1) + e));
                    if (j >= first_masked && !is_token(j, e)) v = 0;
                    x[j][2 * h + e] = v;
                    mine += v;
                }
            sum[h] = mine;
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
        // 2t+1, 8+2t, 9+2t, and 16 further on, so no value changes its thread. No share passes 2^(k-1), as f
        // is rounded down.
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
                        const uint32_t(&two)[4] = x[4 * c + 2 * half + j];
                        pair[j] =
                            __byte_perm(__umulhi(f[h], two[2 * h]), __umulhi(f[h], two[2 * h + 1]), 0x5410);
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
                    y[e] = clamp32(scale_top(o[e], p.m_context, r_context, s_context), p.low_context,
                                   p.top_context);
                *reinterpret_cast<uint32_t*>(
                    p.out + (static_cast<int64_t>(picture) * p.tokens + row[h]) * p.ldo +
                    (first_head + head) * D + 16 * d + 4 * t) = pack4(y[0], y[1], y[2], y[3]);
            }
        };
        // Sixteen dimensions at a time: even[] holds 4t + {0, 2} of rows g and g + 8, odd[] 4t + {1, 3}; the
        // high plane apart, as it counts 256 times.
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
            int even[4] = {}, odd[4] = {}, even_high[4] = {}, odd_high[4] = {};
#pragma unroll
            for (int c = 0; c < S::chunks; ++c) {
                if (S::split && first + 32 * c >= p.tokens) break;
                uint32_t v[4];
                load_matrices_transposed(v, values + swizzled_row<D>(first + 32 * c + lane, d));
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
            if (tile + stride < tiles) __syncthreads();  // one head: S::heads is 1
        }
    }
}

// Calls f with the Shape for these heads and tokens; returns false when there is none, or the parameters are
// others.
template <class F>
bool with_shape(const Attention& p, const Launch& at, const F& f) {
    if (!attention_usual(p)) return false;
    const int64_t tiles = static_cast<int64_t>((p.tokens + 15) / 16) * p.heads * p.batch;
    const bool few = tiles < 8 * static_cast<int64_t>(at.sms);
    const auto attempt = [&]<class S>(S shape) {
        const size_t bytes = S::shared_bytes((p.tokens + 31) & ~31);
        return S::D == p.padded && p.tokens <= S::tokens && p.tokens >= S::least_tokens &&
               (S::heads == 1 ? 1 : S::blocks) * bytes <= at.shared_limit && (f(shape), true);
    };
    if (!few && (attempt(Some{}) || (p.heads == 3 && attempt(ManyHeads{})) || attempt(Many{}))) return true;
    return attempt(Split1{}) || attempt(Split2{});
}

template <class... S>
void allow(const Launch& at) {
    (allow_shared(attention_fast_kernel<S, true>, at.shared_limit, at), ...);
    (allow_shared(attention_fast_kernel<S, false>, at.shared_limit, at), ...);
}

}  // namespace

void prepare_attention_fast(const Launch& at) { allow<Some, Many, ManyHeads, Split1, Split2>(at); }

bool attention_fast(const Attention& p, const Launch& at) {
    return with_shape(p, at, [&]<class S>(S) {
        const int tiles = (p.tokens + 15) / 16;
        const dim3 grid(static_cast<unsigned>(S::split ? tiles : 1),
                        static_cast<unsigned>((p.heads + S::heads - 1) / S::heads),
                        static_cast<unsigned>(p.batch));
        // No exponential is greater than the first.
        const bool bytes =
            p.top_logits - p.low_logits == 255 && uint64_t{p.greatest} * (8 * S::chunks) < uint64_t{1} << 32;
        start<Attention>(bytes ? attention_fast_kernel<S, true> : attention_fast_kernel<S, false>, p, grid,
                         dim3(32 * S::warps), S::shared_bytes((p.tokens + 31) & ~31), at);
    });
}

}  // namespace ivit::cuda
