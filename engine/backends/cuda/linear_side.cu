// SPDX-License-Identifier: Apache-2.0
// int8 matrix products on Hopper that end in the residual stream, computed on their side, W times A
// transposed: each thread requantizes two channels and needs the parameters of no others. Tiles of 192 tokens
// x 192 channels, 64 of them for each of three warpgroups. The old stream's tile comes by the copy engine
// while the tensor cores multiply, is added to where it lies, and leaves from there.
#include <algorithm>

#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/linear_sm90.h"
#include "engine/backends/cuda/prepare.h"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

constexpr int WG = 3, tokens = 192, channels = 64 * WG, warps = 4 * WG, threads = 32 * (warps + 4);
constexpr int stages = 3, half_bytes = tokens * box_bytes, stage_bytes = 2 * half_bytes;
static_assert(tokens == channels);             // W's half of a stage is as large as A's
constexpr int stream_bytes = tokens * 64 * 2;  // a warpgroup's part of the stream: [tokens][64]
constexpr int at_stream = stages * stage_bytes, at_barriers = at_stream + WG * stream_bytes,
              shared_bytes = at_barriers + 8 * (2 * stages + WG);

struct Args {
    CUtensorMap a, w, old, out;
    Linear p;
    FastDiv across;  // tiles in a row of tiles
    int32_t tiles;
};

__global__ void __launch_bounds__(threads, 1) side_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) uint8_t shared[];
    const Linear& p = args.p;
    const uint32_t base = shared_address(shared), full = base + at_barriers, empty = full + 8 * stages,
                   old_full = empty + 8 * stages;
    // The same for the whole warp, and this way the compiler knows.
    const int warp = __shfl_sync(0xffffffff, static_cast<int>(threadIdx.x >> 5), 0), lane = lane_id();
    const int steps = (p.k + box_bytes - 1) / box_bytes;
    uint32_t stage = 0, times = 0;  // of the next chunk of K
    const auto next_stage = [&] {
        if (++stage == stages) stage = 0, ++times;
    };

    let_next_start();
    if (threadIdx.x == 0) {
        for (int i = 0; i < stages; ++i) {
            barrier_init(full + 8 * i, 1);
            barrier_init(empty + 8 * i, warps);
        }
        for (int i = 0; i < WG; ++i) barrier_init(old_full + 8 * i, 1);
        show_barriers();
    }
    __syncthreads();

    if (warp >= warps) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
        if (threadIdx.x != 32 * warps) return;
        bool waited = false;
        for (int tile = blockIdx.x; tile < args.tiles; tile += gridDim.x) {
            const int down = args.across.divide(tile), col = (tile - down * args.across.d) * channels;
            for (int step = 0; step < steps; ++step, next_stage()) {
                const uint32_t to = base + stage * stage_bytes, done = full + 8 * stage;
                if (times > 0) barrier_wait(empty + 8 * stage, (times - 1) & 1);
                barrier_expect(done, stage_bytes);
                load_box(to + half_bytes, args.w, step * box_bytes, col, done);
                if (!waited) wait_for_inputs();  // which the weights need not
                waited = true;
                load_box(to, args.a, step * box_bytes, down * tokens, done);
            }
        }
        return;
    }

    asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
    const int group = warp >> 2, g = lane >> 2;
    const bool speaks = (warp & 3) == 0 && lane == 0;  // for its warpgroup
    // This warpgroup's part of the stream, rows of 128 bytes under the swizzle, and where this lane's row of
    // the first 16 tokens' four matrices begins: tokens 0 .. 7 of eight channels and of the next, then tokens
    // 8 .. 15.
    const uint32_t stream = base + at_stream + group * stream_bytes;
    const uint32_t row = stream + ((lane >> 4) * 8 + (lane & 7)) * box_bytes +
                         (((warp & 3) * 2 + (lane >> 3 & 1)) ^ (lane & 7)) * 16;
    const int half = 1 << (p.st - 17), shift = p.st - 16;  // as in stream_share
    const uint32_t low2 = pack_s16(p.columns.low, p.columns.low),
                   top2 = pack_s16(p.columns.top, p.columns.top);
    uint32_t turn = 0;
    wait_for_inputs();
    for (int tile = blockIdx.x; tile < args.tiles; tile += gridDim.x, ++turn) {
        const int down = args.across.divide(tile),
                  col = (tile - down * args.across.d) * channels + 64 * group;
        const int c = min(col + (warp & 3) * 16 + g, p.cols - 9);  // this thread's channels: c and c + 8
        int m[2], s[2];
        int64_t r[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            m[e] = __ldg(p.columns.m + c + 8 * e);
            r[e] = __ldg(p.columns.r + c + 8 * e);
            s[e] = __ldg(p.columns.s + c + 8 * e);
        }
        // [4j + {0, 1}]: tokens 8j + 2t, + 1 of channel c, [4j + {2, 3}] of channel c + 8.
        int d[tokens / 2];
        take_any(d);
        uint32_t used = 0;
        for (int step = 0; step < steps; ++step, next_stage()) {
            barrier_wait(full + 8 * stage, times & 1);
            const uint32_t a = descriptor(base + stage * stage_bytes),
                           w = descriptor(base + stage * stage_bytes + half_bytes + group * 64 * box_bytes);
            keep_in_place(d);
            wgmma_fence();
#pragma unroll
            for (int kk = 0; kk < box_bytes / 32; ++kk) multiply(d, w + 2 * kk, a + 2 * kk, step + kk > 0);
            wgmma_commit();
            if (step > 0) {  // the chunk before this one has been read
                wgmma_wait<1>();
                if (lane == 0) barrier_arrive(empty + 8 * used);
            }
            used = stage;
            if (step == min(1, steps - 1) && speaks) {
                wait_for_stores();  // the tile before this one has left
                barrier_expect(old_full + 8 * group, stream_bytes);
                load_box(stream, args.old, 2 * col, down * tokens, old_full + 8 * group);
            }
            __syncwarp();
        }
        wgmma_wait<0>();
        keep_in_place(d);
        if (lane == 0) barrier_arrive(empty + 8 * used);
        barrier_wait(old_full + 8 * group, turn & 1);
#pragma unroll
        for (int j = 0; j < tokens / 8; j += 2) {
            uint32_t old[4], y[4];
            load_matrices_transposed(old, row + 8 * j * box_bytes);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int e = i & 1;
                const int* const v = d + 4 * (j + i / 2) + 2 * e;
                const int first = scale_word(v[0], m[e], r[e], s[e]) +
                                  scale_top(static_cast<int>(old[i] << 16), p.mt, half, shift);
                const int second = scale_word(v[1], m[e], r[e], s[e]) +
                                   scale_top(static_cast<int>(old[i] & 0xffff0000), p.mt, half, shift);
                y[i] = __vmins2(__vmaxs2(pack_s16(first, second), low2), top2);
            }
            store_matrices_transposed(row + 8 * j * box_bytes, y);
        }
        show_to_engines();
        if ((warp & 3) == 0) {
            asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
            if (speaks) store_box(args.out, 2 * col, down * tokens, stream);
            __syncwarp();
        } else {  // the others need not wait
            asm volatile("bar.arrive %0, 128;" ::"r"(1 + group) : "memory");
        }
    }
    if (speaks) finish_stores();
#endif
}

}  // namespace

void prepare_side(const Launch& at) {
    if (copy_engine_ready()) allow_shared(side_kernel, shared_bytes, at);
}

bool side_fits(const Linear& p, const Launch& at) {
    return p.w_side && copy_engine_ready() && at.arch == 90 && shared_bytes <= at.shared_limit &&
           p.epilogue == Epilogue::residual && p.columns.fits;
}

void linear_side(const Linear& p, const Launch& at) {
    const int across = (p.cols + channels - 1) / channels, down = (p.rows + tokens - 1) / tokens;
    const Args args{boxes(p.a, p.rows, p.k, p.lda, tokens),
                    boxes(p.w_side, p.w_rows, p.k, p.ldw, channels),
                    boxes(p.residual, p.rows, 2 * p.ldo, 2 * p.ldo, tokens),
                    boxes(p.out, p.rows, 2 * p.ldo, 2 * p.ldo, tokens),
                    p,
                    FastDiv(across),
                    across * down};
    start<Args>(side_kernel, args, dim3(static_cast<unsigned>(std::min(args.tiles, at.sms))), dim3(threads),
                shared_bytes, at);
}

}  // namespace ivit::cuda
