// SPDX-License-Identifier: Apache-2.0
// int8 matrix products on Hopper where K is short. A block keeps a panel of A, 192 rows of all of K, in
// shared memory while the copy engine brings one tile of W after the other: a third of the bytes that
// linear_sm90.cu moves from the second-level cache, which is what limits it. The products are computed on
// their side, W times A transposed: each thread then requantizes two channels and needs the parameters of no
// others. Warpgroups have tiles of their own and take turns: one multiplies while the others requantize.
#include "engine/backends/cuda/linear_sm90.h"

#include <algorithm>

#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/prepare.h"
#include "engine/backends/cuda/wgmma.cuh"

namespace ivit::cuda {
namespace {

constexpr int tokens = 192, channels = 64;  // of a tile: rows of A and of W
constexpr int chunk_bytes_a = tokens * box_bytes, chunk_bytes_w = channels * box_bytes;
constexpr int tile_bytes = tokens * channels;

// K: at most 32 K32, in `chunks` of 128 bytes. Room for `panels` of A and `ring` tiles of W. WG warpgroups,
// each with room for one output tile on its way out.
template <int K32_, int panels_, int ring_, int WG_, int copies_>
struct Shape {
    static constexpr int K32 = K32_, chunks = (K32 + 3) / 4, panels = panels_, ring = ring_, WG = WG_,
                         copies = copies_;
    static constexpr int warps = 4 * WG, threads = 32 * (warps + 4);
    static constexpr int at_w = panels * chunks * chunk_bytes_a,
                         at_out = at_w + ring * chunks * chunk_bytes_w, at_table = at_out + WG * tile_bytes,
                         at_barriers = at_table + copies * table_bytes_each,
                         shared_bytes = at_barriers + 8 * (2 * chunks * (ring + panels) + WG);
};
using Short = Shape<6, 2, 4, 3, 16>;
using Middle = Shape<12, 1, 4, 3, 16>;
using Long = Shape<24, 1, 1, 2, 8>;

// An item is `part` tiles of a panel's channels, or what is left of them.
struct Args {
    CUtensorMap a, w, out;
    Linear p;
    FastDiv parts;  // of a panel
    int32_t part, across, items;
};

// coarse: the output has less than 8 bits (Columns::spare).
template <Epilogue E, bool coarse, class S>
__global__ void __launch_bounds__(S::threads, 1) panel_kernel(const __grid_constant__ Args args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int WG = S::WG, warps = S::warps;
    extern __shared__ __align__(1024) uint8_t shared[];
    const Linear& p = args.p;
    const uint32_t base = shared_address(shared);
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared + S::at_table);
    // The same for the whole warp, and this way the compiler knows.
    const int warp = __shfl_sync(0xffffffff, static_cast<int>(threadIdx.x >> 5), 0), lane = lane_id();

    // Of each chunk of W and of A in its place: whether it is there, and whether it has been read.
    const uint32_t w_full = base + S::at_barriers, w_empty = w_full + 8 * S::ring * S::chunks,
                   a_full = w_empty + 8 * S::ring * S::chunks, a_empty = a_full + 8 * S::panels * S::chunks,
                   order = a_empty + 8 * S::panels * S::chunks;

    let_next_start();
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::ring * S::chunks; ++i) {
            barrier_init(w_full + 8 * i, 1);
            barrier_init(w_empty + 8 * i, 4);
        }
        for (int i = 0; i < S::panels * S::chunks; ++i) {
            barrier_init(a_full + 8 * i, 1);
            barrier_init(a_empty + 8 * i, warps);
        }
        for (int i = 0; i < WG; ++i) barrier_init(order + 8 * i, 4);
        show_barriers();
    }
    if constexpr (E == Epilogue::gelu) spread_table<S::copies>(p, table);
    __syncthreads();

    int panel = -1;                              // of the current item
    uint32_t place = S::panels - 1, turn = -1u;  // where it lies, and how often something lay there before
    const auto next_panel = [&](int which) {
        if (which == panel) return false;
        panel = which;
        if (++place == S::panels) place = 0, ++turn;
        return true;
    };

    if (warp >= warps) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
        if (lane > 0) return;
        if (warp == warps) {
            // One brings the panels, each chunk of them once all have read what lay there.
            wait_for_inputs();
            for (int item = blockIdx.x; item < args.items; item += gridDim.x) {
                if (!next_panel(args.parts.divide(item))) continue;
                for (int k = 0; k < S::chunks; ++k) {
                    const uint32_t chunk = place * S::chunks + k;
                    if (turn > 0) barrier_wait(a_empty + 8 * chunk, (turn - 1) & 1);
                    barrier_expect(a_full + 8 * chunk, chunk_bytes_a);
                    load_box(base + chunk * chunk_bytes_a, args.a, k * box_bytes, panel * tokens,
                             a_full + 8 * chunk);
                }
            }
            return;
        }
        if (warp > warps + 1) return;
        uint32_t count = 0;  // tiles of W so far
        for (int item = blockIdx.x; item < args.items; item += gridDim.x) {
            const int first = args.parts.remainder(item) * args.part,
                      last = min(first + args.part, args.across);
            for (int tile = first; tile < last; ++tile, ++count)
                for (int k = 0; k < S::chunks; ++k) {
                    const uint32_t chunk = count % S::ring * S::chunks + k, times = count / S::ring;
                    if (times > 0) barrier_wait(w_empty + 8 * chunk, (times - 1) & 1);
                    barrier_expect(w_full + 8 * chunk, chunk_bytes_w);
                    load_box(base + S::at_w + chunk * chunk_bytes_w, args.w, k * box_bytes, tile * channels,
                             w_full + 8 * chunk);
                }
        }
        return;
    }

    if constexpr (WG == 2)
        asm volatile("setmaxnreg.inc.sync.aligned.u32 208;");
    else
        asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
    const int group = warp >> 2, g = lane >> 2;
    const auto group_barrier = [&](int kind) {
        asm volatile("bar.sync %0, 128;" ::"r"(1 + kind + group) : "memory");
    };
    const bool speaks = (warp & 3) == 0 && lane == 0;  // for its warpgroup
    // A tile's output, [tokens][channels] under the 64-byte swizzle, and where this thread's rows begin: its
    // warp's 16 channels.
    const uint32_t output = base + S::at_out + group * tile_bytes;
    const uint32_t row = output + lane * channels + (((warp & 3) ^ (lane >> 1 & 3)) << 4);
    // Warpgroups multiply one after the other: at the same time they would also requantize at the same time,
    // while the tensor cores wait.
    uint32_t lap = 0;
    const auto wait_for_turn = [&] {
        if (group > 0 || lap > 0) barrier_wait(order + 8 * group, group > 0 ? lap & 1 : (lap - 1) & 1);
        ++lap;
    };
    const auto pass_turn = [&] {
        if (lane == 0) barrier_arrive(order + 8 * (group + 1 == WG ? 0 : group + 1));
    };
    uint32_t count = 0;  // tiles of W before this item
    wait_for_inputs();

    for (int item = blockIdx.x; item < args.items; item += gridDim.x) {
        next_panel(args.parts.divide(item));
        bool waited = false;  // for the panel
        const int first = (item - panel * args.parts.d) * args.part,
                  last = min(first + args.part, args.across), next = item + static_cast<int>(gridDim.x);
        const bool ends = next >= args.items || args.parts.divide(next) != panel;  // with this item
        const uint32_t chunks = place * S::chunks;
        if (ends && first + group >= last && lane == 0)  // nothing here for this warpgroup
            for (int k = 0; k < S::chunks; ++k) {
                barrier_wait(a_full + 8 * (chunks + k), turn & 1);
                barrier_arrive(a_empty + 8 * (chunks + k));
            }
        for (int tile = first + group; tile - group < last; tile += WG) {
            if (tile >= last) {
                wait_for_turn();
                pass_turn();
                break;
            }
            // This thread's two channels.
            const int c = tile * channels + (warp & 3) * 16 + 2 * g;
            const int2 m = __ldg(reinterpret_cast<const int2*>(p.columns.m + c));
            const longlong2 r = __ldg(reinterpret_cast<const longlong2*>(p.columns.r + c));
            uint32_t both_s = __ldg(reinterpret_cast<const uint16_t*>(p.columns.s + c));
            // [4j + {0, 1}]: tokens 8j + 2t, + 1 of the first channel, [4j + {2, 3}] of the second.
            int d[tokens / 2];
            take_any(d);
            keep_in_place(d);
            const uint32_t n = count + static_cast<uint32_t>(tile - first), turns = n / S::ring,
                           w_chunks = n % S::ring * S::chunks;
            // After the last of this warpgroup's products with it a chunk of the panel may go.
            const bool last_one = ends && tile + WG >= last;
            const auto release = [&](int k) {
                if (lane > 0) return;
                barrier_arrive(w_empty + 8 * (w_chunks + k));
                if (last_one) barrier_arrive(a_empty + 8 * (chunks + k));
            };
            wait_for_turn();
#pragma unroll
            for (int k = 0; k < S::chunks; ++k) {
                if (!waited) barrier_wait(a_full + 8 * (chunks + k), turn & 1);
                barrier_wait(w_full + 8 * (w_chunks + k), turns & 1);
                const uint32_t w = descriptor(base + S::at_w + (w_chunks + k) * chunk_bytes_w),
                               a = descriptor(base + (chunks + k) * chunk_bytes_a);
                wgmma_fence();
#pragma unroll
                for (int kk = 0; kk < 4 && 4 * k + kk < S::K32; ++kk)
                    multiply(d, w + 2 * kk, a + 2 * kk, k + kk > 0);
                wgmma_commit();
                if (k + 1 == S::chunks) pass_turn();
                if (k > 0) {
                    wgmma_wait<1>();
                    release(k - 1);
                }
            }
            waited = true;
            if (speaks) wait_for_stores();  // the tile before this one has left
            group_barrier(0);
            wgmma_wait<0>();
            keep_in_place(d);
            release(S::chunks - 1);
            asm volatile("" : "+r"(both_s));  // or it would be waited for between two products
            const int s0 = static_cast<int>(both_s & 0xff), s1 = static_cast<int>(both_s >> 8);
#pragma unroll
            for (int j = 0; j < tokens / 8; j += 4) {
                uint32_t y[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int* const v = d + 4 * (j + i);
                    y[i] = pack4(scale_word(v[0], m.x, r.x, s0), scale_word(v[2], m.y, r.y, s1),
                                 scale_word(v[1], m.x, r.x, s0), scale_word(v[3], m.y, r.y, s1));
                    if constexpr (E == Epilogue::gelu) y[i] = look_up4<S::copies>(table, y[i]);
                    if constexpr (coarse) y[i] = shift_bytes(y[i], p.columns.spare);
                }
                store_matrices_transposed(row + 8 * j * channels, y);
            }
            show_to_engines();
            if ((warp & 3) == 0) {
                group_barrier(WG);
                if (speaks) store_box(args.out, tile * channels, panel * tokens, output);
                __syncwarp();
            } else {  // the others need not wait
                asm volatile("bar.arrive %0, 128;" ::"r"(1 + WG + group) : "memory");
            }
        }
        count += static_cast<uint32_t>(last - first);
    }
    if (speaks) finish_stores();
#endif
}

// Calls f with the kernel for K, the epilogue and Columns::spare, where there is one.
template <class F>
void with_kernel(int k, Epilogue epilogue, int spare, const F& f) {
    const auto of = [&]<class S>(S shape) {
        if (epilogue == Epilogue::int8 && spare == 0) f(panel_kernel<Epilogue::int8, false, S>, shape);
        if (epilogue == Epilogue::int8 && spare > 0) f(panel_kernel<Epilogue::int8, true, S>, shape);
        if (epilogue == Epilogue::gelu) f(panel_kernel<Epilogue::gelu, false, S>, shape);
    };
    if (k <= 32 * Short::K32) return of(Short{});
    if (k <= 32 * Middle::K32) return of(Middle{});
    if (k <= 32 * Long::K32) return of(Long{});
}

// Into how many items a panel's channels are cut, so that the blocks have equally much to do: rounds of
// items, each of which costs its tiles, and its rows of A as much as one more.
int best_part(int panels, int across, int groups, int sms) {
    int best = across, least = 0;
    for (int parts = 1; parts * groups <= across; ++parts) {
        const int part = static_cast<int>(round_up((across + parts - 1) / parts, groups)),
                  items = panels * ((across + part - 1) / part),
                  cost = (items + sms - 1) / sms * (part + groups);
        if (parts == 1 || cost < least) best = part, least = cost;
    }
    return best;
}

}  // namespace

void prepare_panel(const Launch& at) {
    if (!copy_engine_ready()) return;
    for (const int k : {Short::K32, Middle::K32, Long::K32})
        for (const Epilogue epilogue : {Epilogue::int8, Epilogue::gelu})
            for (const int spare : {0, 1})
                with_kernel(32 * k, epilogue, spare,
                            [&]<class S>(auto kernel, S) { allow_shared(kernel, S::shared_bytes, at); });
}

bool panel_fits(const Linear& p, const Launch& at) {
    if (!p.w_side || !copy_engine_ready() || at.arch != 90) return false;
    bool fits = false;
    with_kernel(p.k, p.epilogue, p.columns.spare,
                [&]<class S>(auto, S) { fits = S::shared_bytes <= at.shared_limit; });
    return fits && p.columns.fits;
}

void linear_panel(const Linear& p, const Launch& at) {
    with_kernel(p.k, p.epilogue, p.columns.spare, [&]<class S>(auto kernel, S) {
        Args args{};
        args.a = boxes(p.a, p.rows, p.k, p.lda, tokens);
        args.w = boxes(p.w_side, p.w_rows, p.k, p.ldw, channels);
        args.out = boxes(p.out, p.rows, p.ldo, p.ldo, tokens, channels);
        args.p = p;
        args.across = p.cols / channels;
        const int panels = (p.rows + tokens - 1) / tokens;
        args.part = best_part(panels, args.across, S::WG, at.sms);
        args.parts = FastDiv((args.across + args.part - 1) / args.part);
        args.items = panels * args.parts.d;
        start<Args>(kernel, args, dim3(static_cast<unsigned>(std::min(args.items, at.sms))), dim3(S::threads),
                    S::shared_bytes, at);
    });
}

}  // namespace ivit::cuda
