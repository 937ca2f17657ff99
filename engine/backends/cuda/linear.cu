// SPDX-License-Identifier: Apache-2.0
// int8 matrix products on tensor cores through mma.sync (sm_75 and later), tiles staged by cp.async, with
// everything that follows them in the epilogue.
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/linear_sm90.h"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

constexpr int slab = 64;  // bytes of K a warp group works through between two barriers

// One tile size: BM x BN outputs, WM x WN x WK warps (WK of them share an output and split K), `stages` slabs
// in flight.
template <int BM_, int BN_, int WM_, int WN_, int WK_, int stages_>
struct Shape {
    static constexpr int BM = BM_, BN = BN_, WM = WM_, WN = WN_, WK = WK_, stages = stages_;
    static constexpr int warps = WM * WN * WK, threads = 32 * warps;
    static constexpr int TM = BM / WM, TN = BN / WN;  // of a warp
    static_assert(TM % 16 == 0 && TN == 32);
    static constexpr bool early = WK > 1;  // small tiles fetch what the epilogue reads ahead of the products
    static constexpr int a_bytes = BM * slab, stage_bytes = WK * (a_bytes + BN * slab);
    static constexpr int reduce_bytes = (WK - 1) * BM * BN * 4;
    static constexpr int pipeline_bytes = stages * stage_bytes;
    static constexpr int work_bytes = pipeline_bytes > reduce_bytes ? pipeline_bytes : reduce_bytes;
    static size_t shared_bytes(const Linear& p) {
        return static_cast<size_t>(work_bytes) + (p.epilogue == Epilogue::gelu ? table_bytes : 0);
    }
};

template <class S>
__global__ void __launch_bounds__(S::threads) linear_kernel(const Linear p) {
    extern __shared__ __align__(128) uint8_t shared[];
    const uint32_t base = shared_address(shared);
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared + S::work_bytes);
    const int warp = threadIdx.x >> 5, lane = lane_id();
    const int wk = warp / (S::WM * S::WN), wm = warp % S::WM, wn = warp / S::WM % S::WN;
    const int row0 = blockIdx.y * S::BM, col0 = blockIdx.x * S::BN;
    const int steps = (p.k + S::WK * slab - 1) / (S::WK * slab);

    // Stage of step i: WK sub-slabs, each A [BM, 64] then W [BN, 64].
    const auto load_w = [&](int step) {
        const uint32_t to = base + (step % S::stages) * S::stage_bytes;
        for (int i = threadIdx.x; i < S::WK * S::BN * 4; i += S::threads) {
            const int c = i & 3, n = (i >> 2) % S::BN, sub = (i >> 2) / S::BN,
                      k = (step * S::WK + sub) * slab + 16 * c;
            if (k >= p.k) continue;  // no warp reads it
            const bool there = col0 + n < p.w_rows;
            copy16(to + sub * (S::a_bytes + S::BN * slab) + S::a_bytes + swizzled(n, c),
                   p.w + static_cast<int64_t>(there ? col0 + n : 0) * p.ldw + k, there);
        }
    };
    const auto load_a = [&](int step) {
        const uint32_t to = base + (step % S::stages) * S::stage_bytes;
        for (int i = threadIdx.x; i < S::WK * S::BM * 4; i += S::threads) {
            const int c = i & 3, m = (i >> 2) % S::BM, sub = (i >> 2) / S::BM,
                      k = (step * S::WK + sub) * slab + 16 * c;
            if (k >= p.k) continue;
            const bool there = row0 + m < p.rows;
            copy16(to + sub * (S::a_bytes + S::BN * slab) + swizzled(m, c),
                   p.a + static_cast<int64_t>(there ? row0 + m : 0) * p.lda + k, there);
        }
    };

    // Weights and tables are nobody's output: their loads start before the kernel before us has ended.
#pragma unroll
    for (int i = 0; i < S::stages - 1; ++i)
        if (i < steps) load_w(i);
    if (p.epilogue == Epilogue::gelu) spread_table(p, table);
    const int g = lane >> 2, t = lane & 3;
    const int c = col0 + wn * S::TN + 8 * t;  // first of the eight channels this thread ends up with
    const bool finishes = wk == 0 && c < p.cols;
    Columns8 q;
    uint4 old[S::TM / 16][2];
    if (S::early && finishes) q = Columns8(p.columns, c);
    wait_for_inputs();
    let_next_start();
    const auto row_of = [&](int i, int half) { return row0 + wm * S::TM + 16 * i + 8 * half + g; };
    const auto fetch_old = [&](int i, int half) {
        return p.epilogue == Epilogue::residual && row_of(i, half) < p.rows ? residual8(p, row_of(i, half), c)
                                                                            : make_uint4(0, 0, 0, 0);
    };
    if constexpr (S::early) {
#pragma unroll
        for (int i = 0; i < S::TM / 16; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (finishes) old[i][half] = fetch_old(i, half);
    }
#pragma unroll
    for (int i = 0; i < S::stages - 1; ++i) {
        if (i < steps) load_a(i);
        copy_commit();
    }

    int acc[S::TM / 16][S::TN / 8][4] = {};
    for (int step = 0; step < steps; ++step) {
        copy_wait<S::stages - 2>();
        __syncthreads();
        if (step + S::stages - 1 < steps) {
            load_w(step + S::stages - 1);
            load_a(step + S::stages - 1);
        }
        copy_commit();
        const int k0 = (step * S::WK + wk) * slab;
        if (k0 >= p.k) continue;
        const uint32_t a_tile = base + (step % S::stages) * S::stage_bytes + wk * (S::a_bytes + S::BN * slab);
        const uint32_t w_tile = a_tile + S::a_bytes;
#pragma unroll
        for (int kk = 0; kk < slab / 32; ++kk) {
            if (k0 + 32 * kk >= p.k) break;
            uint32_t a[S::TM / 16][4], b[S::TN / 16][4];
#pragma unroll
            for (int i = 0; i < S::TM / 16; ++i) {
                const int m = wm * S::TM + 16 * i + (lane & 15), c = 2 * kk + (lane >> 4);
                load_matrices(a[i], a_tile + swizzled(m, c));
            }
#pragma unroll
            for (int j = 0; j < S::TN / 16; ++j) {
                const int n = wn * S::TN + 16 * j + (lane & 7) + (lane >> 4) * 8;
                load_matrices(b[j], w_tile + swizzled(n, 2 * kk + (lane >> 3 & 1)));
            }
#pragma unroll
            for (int i = 0; i < S::TM / 16; ++i)
#pragma unroll
                for (int j = 0; j < S::TN / 16; ++j) {
                    mma_s8(acc[i][2 * j], a[i], b[j][0], b[j][1]);
                    mma_s8(acc[i][2 * j + 1], a[i], b[j][2], b[j][3]);
                }
        }
    }

    if constexpr (S::WK > 1) {  // the first of the warps that share an output sums it up
        copy_wait<0>();
        __syncthreads();
        constexpr int values = S::TM / 16 * (S::TN / 8) * 4;
        int* const sums = reinterpret_cast<int*>(shared);
        const int mine = (warp % (S::WM * S::WN)) * values * 32 + lane;
        if (wk > 0) {
            int* const to = sums + (wk - 1) * S::BM * S::BN + mine;
#pragma unroll
            for (int i = 0; i < values; ++i) to[32 * i] = acc[i / (S::TN / 2)][i / 4 % (S::TN / 8)][i % 4];
        }
        __syncthreads();
        if (wk > 0) return;
#pragma unroll
        for (int w = 0; w < S::WK - 1; ++w)
#pragma unroll
            for (int i = 0; i < values; ++i)
                acc[i / (S::TN / 2)][i / 4 % (S::TN / 8)][i % 4] += sums[w * S::BM * S::BN + mine + 32 * i];
    }

    if (p.epilogue == Epilogue::gelu && S::WK == 1) __syncthreads();
    if (!finishes) return;
    if (!S::early) q = Columns8(p.columns, c);
    const auto store = [&]<Epilogue E, bool fits>() {
#pragma unroll
        for (int i = 0; i < S::TM / 16; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                if (row_of(i, half) >= p.rows) continue;
                int v[8];
#pragma unroll
                for (int e = 0; e < 8; ++e) v[e] = acc[i][e / 2][2 * half + e % 2];
                store8<E, fits>(p, table, row_of(i, half), c, q, v,
                                S::early ? old[i][half] : fetch_old(i, half));
            }
    };
    with_epilogue(p.epilogue, [&]<Epilogue E>() {
        if (p.columns.fits)
            store.template operator()<E, true>();
        else
            store.template operator()<E, false>();
    });
}

using Rows16 = Shape<16, 32, 1, 1, 4, 6>;
using Rows32 = Shape<32, 64, 2, 2, 2, 6>;
using Rows64 = Shape<64, 64, 2, 2, 1, 6>;
using Rows128 = Shape<128, 128, 2, 4, 1, 4>;

template <class S>
void run(const Linear& p, const Launch& at) {
    const dim3 grid(static_cast<unsigned>((p.cols + S::BN - 1) / S::BN),
                    static_cast<unsigned>((p.rows + S::BM - 1) / S::BM));
    start<Linear>(linear_kernel<S>, p, grid, dim3(S::threads), S::shared_bytes(p), at);
}

// Calls f with the Shape that a tile stands for.
template <class F>
void with_shape(Tile tile, const F& f) {
    if (tile == Tile::rows16) return f(Rows16{});
    if (tile == Tile::rows32) return f(Rows32{});
    if (tile == Tile::rows64) return f(Rows64{});
    return f(Rows128{});
}

template <class S>
void raise_limit(const Launch& at) {
    Linear most;
    most.epilogue = Epilogue::gelu;
    allow_shared(linear_kernel<S>, S::shared_bytes(most), at);
}

}  // namespace

void prepare_linear(const Launch& at) {
    raise_limit<Rows16>(at);
    raise_limit<Rows32>(at);
    raise_limit<Rows64>(at);
    raise_limit<Rows128>(at);
}

bool tile_fits(Tile tile, const Linear& p, const Launch& at) {
    if (tile == Tile::panel) return panel_fits(p, at);
    if (tile == Tile::side) return side_fits(p, at);
    if (tile == Tile::split) return split_fits(p, at);
    if (tile >= Tile::wgmma64) return wgmma_fits(p, at);
    size_t bytes = 0;
    with_shape(tile, [&]<class S>(S) { bytes = S::shared_bytes(p); });
    return bytes <= at.shared_limit;
}

// Few rows: enough blocks to occupy the multiprocessors, since each is short. Many rows: the tile that reuses
// most. The thresholds are measured (benchmarks_gpu.md).
Tile choose_tile(const Linear& p, const Launch& at) {
    const auto blocks = [&](int bm, int bn) {
        return int64_t{(p.rows + bm - 1) / bm} * ((p.cols + bn - 1) / bn);
    };
    if (blocks(192, 64) >= 2 * at.sms && panel_fits(p, at)) return Tile::panel;
    if (blocks(128, 128) >= 2 * at.sms) {
        if (!tile_fits(Tile::wgmma, p, at)) return Tile::rows128;
        // The greatest tiles, one at a time on a multiprocessor, where they fill their last round nearly too,
        // and the epilogue waits for memory anyway or K is long.
        const int64_t tiles = blocks(192, 192), rounds = (tiles + at.sms - 1) / at.sms;
        if (rounds > 1 && 10 * tiles >= 9 * rounds * at.sms) {
            if (side_fits(p, at)) return Tile::side;
            if (p.k >= 512) return Tile::wgmma192;
        }
        return Tile::wgmma;
    }
    if (tile_fits(Tile::split, p, at)) return Tile::split;
    if (tile_fits(Tile::wgmma64, p, at)) return Tile::wgmma64;
    if (blocks(128, 128) >= at.sms) return Tile::rows128;
    if (blocks(64, 64) >= 2 * at.sms) return Tile::rows64;
    // Every block of a GELU fills its table first.
    if (4 * blocks(32, 64) >= (p.epilogue == Epilogue::gelu ? 2 : 3) * at.sms) return Tile::rows32;
    return Tile::rows16;
}

void linear(const Linear& p, Tile tile, const Launch& at) {
    if (tile == Tile::panel) return linear_panel(p, at);
    if (tile == Tile::side) return linear_side(p, at);
    if (tile == Tile::split) return linear_split(p, at);
    if (tile >= Tile::wgmma64) return linear_wgmma(p, tile, at);
    with_shape(tile, [&]<class S>(S) { run<S>(p, at); });
}

}  // namespace ivit::cuda
