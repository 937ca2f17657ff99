// SPDX-License-Identifier: Apache-2.0
// proj + residual, I-LayerNorm, fc1, GELU and fc2 + residual in one kernel (block.h) for rows whose proj is
// too much for each block. A cluster of blocks takes 16 rows. Each block makes its own channels of proj,
// which all blocks gather, then all of the norm, its own part of the hidden channels, and what these give to
// all of fc2's sums, which it sends to the block that finishes them.
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
    static constexpr int width = 64 * C, hidden = 4 * width / blocks, own = width / blocks;
    static constexpr int pitch = row_pitch(width), hidden_pitch = row_pitch(hidden);
    static constexpr int piece = 16 * own * 2;  // of the stream: own channels of 16 rows, 16 bits each
    static constexpr int proj = table_bytes, fc1 = proj + own * width, fc2 = fc1 + hidden * width,
                         rows = fc2 + width * hidden, hiddens = rows + 16 * pitch,
                         stream = hiddens + 16 * hidden_pitch,  // [blocks] pieces: what proj has made
        old = stream + blocks * piece,                          // a piece: what it is added to
        sums = old + piece,                                     // [blocks][own / 8][lanes] x 16
        barriers = sums + blocks * own / 8 * 512, bytes = barriers + 5 * 8;
    static_assert(own % 8 == 0 && own / 8 <= warps && width % (8 * warps) == 0 && hidden % (8 * warps) == 0);
    static_assert(16 * own == 2 * threads && 16 * width == 16 * threads);
};

// whole: I-LayerNorm's bytes are of the whole range.
template <int C, bool whole>
__global__ void __launch_bounds__(threads, 1) block_mlp_wide_kernel(const __grid_constant__ BlockMlp p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    using P = Places<C>;
    constexpr int width = P::width, hidden = P::hidden, own = P::own, tiles = own / 8;
    constexpr int wide = width / (8 * warps), narrow = hidden / (8 * warps);  // tiles of 8 columns a warp has
    extern __shared__ __align__(128) uint8_t shared[];
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared);
    const int rank = blockIdx.x, row0 = 16 * blockIdx.y;
    const uint32_t base = shared_address(shared), full = base + P::barriers, stream_full = full + 24,
                   sums_full = full + 32;
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;

    if (threadIdx.x == 0) {
        for (int i = 0; i < 5; ++i) barrier_init(full + 8 * i, 1);
        show_barriers();
        barrier_expect(full, own * width);
        load_bytes(base + P::proj, p.proj.w + rank * (own * width), own * width, full);
        barrier_expect(full + 8, hidden * width);
        load_bytes(base + P::fc1, p.fc1.w + rank * (hidden * width), hidden * width, full + 8);
        barrier_expect(full + 16, hidden * width);
        load_bytes(base + P::fc2, p.fc2.w + rank * (hidden * width), hidden * width, full + 16);
        barrier_expect(stream_full, (blocks - 1) * P::piece);
        barrier_expect(sums_full, blocks * own * 64);
    }
    spread_table(p.fc1, table);
    Columns2 proj, norm[C], fc1[narrow], fc2;
    if (warp < tiles) proj.ask(p.proj.columns, rank * own + 8 * warp + 2 * t);
#pragma unroll
    for (int j = 0; j < C; ++j) norm[j].ask(p.norm.columns, 2 * (lane + 32 * j));
#pragma unroll
    for (int i = 0; i < narrow; ++i)
        fc1[i].ask(p.fc1.columns, rank * hidden + 8 * (narrow * warp + i) + 2 * t);
    // What this thread finishes: two channels of a row, as the sums come.
    const int pair = threadIdx.x % 64, last_row = (pair >> 3) + 8 * (pair & 1),
              last_own = threadIdx.x / 64 * 8 + 2 * (pair >> 1 & 3);
    fc2.ask(p.fc2.columns, rank * own + last_own);
    touch(p);
    __syncthreads();
    meet_cluster();
    wait_for_inputs();
    let_next_start();

    // 16 bytes of the context for each thread, and of the stream for some.
    {
        const int row = threadIdx.x / (width / 16), chunk = threadIdx.x % (width / 16);
        const int stream_row = threadIdx.x / tiles, stream_chunk = threadIdx.x % tiles;
        const auto row_of = [&](int r) { return static_cast<int64_t>(min(row0 + r, p.proj.rows - 1)); };
        const uint4 context =
            *reinterpret_cast<const uint4*>(p.proj.a + row_of(row) * p.proj.lda + 16 * chunk);
        uint4 stream{};
        if (stream_row < 16)
            stream = *reinterpret_cast<const uint4*>(p.proj.residual + row_of(stream_row) * p.proj.ldo +
                                                     rank * own + 8 * stream_chunk);
        *reinterpret_cast<uint4*>(shared + P::rows + row * P::pitch + 16 * chunk) = context;
        if (stream_row < 16)
            *reinterpret_cast<uint4*>(shared + P::old + (stream_row * tiles + stream_chunk) * 16) = stream;
    }
    barrier_wait(full, 0);
    __syncthreads();
    uint8_t* const piece = shared + P::stream + rank * P::piece;
    if (warp < tiles) {
        Weights<width, own, 1> w;
        w.ask(base + P::proj, 8 * warp, lane);
        int c[1][4];
        w.multiply_shared(shared + P::rows, P::pitch, lane, c);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int at = ((g + 8 * h) * own + 8 * warp + 2 * t) * 2;
            const uint32_t old = *reinterpret_cast<const uint32_t*>(shared + P::old + at);
            const int first = add_stream(p.proj, proj.scale(0, c[0][2 * h]), old << 16),
                      second = add_stream(p.proj, proj.scale(1, c[0][2 * h + 1]), old & 0xffff0000);
            *reinterpret_cast<uint32_t*>(piece + at) = pack2(first, second);
        }
    }
    __syncthreads();
    constexpr int chunks = P::piece / 16;
    for (int i = threadIdx.x; i < blocks * chunks; i += threads) {
        const int to = i / chunks, at = i % chunks * 16;
        if (to != rank)
            send(in_block(shared_address(piece) + at, to), in_block(stream_full, to),
                 *reinterpret_cast<const uint4*>(piece + at));
    }
    barrier_wait(full + 8, 0);
    Weights<width, hidden, narrow> w_fc1;
    w_fc1.ask(base + P::fc1, 8 * narrow * warp, lane);
    barrier_wait(stream_full, 0);
    if (warp < 8) {
        uint32_t x[2][C];
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < C; ++j) {
                const int word = lane + 32 * j, from = word / (own / 2);
                x[i][j] = *reinterpret_cast<const uint32_t*>(shared + P::stream + from * P::piece +
                                                             (2 * warp + i) * own * 2 +
                                                             (word - from * (own / 2)) * 4);
            }
        normalize_two<C, whole>(p.norm, x, norm, [&](int i, int c, uint32_t two) {
            *reinterpret_cast<uint16_t*>(shared + P::rows + (2 * warp + i) * P::pitch + c) =
                static_cast<uint16_t>(two);
        });
    }
    __syncthreads();
    int d[narrow][4];
    w_fc1.multiply_shared(shared + P::rows, P::pitch, lane, d);
    barrier_wait(full + 16, 0);
    Weights<hidden, width, wide> w_fc2;
    w_fc2.ask(base + P::fc2, 8 * wide * warp, lane);
#pragma unroll
    for (int i = 0; i < narrow; ++i) {
        const uint32_t four = look_up4(table, pack4(fc1[i].scale(0, d[i][0]), fc1[i].scale(1, d[i][1]),
                                                    fc1[i].scale(0, d[i][2]), fc1[i].scale(1, d[i][3])));
        uint8_t* const to = shared + P::hiddens + g * P::hidden_pitch + 8 * (narrow * warp + i) + 2 * t;
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(four);
        *reinterpret_cast<uint16_t*>(to + 8 * P::hidden_pitch) = static_cast<uint16_t>(four >> 16);
    }
    __syncthreads();
    int c[wide][4];
    w_fc2.multiply_shared(shared + P::hiddens, P::hidden_pitch, lane, c);
#pragma unroll
    for (int i = 0; i < wide; ++i) {
        const int tile = wide * warp + i, to = tile / tiles;
        const uint32_t place = base + P::sums + ((rank * tiles + tile - to * tiles) * 32 + lane) * 16;
        send(in_block(place, to), in_block(sums_full, to), make_uint4(c[i][0], c[i][1], c[i][2], c[i][3]));
    }
    barrier_wait(sums_full, 0);
    int2 last = make_int2(0, 0);
#pragma unroll
    for (int from = 0; from < blocks; ++from) {
        const int2 add = *reinterpret_cast<const int2*>(shared + P::sums + from * own * 64 + threadIdx.x * 8);
        last.x += add.x;
        last.y += add.y;
    }
    const uint32_t stream = *reinterpret_cast<const uint32_t*>(piece + (last_row * own + last_own) * 2);
    last.x = add_stream(p.fc2, fc2.scale(0, last.x), stream << 16);
    last.y = add_stream(p.fc2, fc2.scale(1, last.y), stream & 0xffff0000);
    if (row0 + last_row < p.fc2.rows)
        *reinterpret_cast<uint32_t*>(static_cast<int16_t*>(p.fc2.out) +
                                     static_cast<int64_t>(row0 + last_row) * p.fc2.ldo + rank * own +
                                     last_own) = pack2(last.x, last.y);
#endif
}

using P = Places<6>;

}  // namespace

MlpSlabs mlp_wide_slabs(int32_t width) {
    if (width != P::width) return {};
    return {{Cut::rows, blocks}, {Cut::rows, blocks}, {Cut::depth, blocks}};
}

void prepare_block_mlp_wide(const Launch& at) {
    allow_shared(block_mlp_wide_kernel<6, true>, at.shared_limit, at);
    allow_shared(block_mlp_wide_kernel<6, false>, at.shared_limit, at);
}

bool block_mlp_wide_fits(const BlockMlp& p, const Launch& at) {
    return p.norm.cols == P::width && static_cast<size_t>(P::bytes) <= at.shared_limit &&
           clusters_at_once(block_mlp_wide_kernel<6, true>, blocks, threads, P::bytes) >=
               (p.proj.rows + 15) / 16;
}

void block_mlp_wide(const BlockMlp& p, const Launch& at) {
    const dim3 grid(blocks, static_cast<unsigned>((p.proj.rows + 15) / 16));
    start<BlockMlp>(
        whole_bytes(p.norm.columns) ? block_mlp_wide_kernel<6, true> : block_mlp_wide_kernel<6, false>, p,
        grid, dim3(threads), P::bytes, at, blocks);
}

}  // namespace ivit::cuda
