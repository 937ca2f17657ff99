// SPDX-License-Identifier: Apache-2.0
// attention_fast.cuh on Hopper, for many heads: blocks stay and take one head after the other, whose keys and
// values the copy engine brings while the warps are still busy with those before. A warp goes on to the next
// head without waiting for the others.
#include "engine/backends/cuda/attention_sm90.h"

#include <algorithm>

#include "engine/backends/cuda/attention_fast.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

using Ring = Shape<64, 7, 8, false, 2>;
constexpr int places =
    2;  // for heads, in shared memory: queries, keys and values, [tokens padded to 32s, D] each

struct Args {
    Attention p;
    CUtensorMap qkv;
    FastDiv heads;
    int32_t each, more;  // heads of all pictures that a block has: one more in the first `more` blocks
};

size_t ring_bytes(const Attention& p) {
    return exponential_bytes + places * 3 * static_cast<size_t>((p.tokens + 31) & ~31) * Ring::D +
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
    const uint32_t ring = shared_address(shared) + exponential_bytes, full = ring + places * 3 * part_bytes;
    // Warps that have left the head in a place.
    uint32_t* const left =
        reinterpret_cast<uint32_t*>(shared + exponential_bytes + places * (3 * part_bytes + 8));
    // This block's heads: every gridDim.x-th.
    const int mine = args.each + (static_cast<int>(blockIdx.x) < args.more ? 1 : 0);
    // Brings the block's n-th head. What a box has behind the last token is the next picture's, or zeros:
    // logits of it are masked, and nothing of it is added up.
    const auto load = [&](int n) {
        const int item = blockIdx.x + n * gridDim.x, picture = args.heads.divide(item),
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
    fill_exponentials(p, shared);
    wait_for_inputs();
    __syncthreads();
    if (threadIdx.x == 0)
        for (int n = 0; n < min(places, mine); ++n) load(n);

    // Tiles of all the block's heads in a row; a warp takes every eighth.
    const int tiles = (p.tokens + 15) / 16;
    int n = 0;
    for (int tile = warp;; tile += Ring::warps) {
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
        const int item = blockIdx.x + n * gridDim.x, picture = args.heads.divide(item),
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
}

bool attention_sm90(const Attention& p, const Launch& at) {
    const int items = p.heads * p.batch;
    // Every warp must have a tile of every head, or it could come twice to a place before others were there
    // once.
    static_assert(Ring::least_tokens > 16 * (Ring::warps - 1));
    if (!copy_engine_ready() || at.arch != 90 || p.padded != Ring::D || p.tokens > Ring::tokens ||
        p.tokens < Ring::least_tokens || Ring::blocks * ring_bytes(p) > at.shared_limit || items < 2 * at.sms)
        return false;
    const int blocks = std::min(items, Ring::blocks * at.sms);
    const Args args{p, boxes(p.qkv, p.tokens * p.batch, p.ld, p.ld, (p.tokens + 31) & ~31, Ring::D),
                    FastDiv(p.heads), items / blocks, items % blocks};
    start<Args>(attention_bytes(p) ? attention_ring_kernel<true> : attention_ring_kernel<false>, args,
                dim3(static_cast<unsigned>(blocks)), dim3(32 * Ring::warps), ring_bytes(p), at);
    return true;
}

}  // namespace ivit::cuda
