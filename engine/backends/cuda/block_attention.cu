// SPDX-License-Identifier: Apache-2.0
// I-LayerNorm, qkv and attention in one kernel (block.h). A cluster of blocks takes a head, each block 16
// tokens: it normalizes them, multiplies them by the head's q, k and v, whose weights have come before the
// kernel in front has ended, sends its keys and values to the others, and attends for its queries.
#include "engine/backends/cuda/block_attention.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

using S = Shape<64, 1, 8, true, 2>;
constexpr int threads = 32 * S::warps, row_bytes = S::D;  // of queries, keys, values
constexpr int tile_bytes = 16 * row_bytes;

// Places in shared memory, in bytes. The weights' is used again for attention's sums.
struct Places {
    int values, rows, queries, barriers, w, bytes;
    __host__ __device__ Places(int tokens, int width) {
        const int padded = (tokens + 31) & ~31;
        values = S::exponential_bytes + padded * row_bytes;
        rows = values + padded * row_bytes;
        queries = rows + 16 * row_pitch(width);
        barriers = queries + tile_bytes;
        w = barriers + 128;
        const int slab = 3 * S::D * width;
        bytes = w + (slab > S::split_bytes ? slab : S::split_bytes);
    }
};

// C: width / 64.
template <int C, bool bytes>
__global__ void __maxnreg__(C <= 3 ? 112 : 255)
    block_attention_kernel(const __grid_constant__ BlockAttention p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int width = 64 * C, pitch = row_pitch(width), slab = 3 * S::D * width;
    extern __shared__ __align__(128) uint8_t shared[];
    const Attention& a = p.attention;
    const Places places(a.tokens, width);
    const int tile = blockIdx.x, tiles = gridDim.x, head = blockIdx.y, picture = blockIdx.z;
    const uint32_t base = shared_address(shared), w_full = base + places.barriers, keys_full = w_full + 8;
    AttentionHead at;
    at.exponentials = shared;
    at.keys = base + S::exponential_bytes;
    at.values = base + places.values;
    at.sums = shared + places.w;
    at.out = a.out + static_cast<int64_t>(picture) * a.tokens * a.ldo + head * S::D;

    if (threadIdx.x == 0) {
        for (int i = 0; i < 3; ++i) barrier_init(w_full + 8 * i, 1);
        show_barriers();
        barrier_expect(w_full, slab);
        load_bytes(base + places.w, p.w + static_cast<int64_t>(head) * slab, slab, w_full);
        for (int i = 0; i < 2; ++i) barrier_expect(keys_full + 8 * i, (tiles - 1) * tile_bytes);
    }
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    // Where the weights are few, a block starts beside those of the kernel before and gets ready while they
    // are at work. Else it starts when they have gone, and meets its cluster while the stream is on its way.
    constexpr bool early = C <= 3;
    uint32_t x[2][C] = {};
    const auto ask_stream = [&] {
        wait_for_inputs();
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int token = 16 * tile + 2 * warp + i;
            if (token >= a.tokens) continue;
            const int16_t* const from =
                p.norm.in + (static_cast<int64_t>(picture) * a.tokens + token) * p.norm.in_stride;
#pragma unroll
            for (int j = 0; j < C; ++j) x[i][j] = ask_word(from + 2 * (lane + 32 * j));
        }
    };
    fill_exponentials<S>(a, shared);
    // A lane normalizes channels 2 (lane + 32 j) and the one behind of two rows.
    Columns2 norm[C];
#pragma unroll
    for (int j = 0; j < C; ++j) norm[j].ask(p.norm.columns, 2 * (lane + 32 * j));
    // Columns 8 warp + 2t and the one behind of q, k and v, and their weights.
    const int column = 8 * warp + 2 * t;
    Columns2 qkv[3];
    Weights<width, 3 * S::D, 3, S::D> w;
    const auto ask = [&] {
#pragma unroll
        for (int i = 0; i < 3; ++i) qkv[i].ask(p.columns, (i * a.heads + head) * S::D + column);
        barrier_wait(w_full, 0);
        w.ask(base + places.w, 8 * warp, lane);
    };
    touch(p);
    if constexpr (early) {
        __syncthreads();
        greet_cluster();
        meet_cluster();
        ask();
        ask_stream();
    } else {
        greet_cluster();
        ask_stream();
        __syncthreads();
        ask();
    }
    normalize_two<C, bytes>(p.norm, x, norm, [&](int i, int c, uint32_t two) {
        *reinterpret_cast<uint16_t*>(shared + places.rows + (2 * warp + i) * pitch + c) =
            static_cast<uint16_t>(two);
    });
    // The next kernel's blocks, which start beside, would slow this one's first half down. Of two pictures
    // they fill the multiprocessors and start one after the other.
    if (gridDim.z > 1) let_next_start();
    __syncthreads();
    int c[3][4];
    w.multiply(shared + places.rows, pitch, lane, c);
    const int own_keys = S::exponential_bytes + tile * tile_bytes,
              own_values = places.values + tile * tile_bytes;
    const auto keep = [&](int i, int to) {
#pragma unroll
        for (int h = 0; h < 2; ++h)
            *reinterpret_cast<uint16_t*>(shared + to + swizzled_row<S::D>(g + 8 * h, column >> 4) +
                                         (column & 15)) =
                static_cast<uint16_t>(
                    bytes2<bytes>(p.columns, qkv[i].scale(0, c[i][2 * h]), qkv[i].scale(1, c[i][2 * h + 1])));
    };
    // To all other blocks.
    const auto send_tile = [&](int own, uint32_t barrier) {
        const int place = own + threadIdx.x % (tile_bytes / 16) * 16;
        const uint4 v = *reinterpret_cast<const uint4*>(shared + place);
        for (int to = threadIdx.x / (tile_bytes / 16); to < tiles; to += threads / (tile_bytes / 16))
            if (to != tile) send(in_block(base + place, to), in_block(barrier, to), v);
    };
    keep(1, own_keys);
    if constexpr (!early) meet_cluster();
    __syncthreads();
    send_tile(own_keys, keys_full);
    keep(0, places.queries);
    keep(2, own_values);
    __syncthreads();
    send_tile(own_values, keys_full + 8);
    uint32_t q[S::D / 32][4];
#pragma unroll
    for (int kk = 0; kk < S::D / 32; ++kk)
        load_matrices(q[kk], base + places.queries + swizzled_row<S::D>(lane & 15, 2 * kk + (lane >> 4)));
    barrier_wait(keys_full, 0);
    if (gridDim.z == 1) let_next_start();
    attend<S, bytes>(a, at, tile, q, [&] { barrier_wait(keys_full + 8, 0); });
#endif
}

// Calls f with the kernel for rows of `width`; not at all where there is none.
template <class F>
void with_kernel(int width, bool bytes, const F& f) {
    const auto of = [&]<int C>() {
        if (width == 64 * C) f(bytes ? block_attention_kernel<C, true> : block_attention_kernel<C, false>);
    };
    of.template operator()<3>();
    of.template operator()<6>();
}

}  // namespace

Slabs qkv_slabs(int32_t width) {
    Slabs slabs;
    with_kernel(width, true, [&](auto) { slabs = {Cut::heads, width / S::D}; });
    return slabs;
}

void prepare_block_attention(const Launch& at) {
    if (!copy_engine_ready()) return;
    for (const int width : {192, 384})
        for (const bool bytes : {false, true})
            with_kernel(width, bytes, [&](auto kernel) {
                allow_shared(kernel, at.shared_limit, at);
                IVIT_CUDA_CHECK(
                    cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
            });
}

namespace {

bool narrow_fits(const BlockAttention& p, const Launch& at) {
    const Attention& a = p.attention;
    if (!attention_half_usual(p, at) || !p.w || a.tokens > S::tokens) return false;
    const auto bytes = static_cast<size_t>(Places(a.tokens, p.norm.cols).bytes);
    bool fits = false;
    with_kernel(p.norm.cols, all_bytes(p), [&](auto kernel) {
        const dim3 grid = head_grid(a, 16);
        fits = bytes <= at.shared_limit &&
               clusters_at_once(kernel, grid.x, threads, bytes) >= static_cast<int>(grid.y * grid.z);
    });
    return fits;
}

}  // namespace

bool block_attention_fits(const BlockAttention& p, const Launch& at) {
    return narrow_fits(p, at) || block_attention_wide_fits(p, at);
}

void block_attention(const BlockAttention& p, const Launch& at) {
    if (!narrow_fits(p, at)) return block_attention_wide(p, at);
    const auto bytes = static_cast<size_t>(Places(p.attention.tokens, p.norm.cols).bytes);
    const dim3 grid = head_grid(p.attention, 16);
    with_kernel(p.norm.cols, all_bytes(p), [&](auto kernel) {
        start<BlockAttention>(kernel, p, grid, dim3(threads), bytes, at, grid.x);
    });
}

}  // namespace ivit::cuda
