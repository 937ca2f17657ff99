// SPDX-License-Identifier: Apache-2.0
// proj + residual, I-LayerNorm, fc1, GELU and fc2 + residual in one kernel (block.h). A cluster of blocks
// takes 16 rows. Each block makes all of proj and of the norm, its own part of the hidden channels, and what
// these give to all of fc2's sums, which it sends to the block that finishes them. All weights have come
// before the kernel in front has ended.
#include "engine/backends/cuda/block.cuh"
#include "engine/backends/cuda/block.h"
#include "engine/backends/cuda/cluster.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/layernorm.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

constexpr int blocks = 8;  // of a cluster
constexpr int warps = 12, threads = 32 * warps;

// For rows of 64 C channels and 256 C hidden ones.
template <int C>
struct Places {
    static constexpr int width = 64 * C, hidden = 4 * width / blocks, own = width / blocks;
    static constexpr int pitch = row_pitch(width), hidden_pitch = row_pitch(hidden),
                         old_pitch = 2 * width + 32;
    static constexpr int proj = table_bytes, fc1 = proj + width * width, fc2 = fc1 + hidden * width,
                         rows = fc2 + width * hidden, old = rows + 16 * pitch, hiddens = old + 16 * old_pitch,
                         stream = hiddens + 16 * hidden_pitch,  // [16][own] of 16 bits: what proj has made
        squares = stream + 16 * own * 2,                        // [warps][16] of 64 bits
        totals = squares + warps * 16 * 8,                      // [warps][16] of 32 bits
        sums = totals + warps * 16 * 4,                         // [blocks][own / 8][lanes] x 16
        barriers = sums + blocks * own / 8 * 512, bytes = barriers + 4 * 8;
    static_assert(own % 8 == 0 && width % (8 * warps) == 0 && hidden % (8 * warps) == 0);
    static_assert(16 * own == threads);
};

// whole: I-LayerNorm's bytes are of the whole range.
template <int C, bool whole>
__global__ void __maxnreg__(88) block_mlp_kernel(const __grid_constant__ BlockMlp p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    using P = Places<C>;
    constexpr int width = P::width, hidden = P::hidden, own = P::own;
    constexpr int wide = width / (8 * warps), narrow = hidden / (8 * warps);  // tiles of 8 columns a warp has
    extern __shared__ __align__(128) uint8_t shared[];
    uint32_t* const table = reinterpret_cast<uint32_t*>(shared);
    const int rank = blockIdx.x, row0 = 16 * blockIdx.y;
    const uint32_t base = shared_address(shared), full = base + P::barriers, sums_full = full + 24;

    if (threadIdx.x == 0) {
        for (int i = 0; i < 4; ++i) barrier_init(full + 8 * i, 1);
        show_barriers();
        barrier_expect(full, width * width);
        load_bytes(base + P::proj, p.proj.w, width * width, full);
        barrier_expect(full + 8, hidden * width);
        load_bytes(base + P::fc1, p.fc1.w + rank * (hidden * width), hidden * width, full + 8);
        barrier_expect(full + 16, hidden * width);
        load_bytes(base + P::fc2, p.fc2.w + rank * (hidden * width), hidden * width, full + 16);
        barrier_expect(sums_full, blocks * own * 64);
    }
    spread_table(p.fc1, table);
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    Columns2 proj[wide], norm[wide], fc1[narrow];
    const auto column = [&](int i) { return 8 * (wide * warp + i) + 2 * t; };
#pragma unroll
    for (int i = 0; i < wide; ++i) {
        proj[i].ask(p.proj.columns, column(i));
        norm[i].ask(p.norm.columns, column(i));
    }
#pragma unroll
    for (int i = 0; i < narrow; ++i)
        fc1[i].ask(p.fc1.columns, rank * hidden + 8 * (narrow * warp + i) + 2 * t);
    // What this thread finishes: one channel of one row, as the sums come.
    const int word = threadIdx.x % 128, last_row = (word >> 4) + 8 * (word >> 1 & 1),
              last_own = threadIdx.x / 128 * 8 + 2 * (word >> 2 & 3) + (word & 1),
              last_column = rank * own + last_own;
    const int last_m = __ldg(p.fc2.columns.m + last_column), last_s = __ldg(p.fc2.columns.s + last_column);
    const int64_t last_r = __ldg(p.fc2.columns.r + last_column);
    Weights<width, width, wide> w_proj;
    touch(p);
    __syncthreads();
    meet_cluster();
    barrier_wait(full, 0);
    w_proj.ask(base + P::proj, 8 * wide * warp, lane);
    wait_for_inputs();
    let_next_start();

    // 16 bytes of the context and of the stream for each thread.
    {
        const int row = threadIdx.x / (width / 16), chunk = threadIdx.x % (width / 16);
        const int stream_row = threadIdx.x / (width / 8), stream_chunk = threadIdx.x % (width / 8);
        uint4 context{};
        if (threadIdx.x < width)
            context = *reinterpret_cast<const uint4*>(
                p.proj.a + static_cast<int64_t>(min(row0 + row, p.proj.rows - 1)) * p.proj.lda + 16 * chunk);
        const uint4 stream = *reinterpret_cast<const uint4*>(
            p.proj.residual + static_cast<int64_t>(min(row0 + stream_row, p.proj.rows - 1)) * p.proj.ldo +
            8 * stream_chunk);
        if (threadIdx.x < width)
            *reinterpret_cast<uint4*>(shared + P::rows + row * P::pitch + 16 * chunk) = context;
        *reinterpret_cast<uint4*>(shared + P::old + stream_row * P::old_pitch + 16 * stream_chunk) = stream;
    }
    __syncthreads();
    int c[wide][4];
    w_proj.multiply_shared(shared + P::rows, P::pitch, lane, c);
    int sum[2] = {};
    int64_t squares[2] = {};
#pragma unroll
    for (int i = 0; i < wide; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            int(&y)[4] = c[i];
            const uint32_t old = *reinterpret_cast<const uint32_t*>(
                shared + P::old + (g + 8 * h) * P::old_pitch + 2 * column(i));
            const int first = add_stream(p.proj, proj[i].scale(0, y[2 * h]), old << 16),
                      second = add_stream(p.proj, proj[i].scale(1, y[2 * h + 1]), old & 0xffff0000);
            y[2 * h] = first;
            y[2 * h + 1] = second;
            sum[h] += first + second;
            squares[h] = multiply_add(first, first, squares[h]);
            squares[h] = multiply_add(second, second, squares[h]);
            const int at = column(i) - rank * own;
            if (at >= 0 && at < own)
                *reinterpret_cast<uint32_t*>(shared + P::stream + ((g + 8 * h) * own + at) * 2) =
                    pack2(first, second);
        }
    int* const all_sums = reinterpret_cast<int*>(shared + P::totals);
    int64_t* const all_squares = reinterpret_cast<int64_t*>(shared + P::squares);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        sum[h] = lanes_sum<4>(sum[h]);
        squares[h] = static_cast<int64_t>(lanes_sum64<4>(static_cast<uint64_t>(squares[h])));
        if (t == h) {
            all_sums[warp * 16 + g + 8 * h] = sum[h];
            all_squares[warp * 16 + g + 8 * h] = squares[h];
        }
    }
    __syncthreads();
    barrier_wait(full + 8, 0);
    barrier_wait(full + 16, 0);
    Weights<width, hidden, narrow> w_fc1;
    Weights<hidden, width, wide> w_fc2;
    w_fc1.ask(base + P::fc1, 8 * narrow * warp, lane);
    w_fc2.ask(base + P::fc2, 8 * wide * warp, lane);
    // Even lanes find the mean and the deviation of row g, odd ones of row g + 8.
    int total = 0;
    int64_t total_squares = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) {
        total += all_sums[w * 16 + g + 8 * (t & 1)];
        total_squares += all_squares[w * 16 + g + 8 * (t & 1)];
    }
    const int my_mean = layernorm_mean(p.norm, total);
    const uint32_t my_f = inverse_deviation(width, total, total_squares, my_mean);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int mean = __shfl_sync(0xffffffff, my_mean, (lane & ~3) + h);
        const int f = static_cast<int>(__shfl_sync(0xffffffff, my_f, (lane & ~3) + h));
#pragma unroll
        for (int i = 0; i < wide; ++i) {
            const int y0 = norm[i].scale(0, ((c[i][2 * h] - mean) * f) >> 1),
                      y1 = norm[i].scale(1, ((c[i][2 * h + 1] - mean) * f) >> 1);
            *reinterpret_cast<uint16_t*>(shared + P::rows + (g + 8 * h) * P::pitch + column(i)) =
                static_cast<uint16_t>(bytes2<whole>(p.norm.columns, y0, y1));
        }
    }
    __syncthreads();
    int d[narrow][4];
    w_fc1.multiply_shared(shared + P::rows, P::pitch, lane, d);
#pragma unroll
    for (int i = 0; i < narrow; ++i) {
        const uint32_t four = look_up4(table, pack4(fc1[i].scale(0, d[i][0]), fc1[i].scale(1, d[i][1]),
                                                    fc1[i].scale(0, d[i][2]), fc1[i].scale(1, d[i][3])));
        uint8_t* const to = shared + P::hiddens + g * P::hidden_pitch + 8 * (narrow * warp + i) + 2 * t;
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(four);
        *reinterpret_cast<uint16_t*>(to + 8 * P::hidden_pitch) = static_cast<uint16_t>(four >> 16);
    }
    __syncthreads();
    w_fc2.multiply_shared(shared + P::hiddens, P::hidden_pitch, lane, c);
#pragma unroll
    for (int i = 0; i < wide; ++i) {
        constexpr int tiles = own / 8;
        const int tile = wide * warp + i, to = tile / tiles;
        const uint32_t place = base + P::sums + ((rank * tiles + tile - to * tiles) * 32 + lane) * 16;
        send(in_block(place, to), in_block(sums_full, to), make_uint4(c[i][0], c[i][1], c[i][2], c[i][3]));
    }
    barrier_wait(sums_full, 0);
    int last = 0;
#pragma unroll
    for (int from = 0; from < blocks; ++from)
        last += *reinterpret_cast<const int*>(shared + P::sums + from * own * 64 + threadIdx.x * 4);
    const uint32_t stream =
        *reinterpret_cast<const uint16_t*>(shared + P::stream + (last_row * own + last_own) * 2);
    last = add_stream(p.fc2, scale_word(last, last_m, last_r, last_s), stream << 16);
    const int other = __shfl_xor_sync(0xffffffff, last, 1);
    if ((lane & 1) == 0 && row0 + last_row < p.fc2.rows)
        *reinterpret_cast<uint32_t*>(static_cast<int16_t*>(p.fc2.out) +
                                     static_cast<int64_t>(row0 + last_row) * p.fc2.ldo + last_column) =
            pack2(last, other);
#endif
}

}  // namespace

MlpSlabs mlp_slabs(int32_t width) {
    if (width == Places<3>::width) return {{Cut::rows, 1}, {Cut::rows, blocks}, {Cut::depth, blocks}};
    return mlp_wide_slabs(width);
}

void prepare_block_mlp(const Launch& at) {
    if (!copy_engine_ready()) return;
    prepare_block_mlp_wide(at);
    allow_shared(block_mlp_kernel<3, true>, at.shared_limit, at);
    allow_shared(block_mlp_kernel<3, false>, at.shared_limit, at);
}

bool block_mlp_fits(const BlockMlp& p, const Launch& at) {
    using P = Places<3>;
    if (!copy_engine_ready() || at.arch != 90 || p.fc1.cols != 4 * p.norm.cols || !p.proj.columns.fits ||
        !p.norm.columns.fits || !p.fc1.columns.fits || !p.fc2.columns.fits)
        return false;
    if (p.norm.cols != P::width) return block_mlp_wide_fits(p, at);
    return static_cast<size_t>(P::bytes) <= at.shared_limit &&
           clusters_at_once(block_mlp_kernel<3, true>, blocks, threads, P::bytes) >= (p.proj.rows + 15) / 16;
}

void block_mlp(const BlockMlp& p, const Launch& at) {
    if (p.norm.cols != Places<3>::width) return block_mlp_wide(p, at);
    const dim3 grid(blocks, static_cast<unsigned>((p.proj.rows + 15) / 16));
    start<BlockMlp>(whole_bytes(p.norm.columns) ? block_mlp_kernel<3, true> : block_mlp_kernel<3, false>, p,
                    grid, dim3(threads), Places<3>::bytes, at, blocks);
}

}  // namespace ivit::cuda
