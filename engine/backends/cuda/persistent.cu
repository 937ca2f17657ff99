// SPDX-License-Identifier: Apache-2.0
// A whole network in one kernel (persistent.h). Every warp fetches the weights it will multiply by itself,
// several chunks ahead and across products, so they never wait for a barrier. Needs clusters: sm_90 and
// later.
#include "engine/backends/cuda/persistent.h"

#include <iterator>

#include "engine/backends/cuda/attention.cuh"
#include "engine/backends/cuda/copy_engine.cuh"
#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/layernorm.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

constexpr int warps = persistent_warps, threads = 32 * warps;
constexpr int counter_stride = 8;  // words: one sector each

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

// ---- Clusters and the grid.
__device__ __forceinline__ int cluster_rank() {
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
// What was written before arriving, in any block's shared memory, can be read after waiting. Slow: arriving
// waits for everything that is under way.
__device__ __forceinline__ void cluster_barrier() {
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ uint32_t in_block(uint32_t address, int rank) {
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
    return there;
}
// Stores that count their bytes at a gate of the block they go to, once they have arrived. A gate is a
// barrier that opens when one thread has said how many bytes are to come and that many have come.
__device__ __forceinline__ void send(uint32_t there, uint32_t gate, uint32_t v) {
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(there), "r"(v),
        "r"(gate)
        : "memory");
}
__device__ __forceinline__ void send(uint32_t there, uint32_t gate, uint2 v) {
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(
            there),
        "r"(v.x), "r"(v.y), "r"(gate)
        : "memory");
}
__device__ __forceinline__ void add_release(uint32_t* counter) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}
__device__ __forceinline__ uint32_t load_acquire(const uint32_t* counter) {
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(counter) : "memory");
    return v;
}

// The chunks of weights that a warp multiplies, in order, over all products.
struct Stream {
    const Product* products;
    int count, rank, log_ctas, warp;
    bool first_tile;
    int product = 0, i, chunk = 0, end = 0, ldw = 0;
    const int8_t* from = nullptr;

    // Makes (product, i, chunk) one that exists, or product == count.
    __device__ __forceinline__ void settle() {
        while (chunk >= end && product < count) {
            const Product& p = products[product];
            i += warps >> p.log_split;
            if (i < own_units(p.units, rank, log_ctas)) {
                const int share = warp & ((1 << p.log_split) - 1);
                chunk = share_begin(p.chunks, share, p.log_split);
                end = share_begin(p.chunks, share + 1, p.log_split);
                ldw = p.p.ldw;
                from = p.p.w + static_cast<int64_t>((rank + (i << log_ctas)) * 32) * ldw;
            } else {
                ++product;
                begin();
            }
        }
    }
    __device__ __forceinline__ void begin() {
        if (product < count && products[product].first_tile && !first_tile) product = count;
        if (product == count) return;
        const int log_split = products[product].log_split;
        i = (warp >> log_split) - (warps >> log_split);
    }
    // Starts the copy of the next chunk to `to`, if there is one, and steps on.
    __device__ __forceinline__ void fetch(uint32_t to) {
        if (product < count) {
            const int r = lane_id() >> 2, c = lane_id() & 3;
            const int8_t* const at = from + static_cast<int64_t>(r) * ldw + chunk * 64 + 16 * c;
#pragma unroll
            for (int j = 0; j < 4; ++j)
                copy16(to + swizzled(r + 8 * j, c), at + static_cast<int64_t>(8 * j) * ldw, true);
            ++chunk;
            settle();
        }
        copy_commit();
    }
};

__device__ __forceinline__ void wait_for_chunk(int depth) {
    if (depth == 8)
        copy_wait<7>();
    else if (depth == 6)
        copy_wait<5>();
    else
        copy_wait<3>();
    __syncwarp();
}

// One head of 16 queries by the whole block, a warp per 32 tokens; attention_fast.cu's arithmetic. put(d, h,
// v): four bytes of row g + 8 h, dimensions 16 d + 4 t and on, of every row. load: keys and values are not
// there yet.
template <int D, class Put>
__device__ __forceinline__ void attend(const Attention& p, const PersistentMap& map, uint8_t* shared,
                                       const int8_t* qkv, int token, bool load, const Put& put) {
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const int padded = (p.tokens + 31) & ~31;
    const uint32_t keys = shared_address(shared) + map.keys, values = shared_address(shared) + map.values;
    const uint8_t* const exponential = shared + map.exponential;
    if (load) {
#pragma unroll 1
        for (int i = threadIdx.x; i < padded * (D / 16); i += threads) {
            const int c = i % (D / 16), r = i / (D / 16);
            const int8_t* from = qkv + static_cast<int64_t>(r < p.tokens ? r : 0) * p.ld + 16 * c;
            copy16(keys + swizzled_row<D>(r, c), from + p.heads * D, r < p.tokens);
            copy16(values + swizzled_row<D>(r, c), from + 2 * p.heads * D, r < p.tokens);
        }
        copy_commit();
    }
    const int row[2] = {token + g, token + g + 8};
    uint32_t q[D / 32][4];
#pragma unroll
    for (int kk = 0; kk < D / 32; ++kk)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int i = row[e & 1];
            q[kk][e] = i < p.tokens
                           ? __ldcg(reinterpret_cast<const uint32_t*>(qkv + static_cast<int64_t>(i) * p.ld +
                                                                      32 * kk + 16 * (e >> 1) + 4 * t))
                           : 0;
        }
    // Logits count from the grid's lowest: 0 .. span.
    const int r_logits = (1 << (p.s_logits - 33)) - p.low_logits * (1 << (p.s_logits - 32));
    const int s_logits = p.s_logits - 32;
    const uint32_t span = static_cast<uint32_t>(p.top_logits - p.low_logits) * 0x10001u;
    const int first = 32 * warp, limit = p.tokens - first - 2 * t;  // columns 8j, 8j + 1 below it are tokens
    const auto is_token = [&](int j, int e) { return 8 * j + e < limit; };
    if (load) copy_wait<0>();
    __syncthreads();

    uint32_t pairs[4][2];  // two neighbouring tokens of row g, and of row g + 8
    uint32_t most2[2] = {0, 0};
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        int x[2][4] = {};
        if (first < padded) {
#pragma unroll
            for (int kk = 0; kk < D / 32; ++kk) {
                uint32_t b[4];
                const int n = first + 8 * j + (lane & 7) + (lane >> 4) * 8;
                load_matrices(b, keys + swizzled_row<D>(n, 2 * kk + (lane >> 3 & 1)));
                mma_s8(x[0], q[kk], b[0], b[1]);
                mma_s8(x[1], q[kk], b[2], b[3]);
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                int y[2];
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    y[e] = scale_top(x[i][2 * h + e], p.m_logits, r_logits, s_logits);
                    if (!is_token(j + i, e)) y[e] = 0;  // no row's greatest is below 0
                }
                pairs[j + i][h] = __vminu2(pack_u16(y[0], y[1]), span);
                most2[h] = __vmaxu2(most2[h], pairs[j + i][h]);
            }
    }
    uint32_t* const greatest = reinterpret_cast<uint32_t*>(shared + map.row_sums);  // [warps, 16]
    unsigned long long* const totals =
        reinterpret_cast<unsigned long long*>(shared + map.row_sums + warps * 16 * 8);  // [warps, 16]
    uint32_t most[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        most[h] = max(most2[h] & 0xffff, most2[h] >> 16);
        most[h] = max(most[h], __shfl_xor_sync(0xffffffff, most[h], 1));
        most[h] = max(most[h], __shfl_xor_sync(0xffffffff, most[h], 2));
        if (t == 0) greatest[warp * 16 + g + 8 * h] = most[h];
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int w = 0; w < warps; ++w) most[h] = max(most[h], greatest[w * 16 + g + 8 * h]);

    // Exponentials: both addresses of a pair by one product.
    const uint32_t copy = static_cast<uint32_t>(lane % copies) * 0x40004u;
    uint32_t x[4][4];
    uint64_t sum[2] = {0, 0};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const uint32_t base = most[h] * (0x10001u * entry_bytes) + copy;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const uint32_t both = base - pairs[j][h] * entry_bytes;
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                uint32_t v =
                    *reinterpret_cast<const uint32_t*>(exponential + (e ? both >> 16 : both & 0xffff));
                if (!is_token(j, e)) v = 0;
                x[j][2 * h + e] = v;
                sum[h] += v;
            }
        }
        sum[h] += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum[h]), 1);
        sum[h] += __shfl_xor_sync(0xffffffff, static_cast<unsigned long long>(sum[h]), 2);
        if (t == 0) totals[warp * 16 + g + 8 * h] = sum[h];
    }
    __syncthreads();
    // The four lanes of a row would add and divide the same numbers: even ones take row g, odd ones row g
    // + 8.
    uint64_t total = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) total += totals[w * 16 + g + 8 * (t & 1)];
    const uint32_t mine = quick_reciprocal(static_cast<int64_t>(total), p.M);
    const uint32_t f[2] = {__shfl_sync(0xffffffff, mine, lane & ~3), __shfl_sync(0xffffffff, mine, lane | 1)};

    // Probabilities, packed as the products want them (attention_fast.cu).
    uint32_t low[4], high[4];
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            uint32_t pair[2];
#pragma unroll
            for (int j = 0; j < 2; ++j)
                pair[j] = __byte_perm(__umulhi(f[h], x[2 * half + j][2 * h]),
                                      __umulhi(f[h], x[2 * half + j][2 * h + 1]), 0x5410);
            low[2 * half + h] = __byte_perm(pair[0], pair[1], 0x6420);
            high[2 * half + h] = __byte_perm(pair[0], pair[1], 0x7531);
        }
    // Sums of this warp's tokens: 16 dimensions at a time, even[] holds 4t + {0, 2} of rows g and g + 8,
    // odd[] 4t + {1, 3}; the high plane apart, as it counts 256 times.
    int* const sums = reinterpret_cast<int*>(shared + map.sums);  // [warps, D / 16, 8, 32]
#pragma unroll 1
    for (int d = 0; d < D / 16; ++d) {
        int even[4] = {}, odd[4] = {}, even_high[4] = {}, odd_high[4] = {};
        if (first < p.tokens) {
            uint32_t v[4];
            load_matrices_transposed(v, values + swizzled_row<D>(first + lane, d));
            const uint32_t e0 = __byte_perm(v[0], v[1], 0x6420), e1 = __byte_perm(v[2], v[3], 0x6420);
            const uint32_t o0 = __byte_perm(v[0], v[1], 0x7531), o1 = __byte_perm(v[2], v[3], 0x7531);
            mma_u8(even, low, e0, e1);
            mma_u8(odd, low, o0, o1);
            mma_u8(even_high, high, e0, e1);
            mma_u8(odd_high, high, o0, o1);
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            sums[((warp * (D / 16) + d) * 8 + e) * 32 + lane] = even[e] + even_high[e] * 256;
            sums[((warp * (D / 16) + d) * 8 + 4 + e) * 32 + lane] = odd[e] + odd_high[e] * 256;
        }
    }
    __syncthreads();
    const int r_context = 1 << (p.s_context - 33);
    const int s_context = p.s_context - 32;
    if (warp < D / 8) {
        const int d = warp >> 1, h = warp & 1;
        int o[4] = {};
#pragma unroll
        for (int w = 0; w < warps; ++w)
#pragma unroll
            for (int e = 0; e < 4; ++e)
                o[e] += sums[((w * (D / 16) + d) * 8 + 4 * (e & 1) + 2 * h + (e >> 1)) * 32 + lane];
        int y[4];
#pragma unroll
        for (int e = 0; e < 4; ++e)
            y[e] = clamp32(scale_top(o[e], p.m_context, r_context, s_context), p.low_context, p.top_context);
        put(d, h, pack4(y[0], y[1], y[2], y[3]));
    }
}

#endif

template <int rows, int D>
__global__ void __launch_bounds__(threads, 1) persistent_kernel(const __grid_constant__ PersistentArgs args) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    constexpr int groups = rows / 16, quarters = rows / 8;  // of accumulators a thread has for a unit
    extern __shared__ __align__(1024) uint8_t shared[];
    const uint32_t base = shared_address(shared);
    const PersistentMap& map = args.map;
    const int warp = threadIdx.x >> 5, lane = lane_id(), g = lane >> 2, t = lane & 3;
    const int rank = cluster_rank(), log_ctas = args.log_ctas, ctas = 1 << log_ctas;
    const int cluster = blockIdx.x >> log_ctas;
    const int picture = args.per_picture.divide(cluster), tile = cluster - picture * args.tiles;
    const int row0 = tile * rows;  // token of the tile's first row

    const auto copy_table = [&](uint32_t to, const void* from, int bytes) {
        for (int i = threadIdx.x; i < bytes / 8; i += threads)
            reinterpret_cast<uint2*>(shared + to)[i] = __ldg(static_cast<const uint2*>(from) + i);
    };
    copy_table(map.products, args.products, args.product_count * static_cast<int>(sizeof(Product)));
    copy_table(map.attentions, args.attentions, args.attention_count * static_cast<int>(sizeof(Attention)));
    __syncthreads();
    const Product* const products = reinterpret_cast<const Product*>(shared + map.products);
    const Attention* const attentions = reinterpret_cast<const Attention*>(shared + map.attentions);

    const uint32_t ring = base + map.ring + warp * map.depth * chunk_bytes;
    int slot = 0;  // of the ring, whose chunk is next
    Stream weights{products, args.product_count, rank, log_ctas, warp, tile == 0};
    weights.begin();
    weights.settle();
#pragma unroll 1
    for (int i = 0; i < map.depth; ++i) weights.fetch(ring + i * chunk_bytes);

    // To every block of the cluster, this one first: its neighbours are not all written to at once.
    const auto push = [&](uint32_t place, uint32_t gate, const auto& value) {
#pragma unroll 1
        for (int i = 0; i < ctas; i += 4)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const uint32_t there = in_block(base, (rank + i + j) & (ctas - 1));
                send(there + place, there + gate, value);
            }
    };
    uint8_t* const table = shared + map.table;
    uint4* const stream =
        reinterpret_cast<uint4*>(shared + map.stream);  // own units: [units, rows, 4] x 8 channels
    const unsigned long long* const stats =
        reinterpret_cast<const unsigned long long*>(shared + map.stats);  // [rows, units]

    // Gates: statistics of rows, normalized rows, hidden activations and context are complete. Everybody
    // waits at every gate each time, and whoever writes what a gate guards has waited at one that opens only
    // after the readers' own contributions; so nothing is written that is still being read.
    const uint32_t stats_gate = map.gates, norm_gate = map.gates + 8, hidden_gate = map.gates + 16,
                   context_gate = map.gates + 24;
    constexpr int subtiles = rows / 16;
    const int tile_subtiles = min(subtiles, (args.tokens - row0 + 15) / 16);
    const int gate_bytes[4] = {rows * args.stream_units * 8, rows * args.stream_units * 32,
                               rows * args.hidden_units * 32, tile_subtiles * 16 * D * args.heads};
    uint32_t parities = 0;  // bit i: of gate i
    const auto pass = [&](int i) {
        barrier_wait(base + map.gates + 8 * i, parities >> i & 1);
        parities ^= 1u << i;
        if (threadIdx.x == 0)
            barrier_expect(base + map.gates + 8 * i, i == 0   ? gate_bytes[0]
                                                     : i == 1 ? gate_bytes[1]
                                                     : i == 2 ? gate_bytes[2]
                                                              : gate_bytes[3]);
    };
    if (threadIdx.x == 0) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(base + map.gates + 8 * i) : "memory");
            barrier_expect(base + map.gates + 8 * i, gate_bytes[i]);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    cluster_barrier();  // the others run, so that their shared memory can be written to

#pragma unroll 1
    for (int n = 0; n < args.product_count; ++n) {
        const Product& product = products[n];
        const Linear& p = product.p;
        const LayerNorm& norm = product.norm;
        const int log_split = product.log_split, share = warp & ((1 << log_split) - 1);
        const int units = own_units(product.units, rank, log_ctas);
        const Product::Source source = product.source;
        if (product.first_tile && tile != 0) {
            pass(0);
            break;
        }

        // What is nobody's output is on its way while we wait.
        const int first_unit = warp >> log_split;
        Columns8 q, normal;
        if (first_unit < units) q = Columns8::ask(p.columns, (rank + (first_unit << log_ctas)) * 32 + 8 * t);
        uint32_t word = 0;
        if (p.epilogue == Epilogue::gelu && threadIdx.x < 64)
            word = __ldg(reinterpret_cast<const uint32_t*>(p.table) + threadIdx.x);
        if (product.attention >= 0) {  // eight copies of each exponential lie in memory too
            const uint8_t* const from = reinterpret_cast<const uint8_t*>(args.exponentials) +
                                        static_cast<int64_t>(product.attention) * exponential_bytes;
            for (int i = threadIdx.x; i < exponential_bytes / 16; i += threads)
                copy16(base + map.exponential + 16 * i, from + 16 * i, true);
            copy_commit();
        }
        if (source == Product::Source::norm) {
            // The rows that a warp normalizes: `lanes` lanes each, of which one does eight channels.
            constexpr int lanes = 32 * warps / rows;
            const int row = warp * (rows / warps) + lane / lanes, li = lane % lanes;
            const int items = 4 * own_units(args.stream_units, rank, log_ctas);
            const auto channel = [&](int item) {
                return (rank + (item >> 2 << log_ctas)) * 32 + 8 * (item & 3);
            };
            if (li < items) normal = Columns8::ask(norm.columns, channel(li));
            pass(0);
            if (items > 0) {
                int sum = 0;
                unsigned long long squares = 0;
#pragma unroll 1
                for (int u = li; u < args.stream_units; u += lanes) {
                    const unsigned long long v = stats[row * args.stream_units + u];
                    sum += static_cast<int>(v & 0x3fffff) - (1 << 20);
                    squares += v >> 22;
                }
#pragma unroll
                for (int o = lanes / 2; o; o >>= 1) {
                    sum += __shfl_xor_sync(0xffffffff, sum, o);
                    squares += __shfl_xor_sync(0xffffffff, squares, o);
                }
                const int mean = layernorm_mean(norm, sum);
                // sum of (x - mean)^2
                const int64_t v = static_cast<int64_t>(squares) - 2 * static_cast<int64_t>(mean) * sum +
                                  static_cast<int64_t>(norm.cols) * (static_cast<int64_t>(mean) * mean);
                const uint32_t f = quick_reciprocal31(max(quick_root(static_cast<uint64_t>(v)), 1u));
#pragma unroll 1
                for (int item = li; item < items; item += lanes) {
                    if (item != li) normal = Columns8(norm.columns, channel(item));
                    const uint4 x = stream[((item >> 2) * rows + row) * 4 + (item & 3)];
                    push(product.a + tile_offset(rows, row, channel(item)), norm_gate,
                         normalize8<true>(norm, normal, x, mean, f));
                }
            }
            if (p.epilogue == Epilogue::gelu && threadIdx.x < 64)
                reinterpret_cast<uint32_t*>(table)[threadIdx.x] = word;
            pass(1);
        } else if (source == Product::Source::ready) {
            pass(product.gate);
        } else {
            // The patches of these rows through the colour tables, in the order the weights have: four pixels
            // at a time, every block some of them for all.
            const Patches& from = args.patches;
            const int size = from.size, quads = from.area.d >> 2;
#pragma unroll 1
            for (int i = rank * threads + threadIdx.x; i < rows * quads; i += threads << log_ctas) {
                const int r = args.quads.divide(i), at = 4 * (i - r * quads), token = row0 + r;
                if (token == 0 || token >= args.tokens) continue;
                const int down = from.across.divide(token - 1), over = token - 1 - down * from.across.d;
                const int dy = from.patch.divide(at), y = down * from.patch.d + dy;
                const int x = over * from.patch.d + at - dy * from.patch.d;
                const uint32_t* const pixels = reinterpret_cast<const uint32_t*>(
                    from.pixels + ((static_cast<int64_t>(picture) * size + y) * size + x) * 3);
                const uint32_t w[3] = {__ldg(pixels), __ldg(pixels + 1), __ldg(pixels + 2)};
#pragma unroll
                for (int channel = 0; channel < 3; ++channel) {
                    uint32_t v = 0;
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const int byte = 3 * e + channel;
                        v |= static_cast<uint32_t>(static_cast<uint8_t>(
                                 __ldg(from.table + 256 * channel + (w[byte / 4] >> 8 * (byte % 4) & 255))))
                             << 8 * e;
                    }
                    const uint32_t place = product.a + tile_offset(rows, r, channel * from.area.d + at);
#pragma unroll 1
                    for (int to = 0; to < ctas; ++to)
                        asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(in_block(base + place, to)),
                                     "r"(v)
                                     : "memory");
                }
            }
            cluster_barrier();
        }

#pragma unroll 1
        for (int i = first_unit; i - first_unit < max(units, 1); i += warps >> log_split) {
            const bool active = i < units;
            const int unit = rank + (i << log_ctas), c = 32 * unit + 8 * t;
            int acc[groups][4][4] = {};
            if (active) {
                const int end = share_begin(product.chunks, share + 1, log_split);
#pragma unroll 1
                for (int chunk = share_begin(product.chunks, share, log_split); chunk < end; ++chunk) {
                    const uint32_t w_tile = ring + slot * chunk_bytes;
                    wait_for_chunk(map.depth);
                    uint32_t b[2][2][4];
#pragma unroll
                    for (int kk = 0; kk < 2; ++kk)
#pragma unroll
                        for (int j = 0; j < 2; ++j) {
                            const int r = 16 * j + (lane & 7) + (lane >> 4) * 8;
                            load_matrices(b[kk][j], w_tile + swizzled(r, 2 * kk + (lane >> 3 & 1)));
                        }
#pragma unroll
                    for (int kk = 0; kk < 2; ++kk) {
                        uint32_t a[groups][4];
#pragma unroll
                        for (int m = 0; m < groups; ++m)
                            load_matrices(a[m], base + product.a +
                                                    tile_offset(rows, 16 * m + (lane & 15),
                                                                64 * chunk + 32 * kk + 16 * (lane >> 4)));
#pragma unroll
                        for (int m = 0; m < groups; ++m)
#pragma unroll
                            for (int j = 0; j < 2; ++j) {
                                mma_s8(acc[m][2 * j], a[m], b[kk][j][0], b[kk][j][1]);
                                mma_s8(acc[m][2 * j + 1], a[m], b[kk][j][2], b[kk][j][3]);
                            }
                    }
                    __syncwarp();  // all have read: the next chunk may come
                    weights.fetch(w_tile);
                    if (++slot == map.depth) slot = 0;
                }
                if (i != first_unit) q = Columns8(p.columns, c);
            }

            // The warps of a unit add up their sums: quarter k, eight channels of one row a thread, is
            // finished by warp k mod 2^log_split of them, to which the others send theirs.
            const int others = (1 << log_split) - 1;
            int4* const sums = reinterpret_cast<int4*>(shared + product.scratch);
            const auto place = [&](int k, int from) {  // of eight sums of one thread, in two halves
                return sums + ((i * quarters + k) * others + from) * 64 + lane;
            };
            const auto quarter = [&](int k, int(&v)[8]) {
#pragma unroll
                for (int e = 0; e < 8; ++e) v[e] = acc[k >> 1][e / 2][2 * (k & 1) + e % 2];
            };
            if (log_split > 0) {
                if (active)
#pragma unroll
                    for (int k = 0; k < quarters; ++k) {
                        if ((k & others) == share) continue;
                        int v[8];
                        quarter(k, v);
                        int4* const to = place(k, (share - (k & others) - 1) & others);
                        to[0] = make_int4(v[0], v[1], v[2], v[3]);
                        to[32] = make_int4(v[4], v[5], v[6], v[7]);
                    }
                __syncthreads();
            } else if (p.epilogue == Epilogue::gelu) {
                __syncthreads();  // the table
            }
            if (!active) continue;
#pragma unroll 1
            for (int k = share; k < quarters; k += 1 << log_split) {
                int v[8], y[8];
                quarter(0, v);
#pragma unroll
                for (int other = 1; other < quarters; ++other) {
                    int w[8];
                    quarter(other, w);
#pragma unroll
                    for (int e = 0; e < 8; ++e) v[e] = k == other ? w[e] : v[e];
                }
#pragma unroll
                for (int from = 0; from < warps - 1; ++from)
                    if (from < others) {
                        const int4 a = place(k, from)[0], b = place(k, from)[32];
                        const int add[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
                        for (int e = 0; e < 8; ++e) v[e] += add[e];
                    }
                const int r = 8 * k + g, token = row0 + r;
                if (p.columns.high)
                    scale8<Epilogue::int8, true>(q, v, y);
                else if (p.epilogue == Epilogue::residual)
                    scale8<Epilogue::residual, false>(q, v, y);
                else
                    scale8<Epilogue::int8, false>(q, v, y);
                switch (p.epilogue) {
                    case Epilogue::int8:
                        if (token < args.tokens)
                            *reinterpret_cast<uint2*>(
                                static_cast<int8_t*>(p.out) +
                                (static_cast<int64_t>(picture) * args.tokens + token) * p.ldo + c) =
                                bytes8(p.columns, y);
                        break;
                    case Epilogue::logits:
                        if (token == 0) {
                            int4* const to = reinterpret_cast<int4*>(
                                static_cast<int32_t*>(p.out) + static_cast<int64_t>(picture) * p.ldo + c);
                            to[0] = make_int4(y[0], y[1], y[2], y[3]);
                            to[1] = make_int4(y[4], y[5], y[6], y[7]);
                        }
                        break;
                    case Epilogue::gelu: {
                        uint32_t z[8];
#pragma unroll
                        for (int e = 0; e < 8; ++e)
                            z[e] = table[clamp32(y[e], p.columns.low, p.columns.top) + 128];
                        push(product.push + tile_offset(rows, r, c), hidden_gate,
                             make_uint2(z[0] | z[1] << 8 | z[2] << 16 | z[3] << 24,
                                        z[4] | z[5] << 8 | z[6] << 16 | z[7] << 24));
                        break;
                    }
                    default: {
                        uint4& kept = stream[(i * rows + r) * 4 + t];
                        uint4 z = make_uint4(0, 0, 0, 0);
                        if (p.epilogue == Epilogue::residual)
                            z = add_residual8(p, y, kept);
                        else if (token < args.tokens)
                            z = add_position8(p, token, c, y);
                        kept = z;
                        // Sum and squares of 32 channels in one word: |sum| <= 2^20, squares < 2^36.
                        const uint32_t w[4] = {z.x, z.y, z.z, z.w};
                        int sum = 1 << 18;
                        unsigned long long squares = 0;
#pragma unroll
                        for (int e = 0; e < 4; ++e) {
                            const int a = static_cast<int16_t>(w[e]), b = static_cast<int>(w[e]) >> 16;
                            sum += a + b;
                            squares = static_cast<unsigned long long>(
                                multiply_add(a, a, static_cast<int64_t>(squares)));
                            squares = static_cast<unsigned long long>(
                                multiply_add(b, b, static_cast<int64_t>(squares)));
                        }
                        unsigned long long both = squares << 22 | static_cast<uint32_t>(sum);
                        both += __shfl_xor_sync(0xffffffff, both, 1);
                        both += __shfl_xor_sync(0xffffffff, both, 2);
                        const uint2 halves =
                            make_uint2(static_cast<uint32_t>(both), static_cast<uint32_t>(both >> 32));
                        // The four lanes of a row send to a quarter of the blocks each.
#pragma unroll 1
                        for (int to = t; to < ctas; to += 4) {
                            const uint32_t there = in_block(base, to);
                            send(there + map.stats + (r * args.stream_units + unit) * 8, there + stats_gate,
                                 halves);
                        }
                    }
                }
            }
        }

        if (product.attention >= 0) {
            const Attention& attention = attentions[product.attention];
            __syncthreads();
            if (threadIdx.x == 0) add_release(args.counters + cluster * counter_stride);
            const int tasks = min(args.heads * subtiles, (rank + 1) * args.tasks);
            int loaded = -1;  // head whose keys and values are here
#pragma unroll 1
            for (int task = rank * args.tasks; task < tasks; ++task) {
                const int head = task / subtiles, subtile = task % subtiles;
                if (subtile >= tile_subtiles) continue;
                if (loaded < 0 && warp == 0) {
                    const uint32_t* const counter =
                        args.counters + (picture * args.tiles + min(lane, args.tiles - 1)) * counter_stride;
                    const uint32_t target = static_cast<uint32_t>(ctas * (product.attention + 1));
                    while (!__all_sync(0xffffffff, load_acquire(counter) >= target)) {
                    }
                }
                __syncthreads();
                const int8_t* const qkv =
                    attention.qkv + static_cast<int64_t>(picture) * args.tokens * attention.ld + head * D;
                attend<D>(attention, map, shared, qkv, row0 + 16 * subtile, head != loaded,
                          [&](int d, int h, uint32_t v) {
                              push(map.context +
                                       tile_offset(rows, 16 * subtile + g + 8 * h, head * D + 16 * d + 4 * t),
                                   context_gate, v);
                          });
                loaded = head;
            }
        }
        __syncthreads();
    }

    // The last block to end makes the counters ready for the next run.
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t* const ended = args.counters + (gridDim.x >> log_ctas) * counter_stride;
        if (atomicAdd(ended, 1u) == gridDim.x - 1) {
            for (int i = 0; i < static_cast<int>(gridDim.x >> log_ctas); ++i)
                args.counters[i * counter_stride] = 0;
            *ended = 0;
        }
    }
#endif
}

using Kernel = void (*)(PersistentArgs);
Kernel kernel_of(const ClusterShape& shape, int head) {
    if (shape.rows == 16) return head == 32 ? persistent_kernel<16, 32> : persistent_kernel<16, 64>;
    return head == 32 ? persistent_kernel<32, 32> : persistent_kernel<32, 64>;
}

// A launch of `clusters` clusters, all of which run at once or none.
struct Config {
    cudaLaunchConfig_t config{};
    cudaLaunchAttribute attributes[2] = {};
    Config(const ClusterShape& shape, int clusters, size_t shared, const Launch& at) {
        config.gridDim = dim3(static_cast<unsigned>(clusters * shape.ctas));
        config.blockDim = dim3(threads);
        config.dynamicSmemBytes = shared;
        config.stream = at.stream;
        attributes[0].id = cudaLaunchAttributeClusterDimension;
        attributes[0].val.clusterDim.x = static_cast<unsigned>(shape.ctas);
        attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
        attributes[1].id = cudaLaunchAttributeCooperative;
        attributes[1].val.cooperative = 1;
        config.attrs = attributes;
        config.numAttrs = 2;
    }
};

bool possible(const Launch& at) { return at.arch >= 90 && compiled_for() >= 90; }

}  // namespace

void prepare_persistent(const Launch& at) {
    if (!possible(at)) return;
    for (const ClusterShape& shape : cluster_shapes)
        for (const int head : {32, 64}) {
            const Kernel kernel = kernel_of(shape, head);
            allow_shared(kernel, at.shared_limit, at);
            IVIT_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
        }
}

std::optional<Persistent> make_persistent(std::vector<Product> products, std::vector<Attention> attentions,
                                          const Patches& patches, int pictures, int forced,
                                          const Launch& at) {
    if (!possible(at) || attentions.empty()) return std::nullopt;
    const Attention& first = attentions.front();
    if (first.tokens > 32 * persistent_warps || (first.padded != 32 && first.padded != 64))
        return std::nullopt;
    if (patches.patch.d % 4 || patches.size % 4) return std::nullopt;  // pixels travel in fours
    for (const Attention& a : attentions)
        if (!attention_usual(a)) return std::nullopt;
    for (const Product& p : products)
        if (p.source == Product::Source::norm && !p.norm.columns.high) return std::nullopt;
    // Every cluster reads all weights: where they are many, a kernel for each step, which reads them once, is
    // sooner done (benchmarks_gpu.md).
    int64_t weight_bytes = 0;
    for (const Product& p : products) weight_bytes += int64_t{p.p.ldw} * p.p.w_rows;
    if (forced < 0 && weight_bytes > int64_t{48} << 20) return std::nullopt;
    constexpr int shapes = static_cast<int>(std::size(cluster_shapes));
    for (int i = 0; i < shapes; ++i) {
        const ClusterShape& shape = cluster_shapes[i];
        const int tiles = (first.tokens + shape.rows - 1) / shape.rows;
        if ((forced >= 0 && forced != i) || tiles > 32) continue;
        const auto map = arrange(products, attentions, shape, at.shared_limit);
        // Every block takes part in every GELU's product: that keeps the gates in step (see the kernel).
        int hidden_units = 0;
        bool alike = true;
        for (const Product& p : products)
            if (p.p.epilogue == Epilogue::gelu) {
                alike = alike && (hidden_units == 0 || hidden_units == p.units);
                hidden_units = p.units;
            }
        if (!map || !alike || hidden_units < shape.ctas) continue;
        const Config config(shape, tiles * pictures, map->total, at);
        int clusters = 0;
        // An error here means that this device has no room for such a cluster.
        if (cudaOccupancyMaxActiveClusters(&clusters, kernel_of(shape, first.padded), &config.config) !=
            cudaSuccess) {
            cudaGetLastError();
            continue;
        }
        if (clusters < tiles * pictures) continue;

        Persistent p;
        p.shape = i;
        p.head = first.padded;
        p.pictures = pictures;
        PersistentArgs& args = p.args;
        args.map = *map;
        args.product_count = static_cast<int32_t>(products.size());
        args.attention_count = static_cast<int32_t>(attentions.size());
        args.tokens = first.tokens;
        args.tiles = tiles;
        args.per_picture = FastDiv(tiles);
        while (1 << args.log_ctas < shape.ctas) ++args.log_ctas;
        const int tasks = first.heads * (shape.rows / 16);
        args.tasks = (tasks + shape.ctas - 1) / shape.ctas;
        args.patches = patches;
        args.quads = FastDiv(patches.area.d / 4);
        args.stream_units = products.front().units;
        args.hidden_units = hidden_units;
        args.heads = first.heads;

        // Memory: both tables, counters, and keys and values twice, as a fast cluster may write those of the
        // next block while a slow one reads.
        const size_t product_bytes = products.size() * sizeof(Product);
        const size_t attention_bytes = attentions.size() * sizeof(Attention);
        const size_t attention_at = static_cast<size_t>(round_up(static_cast<int64_t>(product_bytes), 256));
        const size_t counters_at =
            attention_at + static_cast<size_t>(round_up(static_cast<int64_t>(attention_bytes), 256));
        const size_t counter_bytes =
            static_cast<size_t>(tiles * pictures + 1) * counter_stride * sizeof(uint32_t);
        const size_t exponentials_at =
            counters_at + static_cast<size_t>(round_up(static_cast<int64_t>(counter_bytes), 256));
        const size_t qkv_at = exponentials_at + attentions.size() * exponential_bytes;
        const size_t qkv_bytes =
            static_cast<size_t>(round_up(int64_t{first.ld} * first.tokens * pictures, 256));
        p.memory = DeviceBuffer(qkv_at + 2 * qkv_bytes);
        uint8_t* const base = p.memory.as<uint8_t>();
        for (Product& product : products)
            if (product.attention >= 0) {
                int8_t* const qkv = reinterpret_cast<int8_t*>(base + qkv_at) +
                                    static_cast<size_t>(product.attention % 2) * qkv_bytes;
                product.p.out = qkv;
                attentions[static_cast<size_t>(product.attention)].qkv = qkv;
            }
        args.products = reinterpret_cast<const Product*>(base);
        args.attentions = reinterpret_cast<const Attention*>(base + attention_at);
        args.counters = reinterpret_cast<uint32_t*>(base + counters_at);
        args.exponentials = reinterpret_cast<const uint32_t*>(base + exponentials_at);
        IVIT_CUDA_CHECK(cudaMemsetAsync(base, 0, p.memory.bytes(), at.stream));
        IVIT_CUDA_CHECK(
            cudaMemcpyAsync(base, products.data(), product_bytes, cudaMemcpyHostToDevice, at.stream));
        IVIT_CUDA_CHECK(cudaMemcpyAsync(base + attention_at, attentions.data(), attention_bytes,
                                        cudaMemcpyHostToDevice, at.stream));
        for (size_t k = 0; k < attentions.size(); ++k)  // every entry eight times
            for (int c = 0; c < copies; ++c)
                IVIT_CUDA_CHECK(cudaMemcpy2DAsync(
                    base + exponentials_at + k * exponential_bytes + static_cast<size_t>(c) * 4, entry_bytes,
                    attentions[k].exponential, 4, 4, static_cast<size_t>(attentions[k].entries),
                    cudaMemcpyDeviceToDevice, at.stream));
        IVIT_CUDA_CHECK(cudaStreamSynchronize(at.stream));
        return p;
    }
    return std::nullopt;
}

void start_persistent(const Persistent& p, const Launch& at) {
    const ClusterShape& shape = cluster_shapes[p.shape];
    const Config config(shape, p.args.tiles * p.pictures, p.args.map.total, at);
    IVIT_CUDA_CHECK(cudaLaunchKernelEx(&config.config, kernel_of(shape, p.head), p.args));
}

}  // namespace ivit::cuda
