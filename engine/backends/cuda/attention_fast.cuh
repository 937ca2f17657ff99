// SPDX-License-Identifier: Apache-2.0
// Attention for what networks usually ask: logits of up to 8 bits and a Shiftmax whose shares are the high
// word of a 32-bit product (M - k = 31) or part of it (M - k > 31). The same integers as attention.cu in a
// third of the instructions: logits travel as bytes, four to a word, whose places in the exponentials' table
// are one dot product each; that table has copies for lanes side by side; and only the last tokens are
// masked.
#pragma once
#include <type_traits>

#include "engine/backends/cuda/attention.cuh"
#include "engine/backends/cuda/device.cuh"

namespace ivit::cuda {

// As in attention.cu. Where a warp sees all tokens there are more than 32 * (chunks - 1) of them. groups: of
// so many warps, each with a tile of its own, in a block whose warps split the tokens. copies: of each
// exponential, in neighbouring banks.
template <int D_, int chunks_, int warps_, bool split_, int blocks_, int groups_ = 1, int copies_ = 8>
struct Shape {
    static constexpr int D = D_, chunks = chunks_, warps = warps_, blocks = blocks_, groups = groups_;
    static constexpr bool split = split_;
    static constexpr int copies = copies_, entry_bytes = 4 * copies,
                         exponential_bytes = most_entries * entry_bytes;
    static constexpr int tokens = 32 * chunks * (split ? warps : 1);  // at most
    static constexpr int least_tokens = split ? 1 : 32 * (chunks - 1) + 1;
    // Where the warps of a block split the tokens: so many of them share 16 dimensions of the context, and
    // what they need beside keys, values and exponentials, in bytes: see attend.
    static constexpr int parts = warps / (D / 16);
    static constexpr int shares_bytes = warps * chunks * 1024, sums_bytes = parts > 1 ? warps * 512 : 0;
    static constexpr int split_bytes = split ? shares_bytes + sums_bytes + warps * 16 * (8 + 4) : 0;
    static_assert(!split || (parts * (D / 16) == warps && parts <= 2));
    static size_t shared_bytes(int tokens_padded) {
        return 2 * static_cast<size_t>(tokens_padded) * D + exponential_bytes + split_bytes;
    }
};

// Four integers to a byte each, the first lowest; below 0 and above 255 they saturate.
__device__ __forceinline__ uint32_t pack_u8(int a, int b, int c, int d) {
    uint32_t upper, all;
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(d), "r"(c));
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(b), "r"(a), "r"(upper));
    return all;
}
// base - `bytes` * byte e of four.
template <int bytes>
__device__ __forceinline__ uint32_t entry_below(uint32_t base, uint32_t four, int e) {
    static_assert(bytes <= 128);
    uint32_t at;
    asm("dp4a.u32.s32 %0, %1, %2, %3;"
        : "=r"(at)
        : "r"(four), "r"(static_cast<uint32_t>(256 - bytes) << 8 * e), "r"(base));
    return at;
}

// The exponentials' table in shared memory: [entries][copies].
template <class S>
__device__ __forceinline__ void fill_exponentials(const Attention& p, uint8_t* shared) {
    for (int i = threadIdx.x; i < p.entries; i += blockDim.x) {
        const uint32_t v = __ldg(p.exponential + i);
        uint4* const to = reinterpret_cast<uint4*>(shared + i * S::entry_bytes);
#pragma unroll
        for (int c = 0; c < S::copies / 4; ++c) to[c] = make_uint4(v, v, v, v);
    }
}

// Rows 16 tile .. + 15 of the queries of a head, qkv: its first row's. Of rows that are no tokens, zeros.
template <int D>
__device__ __forceinline__ void load_queries(const Attention& p, const int8_t* qkv, int tile,
                                             uint32_t (&q)[D / 32][4]) {
    const int g = lane_id() >> 2, t = lane_id() & 3;
#pragma unroll
    for (int kk = 0; kk < D / 32; ++kk)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int i = 16 * tile + g + 8 * (e & 1);
            q[kk][e] = i < p.tokens
                           ? *reinterpret_cast<const uint32_t*>(qkv + static_cast<int64_t>(i) * p.ld +
                                                                32 * kk + 16 * (e >> 1) + 4 * t)
                           : 0;
        }
}

// What a tile of 16 queries needs to know of its head: where its keys and values [padded to 32s, D] lie in
// shared memory, the exponentials, and the first row of its output; where the warps of a block split the
// tokens, room for their sums, and whether another tile follows.
struct AttentionHead {
    uint32_t keys, values;
    const uint8_t* exponentials;
    int8_t* out;
    uint8_t* sums = nullptr;
    bool again = false;
};

// Whether logits and context fill 8 bits, shares are all of the high word, and eight exponentials add up to
// 32 bits. None is greater than the first.
inline bool attention_bytes(const Attention& p) {
    return p.top_logits - p.low_logits == 255 && p.low_context == -128 && p.top_context == 127 &&
           p.M - p.k == 31 && uint64_t{p.greatest} * 8 < uint64_t{1} << 32;
}

struct Nothing {
    __device__ __forceinline__ void operator()() const {}
};
// One tile: logits, Shiftmax, context. q: load_queries'. bytes: attention_bytes. values_there(): waits for
// the values.
template <class S, bool bytes, class Wait = Nothing>
__device__ __forceinline__ void attend(const Attention& p, const AttentionHead& at, int tile,
                                       const uint32_t (&q)[S::D / 32][4], const Wait& values_there = {}) {
    constexpr int D = S::D, N8 = 4 * S::chunks;  // N8: groups of 8 tokens a warp holds
    const int warp = S::groups == 1 ? threadIdx.x >> 5 : (threadIdx.x >> 5) % S::warps, lane = lane_id(),
              g = lane >> 2, t = lane & 3;
    const auto all_wait = [] {
        if constexpr (S::groups == 1)
            __syncthreads();
        else
            named_barrier(1 + threadIdx.x / (32 * S::warps), 32 * S::warps);
    };
    const int padded = (p.tokens + 31) & ~31;
    const int first = S::split ? warp * 32 * S::chunks : 0;  // token of this warp's first logit
    // Logits count from the grid's lowest: 0 .. span.
    const int64_t r_logits = (int64_t{1} << (p.s_logits - 1)) - p.low_logits * (int64_t{1} << p.s_logits);
    const int64_t r_context = int64_t{1} << (p.s_context - 1);
    const uint32_t span = static_cast<uint32_t>(p.top_logits - p.low_logits);
    const int limit = p.tokens - first - 2 * t;  // this thread's columns 8j, 8j + 1 below it are tokens
    const uint32_t copy = static_cast<uint32_t>(lane % S::copies) * 4;
    const auto is_token = [&](int j, int e) { return 8 * j + e < limit; };
    constexpr int first_masked = S::split ? 0 : N8 - 4;

    // Two neighbouring tokens of a group and of the next, of row g, and of row g + 8.
    uint32_t fours[N8 / 2][2];
    int greatest[2] = {0, 0};
#pragma unroll
    for (int j = 0; j < N8; j += 2) {
        int x[2][4] = {};
        // What is no token is masked below: any key will do, and nobody waits for a branch.
        const int key = S::split ? min(first + 8 * j, padded - 16) : first + 8 * j;
#pragma unroll
        for (int kk = 0; kk < D / 32; ++kk) {
            uint32_t b[4];
            const int n = key + (lane & 7) + (lane >> 4) * 8;
            load_matrices(b, at.keys + swizzled_row<D>(n, 2 * kk + (lane >> 3 & 1)));
            mma_s8(x[0], q[kk], b[0], b[1]);
            mma_s8(x[1], q[kk], b[2], b[3]);
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            int y[2][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    y[i][e] = scale_word(x[i][2 * h + e], p.m_logits, r_logits, p.s_logits);
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
    // split: of each warp's chunks the low and the high bytes of the shares, [warps * chunks][2][32]; half of
    // a part's sums, [warps][32]; of each row, sums [warps][16] and greatest [16][warps].
    uint4* const all_shares = reinterpret_cast<uint4*>(at.sums);
    int4* const sums = reinterpret_cast<int4*>(at.sums + S::shares_bytes);
    unsigned long long* const totals =
        reinterpret_cast<unsigned long long*>(at.sums + S::shares_bytes + S::sums_bytes);
    uint32_t* const tops = reinterpret_cast<uint32_t*>(totals + S::warps * 16);
    if constexpr (S::split) {
        if (t == 0) {
            tops[g * S::warps + warp] = most[0];
            tops[(g + 8) * S::warps + warp] = most[1];
        }
        all_wait();
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int w = 0; w < S::warps; w += 4) {
                const uint4 four = *reinterpret_cast<const uint4*>(tops + (g + 8 * h) * S::warps + w);
                most[h] = max(max(max(most[h], four.x), max(four.y, four.z)), four.w);
            }
    }

    // Exponentials of row h and their sum.
    const auto exponentials = [&](int h, uint32_t(&x)[N8][2]) {
        const uint32_t base = most[h] * S::entry_bytes + copy;
        uint64_t sum = 0;
#pragma unroll
        for (int c = 0; c < S::chunks; ++c) {
            std::conditional_t<bytes, uint32_t, uint64_t> eight = 0;
#pragma unroll
            for (int j = 4 * c; j < 4 * c + 4; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    uint32_t v = *reinterpret_cast<const uint32_t*>(
                        at.exponentials +
                        entry_below<S::entry_bytes>(base, fours[j / 2][h], 2 * (j & 1) + e));
                    if (j >= first_masked && !is_token(j, e)) v = 0;
                    x[j][e] = v;
                    eight += v;
                }
            sum += eight;
        }
        sum += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum), 1);
        return sum + __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum), 2);
    };
    // Probabilities, packed as the products want them: slots 4t .. 4t+3 of a chunk are its tokens 2t,
    // 2t+1, 8+2t, 9+2t, and 16 further on, so no value changes its thread. No share passes 2^(k-1), as f
    // is rounded down.
    uint32_t low[S::chunks][4], high[S::chunks][4];
    [[maybe_unused]] const int more = p.M - p.k - 31;
    const auto share = [&](uint32_t f, uint32_t e) {
        if constexpr (bytes)
            return __umulhi(f, e);
        else
            return __umulhi(f, e) >> more;
    };
    const auto shares = [&](int h, uint32_t f, const uint32_t(&x)[N8][2]) {
#pragma unroll
        for (int c = 0; c < S::chunks; ++c)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                uint32_t pair[2];
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const uint32_t(&two)[2] = x[4 * c + 2 * half + j];
                    pair[j] = __byte_perm(share(f, two[0]), share(f, two[1]), 0x5410);
                }
                low[c][2 * half + h] = __byte_perm(pair[0], pair[1], 0x6420);
                high[c][2 * half + h] = __byte_perm(pair[0], pair[1], 0x7531);
            }
    };
    if constexpr (S::split) {
        uint32_t x[2][N8][2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint64_t sum = exponentials(h, x[h]);
            if (t == 0) totals[warp * 16 + g + 8 * h] = sum;
        }
        all_wait();
        // The four lanes of a row would add and divide the same numbers: even ones take row g, odd ones row
        // g + 8.
        uint64_t sum = 0;
#pragma unroll
        for (int w = 0; w < S::warps; ++w) sum += totals[w * 16 + g + 8 * (t & 1)];
        const uint32_t mine = quick_reciprocal(static_cast<int64_t>(sum), p.M);
#pragma unroll
        for (int h = 0; h < 2; ++h) shares(h, __shfl_sync(0xffffffff, mine, (lane & ~3) + h), x[h]);
    } else {
        // One row after the other: the exponentials of both do not fit the registers.
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            uint32_t x[N8][2];
            const uint64_t sum = exponentials(h, x);
            shares(h, quick_reciprocal(static_cast<int64_t>(sum), p.M), x);
        }
    }

    const auto put = [&](int d, int h, const int4& o) {  // row g + 8 h, dimensions 16 d + 4 t .. + 3
        const int row = 16 * tile + g + 8 * h;
        if (row >= p.tokens) return;
        const auto y = [&](int x) {
            const int scaled = scale_word(x, p.m_context, r_context, p.s_context);
            return bytes ? scaled : clamp32(scaled, p.low_context, p.top_context);
        };
        *reinterpret_cast<uint32_t*>(at.out + static_cast<int64_t>(row) * p.ldo + 16 * d + 4 * t) =
            pack4(y(o.x), y(o.y), y(o.z), y(o.w));
    };
    // Sixteen dimensions of the context: even[] holds 4t + {0, 2} of rows g and g + 8, odd[] 4t + {1, 3}; the
    // high plane apart, as it counts 256 times.
    struct Sums {
        int even[4] = {}, odd[4] = {}, even_high[4] = {}, odd_high[4] = {};
        __device__ __forceinline__ void add(uint32_t values, int token, int d, const uint32_t (&low)[4],
                                            const uint32_t (&high)[4]) {
            uint32_t v[4];
            load_matrices_transposed(v, values + swizzled_row<D>(token + lane_id(), d));
            const uint32_t e0 = __byte_perm(v[0], v[1], 0x6420), e1 = __byte_perm(v[2], v[3], 0x6420);
            const uint32_t o0 = __byte_perm(v[0], v[1], 0x7531), o1 = __byte_perm(v[2], v[3], 0x7531);
            mma_u8(even, low, e0, e1);
            mma_u8(odd, low, o0, o1);
            mma_u8(even_high, high, e0, e1);
            mma_u8(odd_high, high, o0, o1);
        }
        __device__ __forceinline__ int4 of(int h) const {
            return make_int4(even[2 * h] + even_high[2 * h] * 256, odd[2 * h] + odd_high[2 * h] * 256,
                             even[2 * h + 1] + even_high[2 * h + 1] * 256,
                             odd[2 * h + 1] + odd_high[2 * h + 1] * 256);
        }
    };
    if constexpr (!S::split) {
        values_there();
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
            Sums o;
#pragma unroll
            for (int c = 0; c < S::chunks; ++c) o.add(at.values, 32 * c, d, low[c], high[c]);
            put(d, 0, o.of(0));
            put(d, 1, o.of(1));
        }
    } else {
        // Each warp takes 16 dimensions, of all tokens or of every other chunk of them.
#pragma unroll
        for (int c = 0; c < S::chunks; ++c) {
            uint4* const mine = all_shares + (warp * S::chunks + c) * 64 + lane;
            mine[0] = make_uint4(low[c][0], low[c][1], low[c][2], low[c][3]);
            mine[32] = make_uint4(high[c][0], high[c][1], high[c][2], high[c][3]);
        }
        all_wait();
        values_there();
        const int d = warp % (D / 16), part = warp / (D / 16);
        Sums o;
#pragma unroll
        for (int i = 0; i < S::warps * S::chunks / S::parts; ++i) {
            const int c = part + S::parts * i;  // of no tokens the shares are zeros
            const uint4 l = all_shares[c * 64 + lane], h = all_shares[c * 64 + 32 + lane];
            o.add(at.values, min(32 * c, padded - 32), d, {l.x, l.y, l.z, l.w}, {h.x, h.y, h.z, h.w});
        }
        if constexpr (S::parts == 1) {
            put(d, 0, o.of(0));
            put(d, 1, o.of(1));
        } else {
            // Each part finishes eight of the rows.
            sums[warp * 32 + lane] = part ? o.of(0) : o.of(1);
            all_wait();
            const int4 mine = part ? o.of(1) : o.of(0), other = sums[(warp ^ (D / 16)) * 32 + lane];
            put(d, part, make_int4(mine.x + other.x, mine.y + other.y, mine.z + other.z, mine.w + other.w));
        }
        if (at.again) all_wait();
    }
}

}  // namespace ivit::cuda
