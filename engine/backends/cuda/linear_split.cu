// SPDX-License-Identifier: Apache-2.0
// int8 matrix products on Hopper where rows are few, on their side (W times A transposed): a cluster of
// blocks shares a tile of 64 channels and splits K, so that even one picture's products occupy the
// multiprocessors with tiles that reuse much. All of a block's K is under way at once, weights before the
// kernel in front has ended. Each block sends its sums to that block of the cluster which finishes these
// tokens. Many warps with little to do each: what counts here is the way from the first instruction to the
// last.
#include "engine/backends/cuda/linear_sm90.h"

#include <algorithm>

#include "engine/backends/cuda/cluster.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/prepare.h"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

constexpr int channels = 64;  // of a tile
constexpr int threads = 512;  // of whose four warpgroups two multiply, N tokens each
constexpr int w_bytes = channels * box_bytes;
constexpr int most_blocks = 4;  // of a cluster: more are hard to place

// How a product is split: tiles of `tokens`, in eights, at most 2 N; `chunks` of 128 bytes of K for each of a
// cluster's `blocks`, which finish `own` eights of the tokens each. Places in shared memory, in bytes: chunks
// of W and A, then sums as they come, [blocks][own][4 warps][lanes] x 16.
struct Split {
    int tokens = 0, N = 0, chunks = 0, blocks = 0, own = 0;
    int stage_bytes = 0, at_sums = 0, at_table = 0, at_barriers = 0, bytes = 0;
    Split() = default;
    Split(int tokens_, int all_chunks, int most)
        : tokens(tokens_), N(tokens <= 64 ? 32 : 64), chunks((all_chunks + most - 1) / most) {
        blocks = (all_chunks + chunks - 1) / chunks;
        own = (tokens / 8 + blocks - 1) / blocks;
        stage_bytes = w_bytes + tokens * box_bytes;
        at_sums = chunks * stage_bytes;
        // Warpgroups read past the tile's tokens: what they make of it is nobody's.
        const int read = at_sums + (2 * N - tokens) * box_bytes;
        at_table = std::max(at_sums + blocks * own * 2048, read);
        at_barriers = at_table + table_bytes;
        bytes = at_barriers + 8 * (chunks + 1);
    }
    // Cycles, roughly, by what was measured: chunks at the rate of the second-level cache, an exchange, and
    // rounds of what 512 threads finish at once.
    int cost() const { return 2 * chunks * (tokens + 32) + (blocks > 1 ? 900 : 0) + 250 * ((own + 7) / 8); }
};

struct Args {
    CUtensorMap a, w;
    Linear p;
    Split split;
};

template <Epilogue E, int N>
__global__ void __maxnreg__(N == 32 ? 64 : 96) split_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int passes = N / 32;
    extern __shared__ __align__(1024) uint8_t shared[];
    const Linear& p = args.p;
    const Split& split = args.split;
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared + split.at_table);
    const uint32_t base = shared_address(shared), full = base + split.at_barriers,
                   sums_full = full + 8 * split.chunks;
    const int warp = __shfl_sync(0xffffffff, static_cast<int>(threadIdx.x >> 5), 0), lane = lane_id();
    const int rank = blockIdx.x, col0 = blockIdx.y * channels, row0 = blockIdx.z * split.tokens;
    const int first = rank * split.chunks,
              chunks = min(split.chunks, (p.k + box_bytes - 1) / box_bytes - first);
    const int own = split.own, mine = max(0, min(8 * own, split.tokens - 8 * rank * own));

    if (threadIdx.x == 0) {
        for (int i = 0; i <= chunks; ++i) barrier_init(i < chunks ? full + 8 * i : sums_full, 1);
        show_barriers();
        barrier_expect(sums_full, split.blocks * channels * mine * 4);
        for (int i = 0; i < chunks; ++i) {
            barrier_expect(full + 8 * i, split.stage_bytes);
            load_box(base + i * split.stage_bytes, args.w, (first + i) * box_bytes, col0, full + 8 * i);
        }
    }
    __syncthreads();
    greet_cluster();
    if constexpr (E == Epilogue::gelu) spread_table(p, table);
    // What this thread finishes: eight channels, of every 64th token.
    const int group = (lane & 3) + 4 * (warp & 1), c = col0 + 8 * group,
              token0 = (lane >> 2) + 8 * (warp >> 1);
    const Columns8 q = Columns8::ask(p.columns, c);
    const auto row_of = [&](int i) { return row0 + 8 * rank * own + token0 + threads / 8 * i; };
    const auto is_mine = [&](int i) { return token0 + threads / 8 * i < mine && row_of(i) < p.rows; };
    wait_for_inputs();
    let_next_start();
    if (threadIdx.x == 0)
        for (int i = 0; i < chunks; ++i)
            load_box(base + i * split.stage_bytes + w_bytes, args.a, (first + i) * box_bytes, row0,
                     full + 8 * i);
    __syncwarp();
    uint4 old[passes] = {};
    if constexpr (E == Epilogue::residual)
#pragma unroll
        for (int i = 0; i < passes; ++i)
            if (is_mine(i)) old[i] = residual8(p, row_of(i), c);

    // The others run, so that their shared memory can be written to.
    if (split.blocks > 1) meet_cluster();
    if (warp < (split.tokens > N ? 8 : 4)) {
        // [4j + {0, 1}]: tokens 8j + 2t, + 1 of W's row 16 (warp % 4) + g, [4j + {2, 3}] of the row eight
        // further on.
        int d[N / 2];
        take_any(d);
        for (int i = 0; i < chunks; ++i) {
            barrier_wait(full + 8 * i, 0);
            const uint32_t w = descriptor(base + i * split.stage_bytes),
                           a = descriptor(base + i * split.stage_bytes + w_bytes +
                                          (warp >> 2) * N * box_bytes);
            keep_in_place(d);
            wgmma_fence();
#pragma unroll
            for (int kk = 0; kk < box_bytes / 32; ++kk) multiply(d, w + 2 * kk, a + 2 * kk, i + kk > 0);
            wgmma_commit();
        }
        wgmma_wait<0>();
        keep_in_place(d);
        // To whom it may concern: what a thread has of eight tokens is 16 bytes, the two channels of the
        // first token, then of the second, beside its neighbours'. Odd pairs of g are swapped, so that
        // readers meet in no bank.
        const uint32_t place = split.at_sums + ((warp & 3) * 32 + (lane ^ (lane >> 1 & 4))) * 16;
        const int first_eight = (warp >> 2) * (N / 8), eights = split.tokens / 8 - first_eight;
        int to = 0, eight = first_eight;
        while (eight >= own) eight -= own, ++to;
#pragma unroll
        for (int j = 0; j < N / 8; ++j) {
            if (j >= eights) continue;
            const uint4 sums = make_uint4(d[4 * j], d[4 * j + 2], d[4 * j + 1], d[4 * j + 3]);
            const uint32_t at = place + (rank * own + eight) * 2048;
            if (split.blocks > 1)
                send(in_block(base + at, to), in_block(sums_full, to), sums);
            else
                *reinterpret_cast<uint4*>(shared + at) = sums;
            if (++eight == own) eight = 0, ++to;
        }
    }
    if (mine == 0) return;
    if (split.blocks == 1 || E == Epilogue::gelu) __syncthreads();  // sums, or the table
    if (split.blocks > 1) barrier_wait(sums_full, 0);

    // Of eight channels, 4 w + 2 half + h lie with warp 2 (group / 4) + w, g = 2 (group % 4) + h.
    const uint8_t* sums[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int from = 8 * (group & 3) + 4 * h + (token0 >> 1 & 3);
        sums[h] = shared + split.at_sums +
                  (((token0 >> 3) * 4 + 2 * (group >> 2)) * 32 + (from ^ (from >> 1 & 4))) * 16 +
                  (token0 & 1) * 8;
    }
#pragma unroll
    for (int i = 0; i < passes; ++i) {
        if (!is_mine(i)) continue;
        int v[8] = {};
        for (int from = 0; from < split.blocks; ++from)
#pragma unroll
            for (int h = 0; h < 2; ++h)
#pragma unroll
                for (int w = 0; w < 2; ++w) {
                    const int2 both = *reinterpret_cast<const int2*>(
                        sums[h] + (from * own + threads / 64 * i) * 2048 + w * 512);
                    v[4 * w + h] += both.x;
                    v[4 * w + 2 + h] += both.y;
                }
        store8<E, true>(p, table, row_of(i), c, q, v, old[i]);
    }
#endif
}

// Calls f with the kernel.
template <class F>
void with_kernel(Epilogue epilogue, int N, const F& f) {
    with_epilogue(epilogue, [&]<Epilogue E>() { N == 32 ? f(split_kernel<E, 32>) : f(split_kernel<E, 64>); });
}

// The split that is soonest done. All blocks must run at once. Clusters do not find room on every
// multiprocessor, nor do blocks that need all of its registers while the kernel in front still runs.
Split best_split(const Linear& p, const Launch& at) {
    Split best;
    const int across = p.cols / channels, chunks = (p.k + box_bytes - 1) / box_bytes;
    for (int down = (p.rows + 127) / 128; across * down <= at.sms; ++down) {
        const int tokens = static_cast<int>(round_up((p.rows + down - 1) / down, 8));
        for (int most = 1; most <= most_blocks; ++most) {
            const Split split(tokens, chunks, most);
            const bool bulky = split.blocks > 1 || split.N > 32;
            if (4 * across * down * split.blocks <= (bulky ? 3 : 4) * at.sms &&
                static_cast<size_t>(split.bytes) <= at.shared_limit &&
                (best.chunks == 0 || split.cost() < best.cost()))
                best = split;
        }
        if (tokens == 8) break;
    }
    // Where there is much to do, a multiprocessor for each block.
    if (p.rows > 256 || std::min(p.k, p.cols) >= 512)
        best.bytes = std::max(best.bytes, static_cast<int>(at.shared_limit / 2 + 1024));
    return best;
}

}  // namespace

void prepare_split(const Launch& at) {
    if (!copy_engine_ready()) return;
    for (const Epilogue epilogue : epilogues)
        for (const int N : {32, 64})
            with_kernel(epilogue, N, [&](auto kernel) { allow_shared(kernel, at.shared_limit, at); });
}

bool split_fits(const Linear& p, const Launch& at) {
    return wgmma_fits(p, at) && best_split(p, at).chunks > 0;
}

void linear_split(const Linear& p, const Launch& at) {
    const Split split = best_split(p, at);
    const Args args{boxes(p.a, p.rows, p.k, p.lda, split.tokens), boxes(p.w, p.w_rows, p.k, p.ldw, channels),
                    p, split};
    const dim3 grid(static_cast<unsigned>(split.blocks), static_cast<unsigned>(p.cols / channels),
                    static_cast<unsigned>((p.rows + split.tokens - 1) / split.tokens));
    with_kernel(p.epilogue, split.N, [&](auto kernel) {
        start<Args>(kernel, args, grid, dim3(threads), static_cast<size_t>(split.bytes), at,
                    static_cast<unsigned>(split.blocks));
    });
}

}  // namespace ivit::cuda
