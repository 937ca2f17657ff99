// SPDX-License-Identifier: Apache-2.0
// attention_fast.cuh on Hopper, where the copy engine brings queries, keys and values. For many heads: blocks
// stay and take one after the other, the next on its way while the warps are still busy with the one before;
// a warp goes on without waiting for the others. For few: a block for 16 queries of a head, whose warps share
// the tokens.
#include "engine/backends/cuda/attention_sm90.h"

#include <algorithm>

#include "engine/backends/cuda/attention_fast.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

using Ring = Shape<64, 7, 8, false, 2, 1, 16>;
constexpr int places =
    2;  // for heads, in shared memory: queries, keys and values, [tokens padded to 32s, D] each

struct Args {
    Attention p;
    CUtensorMap qkv;  // boxes of all tokens of a head
    FastDiv heads;
    int32_t log_parts;   // 1: a head's tiles are shared by two blocks, which have no other
    int32_t each, more;  // such parts of all pictures that a block has: one more in the first `more` blocks
};

// Eight warps where every block has a multiprocessor to itself, four, which are less in all, where it has
// not.
using Split4 = Shape<64, 2, 4, true, 4>;
using Split8 = Shape<64, 1, 8, true, 2>;
constexpr int query_bytes = 16 * Ring::D;
template <class S>
size_t split_bytes(const Attention& p) {
    return S::shared_bytes((p.tokens + 31) & ~31) + query_bytes + 16;
}
struct SplitArgs {
    Attention p;
    CUtensorMap qkv, queries;  // boxes of all tokens of a head, and of 16
};

template <class S, bool bytes>
__global__ void __launch_bounds__(32 * S::warps, S::blocks)
    attention_split_kernel(const __grid_constant__ SplitArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int D = S::D;
    extern __shared__ __align__(1024) uint8_t shared[];
    const Attention& p = args.p;
    const int lane = lane_id(), tile = blockIdx.x, head = blockIdx.y, picture = blockIdx.z;
    const int part_bytes = ((p.tokens + 31) & ~31) * D;  // keys or values
    AttentionHead at;
    at.keys = shared_address(shared) + S::exponential_bytes;
    at.values = at.keys + part_bytes;
    at.exponentials = shared;
    at.out = p.out + static_cast<int64_t>(picture) * p.tokens * p.ldo + head * D;
    const uint32_t queries = at.values + part_bytes, full = queries + query_bytes;
    at.sums = shared + S::exponential_bytes + 2 * part_bytes + query_bytes + 16;

    if (threadIdx.x == 0) {
        barrier_init(full, 1);
        barrier_init(full + 8, 1);
        show_barriers();
    }
    fill_exponentials<S>(p, shared);
    wait_for_inputs();
    if (threadIdx.x == 0) {
        barrier_expect(full, query_bytes + part_bytes);
        load_box(queries, args.queries, head * D, picture * p.tokens + 16 * tile, full);
        load_box(at.keys, args.qkv, (p.heads + head) * D, picture * p.tokens, full);
        barrier_expect(full + 8, part_bytes);
        load_box(at.values, args.qkv, (2 * p.heads + head) * D, picture * p.tokens, full + 8);
    }
    let_next_start();
    __syncthreads();
    barrier_wait(full, 0);
    uint32_t q[D / 32][4];
#pragma unroll
    for (int kk = 0; kk < D / 32; ++kk)
        load_matrices(q[kk], queries + swizzled_row<D>(lane & 15, 2 * kk + (lane >> 4)));
    attend<S, bytes>(p, at, tile, q, [&] { barrier_wait(full + 8, 0); });
#endif
}

size_t ring_bytes(const Attention& p) {
    return Ring::exponential_bytes + places * 3 * static_cast<size_t>((p.tokens + 31) & ~31) * Ring::D +
           places * 16;
}

template <bool bytes>
__global__ void __launch_bounds__(32 * Ring::warps, Ring::blocks)
    attention_ring_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int D = Ring::D;
    extern __shared__ __align__(1024) uint8_t shared[];
    const Attention& p = args.p;
    const int warp = threadIdx.x >> 5, lane = lane_id();
    const uint32_t part_bytes = static_cast<uint32_t>((p.tokens + 31) & ~31) * D;  // queries, keys or values
    const uint32_t ring = shared_address(shared) + Ring::exponential_bytes,
                   full = ring + places * 3 * part_bytes;
    // Warps that have left the head in a place.
    uint32_t* const left =
        reinterpret_cast<uint32_t*>(shared + Ring::exponential_bytes + places * (3 * part_bytes + 8));
    // This block's heads: every gridDim.x-th.
    const int mine = args.each + (static_cast<int>(blockIdx.x) < args.more ? 1 : 0);
    // Brings the block's n-th head. What a box has behind the last token is the next picture's, or zeros:
    // logits of it are masked, and nothing of it is added up.
    const auto load = [&](int n) {
        const int item = (blockIdx.x + n * gridDim.x) >> args.log_parts, picture = args.heads.divide(item),
                  head = item - picture * p.heads;
        const uint32_t place = static_cast<uint32_t>(n) % places, done = full + 8 * place;
        barrier_expect(done, static_cast<int>(3 * part_bytes));
        for (int i = 0; i < 3; ++i)
            load_box(ring + (3 * place + i) * part_bytes, args.qkv, (i * p.heads + head) * D,
                     picture * p.tokens, done);
    };

    let_next_start();
    if (threadIdx.x == 0) {
        for (int i = 0; i < places; ++i) {
            barrier_init(full + 8 * i, 1);
            left[i] = 0;
        }
        show_barriers();
    }
    fill_exponentials<Ring>(p, shared);
    wait_for_inputs();
    __syncthreads();
    if (threadIdx.x == 0)
        for (int n = 0; n < min(places, mine); ++n) load(n);

    // Tiles of all the block's heads in a row; a warp takes every eighth.
    const int all_tiles = (p.tokens + 15) / 16, half = (all_tiles + 1) >> 1,
              first = args.log_parts && (blockIdx.x & 1) ? half : 0,
              tiles = args.log_parts && first == 0 ? half : all_tiles;
    int n = 0;
    for (int tile = first + warp;; tile += Ring::warps) {
        while (tile >= tiles) {
            tile -= tiles;
            __syncwarp();
            if (lane == 0) {
                // The last one to leave a head asks for another in its place.
                __threadfence_block();
                if (atomicAdd(&left[n % places], 1u) == Ring::warps - 1) {
                    left[n % places] = 0;
                    __threadfence_block();
                    if (n + places < mine) load(n + places);
                }
            }
            ++n;
        }
        if (n >= mine) break;
        const int item = (blockIdx.x + n * gridDim.x) >> args.log_parts, picture = args.heads.divide(item),
                  head = item - picture * p.heads;
        const uint32_t queries = ring + n % places * 3 * part_bytes;
        AttentionHead at;
        at.keys = queries + part_bytes;
        at.values = at.keys + part_bytes;
        at.exponentials = shared;
        at.out = p.out + static_cast<int64_t>(picture) * p.tokens * p.ldo + head * D;
        barrier_wait(full + 8 * (n % places), n / places & 1);
        uint32_t q[D / 32][4];
#pragma unroll
        for (int kk = 0; kk < D / 32; ++kk)
            load_matrices(q[kk], queries + swizzled_row<D>(16 * tile + (lane & 15), 2 * kk + (lane >> 4)));
        attend<Ring, bytes>(p, at, tile, q);
    }
#endif
}

}  // namespace

void prepare_attention_sm90(const Launch& at) {
    if (!copy_engine_ready()) return;
    allow_shared(attention_ring_kernel<true>, at.shared_limit, at);
    allow_shared(attention_ring_kernel<false>, at.shared_limit, at);
    const auto split = [&]<class S>(S) {
        allow_shared(attention_split_kernel<S, true>, at.shared_limit, at);
        allow_shared(attention_split_kernel<S, false>, at.shared_limit, at);
    };
    split(Split4{});
    split(Split8{});
}

bool attention_sm90(const Attention& p, const Launch& at) {
    if (!copy_engine_ready() || at.arch != 90 || p.padded != Ring::D || p.tokens > Ring::tokens) return false;
    const int items = p.heads * p.batch, padded = (p.tokens + 31) & ~31;
    const CUtensorMap qkv = boxes(p.qkv, p.tokens * p.batch, p.ld, p.ld, padded, Ring::D);
    // Every warp must have a tile of every head, or it could come twice to a place before others were there
    // once.
    static_assert(Ring::least_tokens > 16 * (Ring::warps - 1));
    if (p.tokens >= Ring::least_tokens && Ring::blocks * ring_bytes(p) <= at.shared_limit &&
        2 * items >= at.sms) {
        const int log_parts = items <= at.sms ? 1 : 0, parts = items << log_parts,
                  blocks = std::min(parts, Ring::blocks * at.sms);
        const Args args{p, qkv, FastDiv(p.heads), log_parts, parts / blocks, parts % blocks};
        start<Args>(attention_bytes(p) ? attention_ring_kernel<true> : attention_ring_kernel<false>, args,
                    dim3(static_cast<unsigned>(blocks)), dim3(32 * Ring::warps), ring_bytes(p), at);
        return true;
    }
    const int tiles = (p.tokens + 15) / 16;
    if (tiles * items > 8 * at.sms) return false;
    const SplitArgs args{p, qkv, boxes(p.qkv, p.tokens * p.batch, p.ld, p.ld, 16, Ring::D)};
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(p.heads),
                    static_cast<unsigned>(p.batch));
    const auto run = [&]<class S>(S) {
        start<SplitArgs>(
            attention_bytes(p) ? attention_split_kernel<S, true> : attention_split_kernel<S, false>, args,
            grid, dim3(32 * S::warps), split_bytes<S>(p), at);
    };
    if (tiles * items > at.sms)
        run(Split4{});
    else
        run(Split8{});
    return true;
}

}  // namespace ivit::cuda
