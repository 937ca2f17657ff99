// SPDX-License-Identifier: Apache-2.0
// proj + residual, I-LayerNorm, fc1, GELU and fc2 + residual in one kernel (block.h). A cluster of blocks
// takes 16 rows. Each block makes all of proj, or where that is much its own channels, which all blocks then
// gather; all of the norm; its own part of the hidden channels; and what these give to all of fc2's sums,
// which it sends to the block that finishes them.
#include "engine/backends/cuda/block.cuh"
#include "engine/backends/cuda/block.h"
#include "engine/backends/cuda/cluster.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

constexpr int blocks = 8;  // of a cluster
constexpr int warps = 12, threads = 32 * warps;

// For rows of 64 C channels and 256 C hidden ones. Places in shared memory, in bytes.
template <int C>
struct Places {
    static constexpr bool gather = C > 3;  // the channels of proj
    static constexpr int width = 64 * C, hidden = 4 * width / blocks, own = width / blocks,
                         made = gather ? own : width;  // channels of proj
    static constexpr int pitch = row_pitch(width), hidden_pitch = row_pitch(hidden),
                         old_pitch = 2 * made + 32;
    // What proj has made of the stream: pieces [16][own] of 16 bits, and a row between, so that a row is read
    // without a conflict.
    static constexpr int row = 2 * own, piece = 17 * row;
    static constexpr int proj = table_bytes, fc1 = proj + made * width, fc2 = fc1 + hidden * width,
                         rows = fc2 + width * hidden, hiddens = rows + 16 * pitch,
                         stream = hiddens + 16 * hidden_pitch,  // [blocks] pieces
        old = stream + blocks * piece,  // [16][made] of 16 bits: what proj is added to
        sums = old + 16 * old_pitch,    // [blocks][own / 8][lanes] x 16
        barriers = sums + blocks * own / 8 * 512;
    static constexpr size_t bytes = barriers + 5 * 8;
    static_assert(own % 8 == 0 && width % (8 * warps) == 0 && hidden % (8 * warps) == 0);
    static_assert(width <= threads && 2 * made <= threads && 8 * own <= threads);
};

// whole: I-LayerNorm's bytes are of the whole range. alone: with so many registers that no two blocks share a
// multiprocessor, but one and a block of the attention half do, where the rows are not wide.
template <int C, bool whole, bool alone>
__global__ void __maxnreg__(C > 3   ? 168
                            : alone ? 96
                                    : 80) block_mlp_kernel(const __grid_constant__ BlockMlp p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    using P = Places<C>;
    constexpr int width = P::width, hidden = P::hidden, own = P::own, made = P::made;
    // Tiles of 8 columns that a warp has of proj, fc1 and fc2.
    constexpr int mine = (made / 8 + warps - 1) / warps, narrow = hidden / (8 * warps),
                  wide = width / (8 * warps);
    constexpr int fc_bytes = hidden * width, tiles = own / 8;
    extern __shared__ __align__(128) uint8_t shared[];
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared);
    const int rank = blockIdx.x, row0 = 16 * blockIdx.y, made0 = P::gather ? rank * own : 0;
    const uint32_t base = shared_address(shared), full = base + P::barriers, stream_full = full + 24,
                   sums_full = full + 32;
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const auto load_fc = [&] {
        load_bytes(base + P::fc1, p.fc1.w + rank * fc_bytes, fc_bytes, full + 8);
        load_bytes(base + P::fc2, p.fc2.w + rank * fc_bytes, fc_bytes, full + 16);
    };

    if (threadIdx.x == 0) {
        for (int i = 0; i < 5; ++i) barrier_init(full + 8 * i, 1);
        show_barriers();
        barrier_expect(full, made * width);
        barrier_expect(full + 8, fc_bytes);
        barrier_expect(full + 16, fc_bytes);
        barrier_expect(stream_full, (blocks - 1) * 16 * P::row);
        barrier_expect(sums_full, blocks * own * 64);
        load_bytes(base + P::proj, p.proj.w + made0 * width, made * width, full);
        if constexpr (!P::gather) load_fc();
    }
    // 16 bytes of the context for each thread, and of the stream, while there are any. A block with many
    // weights starts when those of the kernel before have gone (block_attention.cu): it asks for them before
    // it meets its cluster, and then for the weights that come last.
    const int row = threadIdx.x / (width / 16), chunk = threadIdx.x % (width / 16);
    const int old_row = threadIdx.x / (made / 8), old_chunk = threadIdx.x % (made / 8);
    uint4 context{}, old{};
    const auto ask_inputs = [&] {
        const auto row_of = [&](int r) { return static_cast<int64_t>(min(row0 + r, p.proj.rows - 1)); };
        wait_for_inputs();
        if (row < 16) context = ask_four(p.proj.a + row_of(row) * p.proj.lda + 16 * chunk);
        if (old_row < 16)
            old = ask_four(p.proj.residual + row_of(old_row) * p.proj.ldo + made0 + 8 * old_chunk);
    };
    spread_table(p.fc1, table);
    Columns2 proj[mine], norm[C], fc1[narrow], fc2;
    const auto made_column = [&](int i) { return 8 * (mine * warp + i) + 2 * t; };
    const bool makes = made / 8 % warps == 0 || warp < made / 8;
    if (makes)
#pragma unroll
        for (int i = 0; i < mine; ++i) proj[i].ask(p.proj.columns, made0 + made_column(i));
    // The first eight warps normalize two rows each; a lane has channels 2 (lane + 32 j) and the one behind.
    const auto ask_norm = [&] {
        if (warp < 8)
#pragma unroll
            for (int j = 0; j < C; ++j) norm[j].ask(p.norm.columns, 2 * (lane + 32 * j));
    };
    ask_norm();
    // What this thread finishes: two channels of a row, as the sums come.
    const bool finishes = threadIdx.x < 8 * own;
    const int pair = threadIdx.x % 64, last_row = (pair >> 3) + 8 * (pair & 1),
              last_own = threadIdx.x / 64 * 8 + 2 * (pair >> 1 & 3);
    Weights<width, made, mine> w_proj;
    const auto ask_proj = [&] {
        barrier_wait(full, 0);
        if (makes) w_proj.ask(base + P::proj, 8 * mine * warp, lane);
    };
    touch(p);
    if constexpr (P::gather) {
        greet_cluster();
        ask_inputs();
        if (threadIdx.x == 0) load_fc();
        __syncthreads();
    } else {
        __syncthreads();
        greet_cluster();
        meet_cluster();
        ask_proj();
        ask_inputs();
    }
    if constexpr (!alone) let_next_start();

    if (row < 16) *reinterpret_cast<uint4*>(shared + P::rows + row * P::pitch + 16 * chunk) = context;
    if (old_row < 16)
        *reinterpret_cast<uint4*>(shared + P::old + old_row * P::old_pitch + 16 * old_chunk) = old;
    if constexpr (P::gather) ask_proj();
    __syncthreads();
    if (makes) {
        int c[mine][4];
        w_proj.multiply(shared + P::rows, P::pitch, lane, c);
        if constexpr (!P::gather) ask_norm();
#pragma unroll
        for (int i = 0; i < mine; ++i)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int column = made0 + made_column(i), to = column / own, row = g + 8 * h;
                const uint32_t two = *reinterpret_cast<const uint32_t*>(shared + P::old + row * P::old_pitch +
                                                                        2 * made_column(i));
                const int first = add_stream(p.proj, proj[i].scale(0, c[i][2 * h]), two << 16),
                          second = add_stream(p.proj, proj[i].scale(1, c[i][2 * h + 1]), two & 0xffff0000);
                *reinterpret_cast<uint32_t*>(shared + P::stream + to * P::piece + row * P::row +
                                             2 * (column - to * own)) = pack2(first, second);
            }
    }
    if constexpr (P::gather) meet_cluster();
    __syncthreads();
    if constexpr (P::gather) {
        constexpr int chunks = 16 * P::row / 16;
        for (int i = threadIdx.x; i < blocks * chunks; i += threads) {
            const int to = i / chunks, place = P::stream + rank * P::piece + i % chunks * 16;
            if (to != rank)
                send(in_block(base + place, to), in_block(stream_full, to),
                     *reinterpret_cast<const uint4*>(shared + place));
        }
    }
    Weights<width, hidden, narrow> w_fc1;
    Weights<hidden, width, wide> w_fc2;
    barrier_wait(full + 8, 0);
    w_fc1.ask(base + P::fc1, 8 * narrow * warp, lane);
    const auto ask_fc2 = [&] {
        barrier_wait(full + 16, 0);
        w_fc2.ask(base + P::fc2, 8 * wide * warp, lane);
    };
    if constexpr (P::gather) barrier_wait(stream_full, 0);
    if (warp < 8) {
        uint32_t x[2][C];
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < C; ++j) {
                const int word = lane + 32 * j, from = word / (own / 2);
                x[i][j] = *reinterpret_cast<const uint32_t*>(shared + P::stream + from * P::piece +
                                                             (2 * warp + i) * P::row +
                                                             (word - from * (own / 2)) * 4);
            }
        normalize_two<C, whole>(p.norm, x, norm, [&](int i, int c, uint32_t two) {
            *reinterpret_cast<uint16_t*>(shared + P::rows + (2 * warp + i) * P::pitch + c) =
                static_cast<uint16_t>(two);
        });
    }
    if constexpr (P::gather) ask_fc2();  // there are registers for both
    __syncthreads();
    // As in block_attention.cu.
    if constexpr (alone) let_next_start();
        // Their way from the second-level cache is as long as a product.
#pragma unroll
    for (int i = 0; i < narrow; ++i)
        fc1[i].ask(p.fc1.columns, rank * hidden + 8 * (narrow * warp + i) + 2 * t);
    int d[narrow][4];
    w_fc1.multiply(shared + P::rows, P::pitch, lane, d);
    if constexpr (!P::gather) ask_fc2();
#pragma unroll
    for (int i = 0; i < narrow; ++i) {
        const uint32_t four = look_up4(table, pack4(fc1[i].scale(0, d[i][0]), fc1[i].scale(1, d[i][1]),
                                                    fc1[i].scale(0, d[i][2]), fc1[i].scale(1, d[i][3])));
        uint8_t* const to = shared + P::hiddens + g * P::hidden_pitch + 8 * (narrow * warp + i) + 2 * t;
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(four);
        *reinterpret_cast<uint16_t*>(to + 8 * P::hidden_pitch) = static_cast<uint16_t>(four >> 16);
    }
    __syncthreads();
    if (finishes) fc2.ask(p.fc2.columns, rank * own + last_own);
    int c[wide][4];
    w_fc2.multiply(shared + P::hiddens, P::hidden_pitch, lane, c);
#pragma unroll
    for (int i = 0; i < wide; ++i) {
        const int tile = wide * warp + i, to = tile / tiles;
        const uint32_t place = base + P::sums + ((rank * tiles + tile - to * tiles) * 32 + lane) * 16;
        send(in_block(place, to), in_block(sums_full, to), make_uint4(c[i][0], c[i][1], c[i][2], c[i][3]));
    }
    barrier_wait(sums_full, 0);
    if (!finishes) return;
    int2 last = make_int2(0, 0);
#pragma unroll
    for (int from = 0; from < blocks; ++from) {
        const int2 add = *reinterpret_cast<const int2*>(shared + P::sums + from * own * 64 + threadIdx.x * 8);
        last.x += add.x;
        last.y += add.y;
    }
    const uint32_t stream = *reinterpret_cast<const uint32_t*>(shared + P::stream + rank * P::piece +
                                                               last_row * P::row + 2 * last_own);
    last.x = add_stream(p.fc2, fc2.scale(0, last.x), stream << 16);
    last.y = add_stream(p.fc2, fc2.scale(1, last.y), stream & 0xffff0000);
    if (row0 + last_row < p.fc2.rows)
        *reinterpret_cast<uint32_t*>(static_cast<int16_t*>(p.fc2.out) +
                                     static_cast<int64_t>(row0 + last_row) * p.fc2.ldo + rank * own +
                                     last_own) = pack2(last.x, last.y);
#endif
}

// Calls f with the kernel for rows of `width` and its Places; not at all where there is none.
template <class F>
void with_kernel(int width, bool whole, bool alone, const F& f) {
    const auto of = [&]<int C, bool one>() {
        f(whole ? block_mlp_kernel<C, true, one> : block_mlp_kernel<C, false, one>, Places<C>{});
    };
    if (width == Places<3>::width)
        alone ? of.template operator()<3, true>() : of.template operator()<3, false>();
    if (width == Places<6>::width) of.template operator()<6, true>();
}

// Whether all clusters can run at once.
template <class Kernel, class P>
bool at_once(Kernel kernel, P, const BlockMlp& p) {
    return clusters_at_once(kernel, blocks, threads, P::bytes) >= (p.proj.rows + 15) / 16;
}

}  // namespace

MlpSlabs mlp_slabs(int32_t width) {
    MlpSlabs slabs;
    with_kernel(width, true, true, [&]<class P>(auto, P) {
        slabs = {{Cut::rows, P::gather ? blocks : 1}, {Cut::rows, blocks}, {Cut::depth, blocks}};
    });
    return slabs;
}

void prepare_block_mlp(const Launch& at) {
    if (!copy_engine_ready()) return;
    for (const int width : {192, 384})
        for (const bool whole : {false, true})
            for (const bool alone : {false, true})
                with_kernel(width, whole, alone,
                            [&](auto kernel, auto) { allow_shared(kernel, at.shared_limit, at); });
}

bool block_mlp_fits(const BlockMlp& p, const Launch& at) {
    if (!copy_engine_ready() || at.arch != 90 || !p.fc1.w || p.fc1.cols != 4 * p.norm.cols ||
        !p.proj.columns.fits || !p.norm.columns.fits || !p.fc1.columns.fits || !p.fc2.columns.fits)
        return false;
    bool fits = false;
    with_kernel(p.norm.cols, whole_bytes(p.norm.columns), false, [&]<class P>(auto kernel, P places) {
        fits = P::bytes <= at.shared_limit && at_once(kernel, places, p);
    });
    return fits;
}

void block_mlp(const BlockMlp& p, const Launch& at) {
    const bool whole = whole_bytes(p.norm.columns);
    bool alone = false;
    with_kernel(p.norm.cols, whole, true,
                [&](auto kernel, auto places) { alone = at_once(kernel, places, p); });
    const dim3 grid(blocks, static_cast<unsigned>((p.proj.rows + 15) / 16));
    with_kernel(p.norm.cols, whole, alone, [&]<class P>(auto kernel, P) {
        start<BlockMlp>(kernel, p, grid, dim3(threads), P::bytes, at, blocks);
    });
}

}  // namespace ivit::cuda
