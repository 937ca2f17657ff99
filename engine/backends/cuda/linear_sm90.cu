// SPDX-License-Identifier: Apache-2.0
// int8 matrix products on Hopper: the copy engine brings tiles of A and W into a ring of stages, two
// warpgroups multiply them with wgmma straight out of shared memory, and one of them, or of another block on
// the same multiprocessor, requantizes while others multiply. Blocks stay and take one output tile after the
// other; the ring runs on across tiles.
#include "engine/backends/cuda/linear_sm90.h"

#include <algorithm>

#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/prepare.h"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

constexpr int BK = box_bytes;  // of K in a stage

// WG warpgroups of 64 rows each times BN columns; `stages` of K under way, brought by a warp of its own
// (apart) or, where registers are short, by the first thread between two products. blocks: that share a
// multiprocessor.
template <int WG_, int BN_, int stages_, bool apart_, int blocks_>
struct Shape {
    static constexpr int WG = WG_, BN = BN_, stages = stages_, blocks = blocks_;
    static constexpr bool apart = apart_;
    // Three times 128 threads would have too few registers each, did the warps that bring the stages not give
    // up theirs.
    static constexpr bool reassigns = WG > 2;
    static constexpr int BM = 64 * WG, warps = 4 * WG,
                         threads = 32 * (warps + (apart ? reassigns ? 4 : 1 : 0));
    static constexpr int stage_bytes = (BM + BN) * BK;
    static constexpr size_t shared_bytes = 1024 + stages * stage_bytes + table_bytes + 2 * stages * 8;
};
// Many tiles: the second-level cache brings 1/96 of a byte for each product of Huge and 1/64 for Large, but
// only Large's two blocks requantize and multiply at once for sure.
using Huge = Shape<3, 192, 4, true, 1>;
using Large = Shape<2, 128, 3, false, 2>;
using Small = Shape<1, 64, 6, true, 2>;

struct Args {
    CUtensorMap a, w;
    Linear p;
    FastDiv across;  // tiles in a row of tiles
    int32_t tiles;
};

template <Epilogue E, class S>
__global__ void __launch_bounds__(S::threads, S::blocks) wgmma_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int BM = S::BM, BN = S::BN, stages = S::stages, stage_bytes = S::stage_bytes, warps = S::warps;
    extern __shared__ uint8_t raw[];
    const Linear& p = args.p;
    const uint32_t base = (shared_address(raw) + 1023) & ~1023u;
    uint8_t* const aligned = raw + (base - shared_address(raw));
    uint32_t* const table = reinterpret_cast<uint32_t*>(aligned + stages * stage_bytes);
    const uint32_t full = base + stages * stage_bytes + table_bytes, empty = full + stages * 8;
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const int steps = (p.k + BK - 1) / BK;

    constexpr bool early = BM > 64;
    if (early) let_next_start();
    if (threadIdx.x == 0) {
        for (int i = 0; i < stages; ++i) {
            barrier_init(full + 8 * i, 1);
            barrier_init(empty + 8 * i, warps);
        }
        show_barriers();
    }
    if constexpr (E == Epilogue::gelu) spread_table(p, table);
    __syncthreads();

    // The next stage to bring, over the end of one output tile into the next. A block keeps `ahead` of them
    // under way.
    int load_tile = blockIdx.x, load_step = 0;
    uint32_t loads = 0;
    const auto load_w = [&](int tile, int step, uint32_t stage) {
        const int col = (tile - args.across.divide(tile) * args.across.d) * BN;
        barrier_expect(full + 8 * stage, stage_bytes);
        load_box(base + stage * stage_bytes + BM * BK, args.w, step * BK, col, full + 8 * stage);
    };
    const auto load_a = [&](int tile, int step, uint32_t stage) {
        load_box(base + stage * stage_bytes, args.a, step * BK, args.across.divide(tile) * BM,
                 full + 8 * stage);
    };
    const auto advance = [&] {
        ++loads;
        if (++load_step == steps) {
            load_step = 0;
            load_tile += gridDim.x;
        }
    };
    const auto load = [&] {
        if (load_tile >= args.tiles) return;
        const uint32_t stage = loads % stages, round = loads / stages;
        if (round > 0) barrier_wait(empty + 8 * stage, (round - 1) & 1);
        load_w(load_tile, load_step, stage);
        load_a(load_tile, load_step, stage);
        advance();
    };
    const auto bring = [&] {
        // The weights are nobody's output: those of the first tile need not wait for the kernel before this
        // one.
        const int ahead = min(steps, S::apart ? stages : stages - 1);
        for (int i = 0; i < ahead; ++i) load_w(load_tile, i, i);
        wait_for_inputs();
        for (int i = 0; i < ahead; ++i) {
            load_a(load_tile, load_step, i);
            advance();
        }
        if constexpr (S::apart)
            while (load_tile < args.tiles) load();
        else if (ahead < stages - 1)
            load();
    };
    if (S::apart && warp >= warps) {
        if constexpr (S::reassigns) asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
        if (threadIdx.x == 32 * warps) bring();
    } else {
        if constexpr (S::reassigns) asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
        if (!S::apart && threadIdx.x == 0) bring();
        wait_for_inputs();
        if (!early) let_next_start();
        uint32_t n = 0;  // stages used so far
        const auto release = [&](uint32_t stage) {
            if (lane == 0) barrier_arrive(empty + 8 * stage);
            if (!S::apart && threadIdx.x == 0) load();
            __syncwarp();
        };
        for (int tile = blockIdx.x; tile < args.tiles; tile += gridDim.x) {
            const int down = args.across.divide(tile), row0 = down * BM,
                      col0 = (tile - down * args.across.d) * BN;
            if constexpr (E == Epilogue::residual) {
                // What the epilogue adds to is on its way to the second-level cache meanwhile. (Where K is
                // long it would only push out what the products read.)
                constexpr int lines = BN * 2 / 128;
                for (int i = threadIdx.x; i < BM * lines && p.k <= 1024; i += 32 * warps) {
                    const int r = row0 + i / lines, c = col0 + i % lines * 64;
                    if (r < p.rows && c < p.cols)
                        asm volatile("prefetch.global.L2 [%0];" ::"l"(p.residual +
                                                                      static_cast<int64_t>(r) * p.ldo + c));
                }
            }
            int d[BN / 2];
            take_any(d);
            for (int step = 0; step < steps; ++step, ++n) {
                const uint32_t stage = n % stages;
                const uint32_t a = base + stage * stage_bytes + (warp >> 2) * 64 * BK;
                const uint32_t w = base + stage * stage_bytes + BM * BK;
                barrier_wait(full + 8 * stage, n / stages & 1);
                keep_in_place(d);
                wgmma_fence();
#pragma unroll
                for (int kk = 0; kk < BK / 32; ++kk)
                    multiply(d, descriptor(a) + 2 * kk, descriptor(w) + 2 * kk, step + kk > 0);
                wgmma_commit();
                if (step > 0) {  // the stage before this one has been read
                    wgmma_wait<1>();
                    release((n - 1) % stages);
                }
            }
            wgmma_wait<0>();
            keep_in_place(d);
            release((n - 1) % stages);
            const int row = row0 + (warp >> 2) * 64 + (warp & 3) * 16 + g;
            // The next old values of the residual stream are asked for before their columns' parameters.
            uint4 old[2] = {};
            const auto ask = [&](int j) {
                if constexpr (E == Epilogue::residual) {
                    const int c = min(col0 + 32 * j + 8 * t, p.cols - 8);
#pragma unroll
                    for (int h = 0; h < 2; ++h) old[h] = residual8(p, min(row + 8 * h, p.rows - 1), c);
                }
            };
            ask(0);
#pragma unroll
            for (int j = 0; j < BN / 32; ++j) {
                const int c = col0 + 32 * j + 8 * t;
                const Columns8 q(p.columns, min(c, p.cols - 8));
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    if (c >= p.cols || row + 8 * h >= p.rows) continue;
                    int v[8];
#pragma unroll
                    for (int e = 0; e < 8; ++e) v[e] = d[16 * j + 4 * (e / 2) + 2 * h + e % 2];
                    store8<E, true>(p, table, row + 8 * h, c, q, v, old[h]);
                }
                if (j + 1 < BN / 32) ask(j + 1);
            }
        }
    }
#endif
}

// Calls f with the kernel.
template <class S, class F>
void with_kernel(Epilogue epilogue, const F& f) {
    with_epilogue(epilogue, [&]<Epilogue E>() { f(wgmma_kernel<E, S>); });
}

}  // namespace

void prepare_wgmma(const Launch& at) {
    prepare_copy_engine(at);
    if (!copy_engine_ready()) return;
    for (const Epilogue epilogue : epilogues) {
        with_kernel<Huge>(epilogue, [&](auto kernel) { allow_shared(kernel, Huge::shared_bytes, at); });
        with_kernel<Large>(epilogue, [&](auto kernel) { allow_shared(kernel, Large::shared_bytes, at); });
        with_kernel<Small>(epilogue, [&](auto kernel) { allow_shared(kernel, Small::shared_bytes, at); });
    }
}

bool wgmma_fits(const Linear& p, const Launch& at) {
    return copy_engine_ready() && at.arch == 90 && p.columns.fits;
}

namespace {

template <class S>
void run(const Linear& p, const Launch& at) {
    const int across = (p.cols + S::BN - 1) / S::BN, down = (p.rows + S::BM - 1) / S::BM;
    const Args args{boxes(p.a, p.rows, p.k, p.lda, S::BM), boxes(p.w, p.w_rows, p.k, p.ldw, S::BN), p,
                    FastDiv(across), across * down};
    with_kernel<S>(p.epilogue, [&](auto kernel) {
        start<Args>(kernel, args, dim3(static_cast<unsigned>(std::min(args.tiles, S::blocks * at.sms))),
                    dim3(S::threads), S::shared_bytes, at);
    });
}

}  // namespace

void linear_wgmma(const Linear& p, Tile tile, const Launch& at) {
    if (tile == Tile::wgmma64)
        run<Small>(p, at);
    else if (tile == Tile::wgmma192)
        run<Huge>(p, at);
    else
        run<Large>(p, at);
}

void prepare_kernels(const Launch& at) {
    prepare_patches(at);
    prepare_layernorm(at);
    prepare_row_gelu(at);
    prepare_linear(at);
    prepare_attention(at);
    prepare_wgmma(at);
    prepare_panel(at);
    prepare_side(at);
    prepare_split(at);
    prepare_attention_sm90(at);
    prepare_block_attention(at);
    prepare_block_attention_wide(at);
    prepare_block_mlp(at);
}

}  // namespace ivit::cuda
