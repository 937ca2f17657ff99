// SPDX-License-Identifier: Apache-2.0
// I-LayerNorm, qkv and attention in one kernel (block.h), for more than block_attention.cu takes: a cluster
// of blocks takes a head, each block 32 tokens. Its weights, which come by the copy engine, are multiplied by
// the normalized tokens on their side (W times A transposed): a warpgroup makes queries, one keys and one
// values, and the last two send them to the other blocks.
#include "engine/backends/cuda/block_attention.cuh"
#include "engine/backends/cuda/prepare.h"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

using S = Shape<head_bytes, 1, 8, true, 1, 2>;
constexpr int tile = 32;  // tokens of a block: 16 for each group of warps that attends
constexpr int warps = S::warps * S::groups, threads = 32 * warps;
constexpr int tile_bytes = tile * head_bytes;
constexpr int w_box = head_bytes * box_bytes, w_chunk = 3 * w_box;  // of q, k or v; of all three
static_assert(2 * warps == tile);

// Places in shared memory, in bytes, for rows of 64 C channels: the weights, [chunks of 128
// channels][192][128], whose room attention's sums take afterwards; normalized rows, [chunks][32][128]; both
// under the 128-byte swizzle.
template <int C>
struct Places {
    static constexpr int chunks = (C + 1) / 2;
    static constexpr int rows = chunks * w_chunk, queries = rows + chunks * tile * box_bytes,
                         norm = queries + tile_bytes,
                         exponentials =
                             norm + (static_cast<int>(sizeof(NormParameters<8 * C>)) + 127) / 128 * 128,
                         barriers = exponentials + S::exponential_bytes, keys = barriers + 128;
    static_assert(S::groups * S::split_bytes <= rows && 8 * (chunks + 2) <= 128);
    static size_t bytes(int tokens) {
        return static_cast<size_t>(keys + 2 * ((tokens + 31) & ~31) * head_bytes);
    }
};

struct Args {
    CUtensorMap w;  // boxes of 64 rows: q, k or v of a head
    BlockAttention p;
};

// C: width / 64. bytes: all_bytes.
template <int C, bool bytes>
__global__ void __launch_bounds__(threads, 1) block_attention_wide_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    using P = Places<C>;
    constexpr int chunks = P::chunks;
    extern __shared__ __align__(1024) uint8_t shared[];
    const BlockAttention& p = args.p;
    const Attention& a = p.attention;
    const int tiles = gridDim.x, rank = blockIdx.x, head = blockIdx.y, picture = blockIdx.z;
    const uint32_t base = shared_address(shared), w_full = base + P::barriers,
                   keys_full = w_full + 8 * chunks, values_full = keys_full + 8;
    const int values = P::keys + tiles * tile_bytes;
    // The same for the whole warp, and this way the compiler knows.
    const int warp = __shfl_sync(0xffffffff, static_cast<int>(threadIdx.x >> 5), 0), lane = lane_id();
    NormParameters<8 * C>& norm = *reinterpret_cast<NormParameters<8 * C>*>(shared + P::norm);

    if (threadIdx.x == 0) {
        for (int i = 0; i < chunks + 2; ++i) barrier_init(w_full + 8 * i, 1);
        show_barriers();
        for (int i = 0; i < chunks; ++i) barrier_expect(w_full + 8 * i, w_chunk);
        for (int i = 0; i < 2; ++i) barrier_expect(keys_full + 8 * i, (tiles - 1) * tile_bytes);
    }
    __syncwarp();
    greet_cluster();
    // A block that is a cluster by itself has nobody to meet: its warps would wait for each other.
    const bool meets = tiles > 1;
    if (warp == 0) {
        if (meets) meet_cluster();
        // Each block brings some boxes of the head's weights for all.
        if (lane == 0)
            for (int i = rank; i < 3 * chunks; i += tiles)
                load_box_to_all(base + i * w_box, args.w, i / 3 * box_bytes,
                                (i % 3 * a.heads + head) * head_bytes, w_full + i / 3 * 8, (1 << tiles) - 1);
        __syncwarp();
    }
    for (int i = threadIdx.x; i < 8 * C; i += threads) norm.put(i, Columns8(p.norm.columns, 8 * i));
    fill_exponentials<S>(a, shared + P::exponentials);
    // Queries, keys or values, and this thread's two channels of them.
    const int part = min(warp >> 2, 2), column = 16 * (warp & 3) + 2 * (lane >> 2);
    Columns2 qkv;
    qkv.ask(p.columns, (part * a.heads + head) * head_bytes + column);
    touch(p);
    wait_for_inputs();
    constexpr int each = (C + 3) / 4;  // eights of channels of a row that a lane has
    const int row0 = 2 * warp;
    uint4 x[2][each];
    const int16_t* in[2];
    bool there[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int token = tile * rank + row0 + i;
        there[i] = token < a.tokens;
        in[i] = p.norm.in + (static_cast<int64_t>(picture) * a.tokens + token) * p.norm.in_stride;
    }
    load_rows<32, each, 2>(p.norm, in, there, x);
    __syncthreads();
    const Deviations<2> by = deviations<32, each, 2>(p.norm, x);
#pragma unroll
    for (int j = 0; j < each; ++j)
        normalize_eights<32, each, 2, true, bytes>(
            p.norm, x, j, by, [&](int c) { return norm.at(c); },
            [&](int i, int c, uint2 eight) {
                const int row = row0 + i;
                *reinterpret_cast<uint2*>(shared + P::rows + c / box_bytes * tile * box_bytes +
                                          row * box_bytes + ((c % box_bytes / 16) ^ (row & 7)) * 16 +
                                          c % 16) = eight;
            });
    show_to_engines();
    __syncthreads();
    if (warp < 12) {
        // [4j + {0, 1}]: tokens 8j + 2t, + 1 of the first channel, [4j + {2, 3}] of the second.
        int d[tile / 2];
        take_any(d);
        keep_in_place(d);
#pragma unroll
        for (int i = 0; i < chunks; ++i) {
            barrier_wait(w_full + 8 * i, 0);
            const uint32_t w = descriptor(base + i * w_chunk + part * w_box),
                           rows = descriptor(base + P::rows + i * tile * box_bytes);
            wgmma_fence();
#pragma unroll
            for (int kk = 0; kk < min(4, 2 * C - 4 * i); ++kk)
                multiply(d, w + 2 * kk, rows + 2 * kk, i + kk > 0);
            wgmma_commit();
        }
        wgmma_wait<0>();
        keep_in_place(d);
        const int own = part == 0 ? P::queries : (part == 1 ? P::keys : values) + rank * tile_bytes;
#pragma unroll
        for (int j = 0; j < tile / 8; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const int token = 8 * j + 2 * (lane & 3) + e;
                *reinterpret_cast<uint16_t*>(shared + own + swizzled_row<head_bytes>(token, column >> 4) +
                                             (column & 15)) =
                    static_cast<uint16_t>(
                        bytes2<bytes>(p.columns, qkv.scale(0, d[4 * j + e]), qkv.scale(1, d[4 * j + 2 + e])));
            }
        if (meets && warp > 0) meet_cluster();
        if (part > 0) {  // to all other blocks
            named_barrier(part, 128);
            const int place = own + threadIdx.x % 128 * 16;
            const uint4 v = *reinterpret_cast<const uint4*>(shared + place);
            const uint32_t barrier = part == 1 ? keys_full : values_full;
            for (int i = 1; i < tiles; ++i) {
                const int to = rank + i < tiles ? rank + i : rank + i - tiles;
                send(in_block(base + place, to), in_block(barrier, to), v);
            }
        }
    } else if (meets) {
        meet_cluster();
    }
    static_assert(tile_bytes == 128 * 16);
    __syncthreads();
    const int group = warp / S::warps;
    uint32_t q[head_bytes / 32][4];
#pragma unroll
    for (int kk = 0; kk < head_bytes / 32; ++kk)
        load_matrices(q[kk], base + P::queries +
                                 swizzled_row<head_bytes>(16 * group + (lane & 15), 2 * kk + (lane >> 4)));
    AttentionHead at;
    at.exponentials = shared + P::exponentials;
    at.keys = base + P::keys;
    at.values = base + values;
    at.sums = shared + group * S::split_bytes;
    at.out = a.out + static_cast<int64_t>(picture) * a.tokens * a.ldo + head * head_bytes;
    barrier_wait(keys_full, 0);
    let_next_start();
    attend<S, bytes>(a, at, 2 * rank + group, q, [&] { barrier_wait(values_full, 0); });
#endif
}

// Calls f with the kernel for rows of `width` and its Places; not at all where there is none.
template <class F>
void with_kernel(int width, bool bytes, const F& f) {
    const auto of = [&]<int C>() {
        if (width == 64 * C)
            f(bytes ? block_attention_wide_kernel<C, true> : block_attention_wide_kernel<C, false>,
              Places<C>{});
    };
    of.template operator()<3>();
    of.template operator()<6>();
    of.template operator()<12>();
}

}  // namespace

void prepare_block_attention_wide(const Launch& at) {
    if (!copy_engine_ready()) return;
    for (const int width : {192, 384, 768})
        for (const bool bytes : {false, true})
            with_kernel(width, bytes, [&](auto kernel, auto) { allow_shared(kernel, at.shared_limit, at); });
}

bool block_attention_wide_fits(const BlockAttention& p, const Launch& at) {
    const Attention& a = p.attention;
    if (!attention_half_usual(p, at) || !p.w_side || a.tokens > S::tokens) return false;
    bool fits = false;
    with_kernel(p.norm.cols, all_bytes(p), [&]<class P>(auto kernel, P) {
        const dim3 grid = head_grid(a, tile);
        fits = P::bytes(a.tokens) <= at.shared_limit &&
               clusters_at_once(kernel, grid.x, threads, P::bytes(a.tokens)) >=
                   static_cast<int>(grid.y * grid.z);
    });
    return fits;
}

void block_attention_wide(const BlockAttention& p, const Launch& at) {
    const dim3 grid = head_grid(p.attention, tile);
    const Args args{boxes(p.w_side, p.w_rows, p.norm.cols, p.ldw, head_bytes), p};
    with_kernel(p.norm.cols, all_bytes(p), [&]<class P>(auto kernel, P) {
        start<Args>(kernel, args, grid, dim3(threads), P::bytes(p.attention.tokens), at, grid.x);
    });
}

}  // namespace ivit::cuda
