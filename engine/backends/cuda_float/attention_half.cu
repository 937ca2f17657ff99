// SPDX-License-Identifier: Apache-2.0
// Attention on tensor cores in FP16, sums and softmax in FP32. Fragments as in cuda/device.cuh: a thread
// (g, t) = (lane / 4, lane % 4) holds rows g and g + 8.
#include "engine/backends/cuda_float/attention.cuh"

namespace ivit::cuda_float {
namespace {

constexpr int keys = 64;  // of a chunk

// How a block is made: see attention.cuh; `whole`: seven warps with all keys and values in shared memory at
// once, for up to four chunks, each warp on every seventh 16 rows.
enum class Way { split, whole, stream };

template <int D_, Way way>
struct Shape {
    static constexpr int D = D_, ld = D + 8;  // halves of a row: eight rows of ldmatrix meet no bank twice
    static constexpr bool split = way == Way::split, whole = way == Way::whole;
    static constexpr int warps = whole ? 7 : attention_warps;
    static constexpr int chunk = 2 * keys * ld;  // K and V
    static constexpr int most_chunks = 4;        // whole
    // One of each warp's own, or all, or two in turn.
    static constexpr int buffers(int tokens) {
        return split ? attention_warps : whole ? (tokens + keys - 1) / keys : 2;
    }
    static constexpr size_t bytes(int tokens) {
        return static_cast<size_t>(buffers(tokens)) * chunk * sizeof(__half);
    }
    static_assert(!split || Partial<D>::floats * sizeof(float) <= bytes(1));
};

__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2]), "r"(a[3]), "r"(b1));
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
    const __half2 both = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
}

// Sixteen rows of queries and what has been summed for them so far.
template <int D>
struct Rows {
    static constexpr int ld = D + 8;
    uint32_t a[D / 16][4];
    float o[D / 8][4], most[2], sum[2];

    // first_row: token of the first; q: this picture's and head's first query. Zeros beyond the last token.
    __device__ void begin(const __half* q, int64_t stride, int first_row, int tokens) {
        const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (int kk = 0; kk < D / 16; ++kk)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int row = first_row + g + 8 * (e & 1);
                a[kk][e] = row < tokens ? *reinterpret_cast<const uint32_t*>(q + row * stride + 16 * kk +
                                                                             8 * (e >> 1) + 2 * t)
                                        : 0;
            }
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (float& value : o[n]) value = 0;
        most[0] = most[1] = -INFINITY;
        sum[0] = sum[1] = 0;
    }

    // Adds a chunk of keys and values in shared memory, of which `valid` are tokens and the rest zeros.
    __device__ void add(const __half* k, const __half* v, int valid, float scale) {
        const int lane = lane_id(), t = lane % 4;
        float s[keys / 8][4];
#pragma unroll
        for (int j = 0; j < keys / 8; j += 2) {
#pragma unroll
            for (int e = 0; e < 4; ++e) s[j][e] = s[j + 1][e] = 0;
            if (8 * j < valid) {
#pragma unroll
                for (int kk = 0; kk < D / 16; ++kk) {
                    uint32_t b[4];
                    cuda::load_matrices(b, shared_address(k + (8 * j + (lane & 7) + (lane >> 4) * 8) * ld +
                                                          16 * kk + (lane >> 3 & 1) * 8));
                    mma(s[j], a[kk], b[0], b[1]);
                    mma(s[j + 1], a[kk], b[2], b[3]);
                }
            }
            if (8 * j + 16 > valid)
#pragma unroll
                for (int i = 0; i < 2; ++i)
#pragma unroll
                    for (int e = 0; e < 4; ++e)
                        if (8 * (j + i) + 2 * t + (e & 1) >= valid) s[j + i][e] = -INFINITY;
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float m = most[h];
#pragma unroll
            for (int j = 0; j < keys / 8; ++j) m = fmaxf(m, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
            m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, 1));
            m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, 2));
            const float shrink = exp2_fast((most[h] - m) * scale), less = m * scale;
            most[h] = m;
            float l = 0;
#pragma unroll
            for (int j = 0; j < keys / 8; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) l += s[j][2 * h + e] = exp2_fast(s[j][2 * h + e] * scale - less);
            sum[h] = sum[h] * shrink + l;
#pragma unroll
            for (int n = 0; n < D / 8; ++n) {
                o[n][2 * h] *= shrink;
                o[n][2 * h + 1] *= shrink;
            }
        }
#pragma unroll
        for (int kk = 0; kk < keys / 16; ++kk) {
            if (16 * kk >= valid) continue;
            const uint32_t x[4] = {pack(s[2 * kk][0], s[2 * kk][1]), pack(s[2 * kk][2], s[2 * kk][3]),
                                   pack(s[2 * kk + 1][0], s[2 * kk + 1][1]),
                                   pack(s[2 * kk + 1][2], s[2 * kk + 1][3])};
#pragma unroll
            for (int n = 0; n < D / 8; n += 2) {
                uint32_t b[4];
                cuda::load_matrices_transposed(
                    b, shared_address(v + (16 * kk + (lane & 7) + (lane >> 3 & 1) * 8) * ld + 8 * n +
                                      (lane >> 4) * 8));
                mma(o[n], x, b[0], b[1]);
                mma(o[n + 1], x, b[2], b[3]);
            }
        }
    }

    // The four lanes of a row have summed a quarter each.
    __device__ void end() {
#pragma unroll
        for (float& l : sum) {
            l += __shfl_xor_sync(0xffffffff, l, 1);
            l += __shfl_xor_sync(0xffffffff, l, 2);
        }
    }
    __device__ void write(__half* out, int64_t stride, int first_row, int tokens) const {
        const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + g + 8 * h;
            if (row >= tokens) continue;
            const float share = 1.0f / sum[h];
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                *reinterpret_cast<uint32_t*>(out + row * stride + 8 * n + 2 * t) =
                    pack(o[n][2 * h] * share, o[n][2 * h + 1] * share);
        }
    }
    __device__ void write(const Partial<D>& part, int warp, float scale) const {
        const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = warp * 16 + g + 8 * h;
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                *reinterpret_cast<float2*>(part.o + row * D + 8 * n + 2 * t) = {o[n][2 * h], o[n][2 * h + 1]};
            if (t == 0) {
                part.m[row] = most[h] * scale;
                part.l[row] = sum[h];
            }
        }
    }
};

template <class S>
__global__ void __launch_bounds__(32 * S::warps, S::whole ? 2 : 1) attention_half_kernel(const Attention p) {
    wait_for_inputs();
    constexpr int D = S::D;
    extern __shared__ __align__(16) uint8_t memory[];
    __half* const shared = reinterpret_cast<__half*>(memory);
    const int warp = threadIdx.x / 32, head = blockIdx.y, picture = blockIdx.z;
    const int64_t ld = int64_t{3} * p.heads * D, ldo = int64_t{1} * p.heads * D;
    const __half* const q = static_cast<const __half*>(p.qkv) + picture * p.tokens * ld + head * D;
    __half* const out = static_cast<__half*>(p.out) + picture * p.tokens * ldo + head * D;
    const int chunks = (p.tokens + keys - 1) / keys;

    // Chunk c into buffer b, by this warp alone where split, else by the block.
    const auto load = [&](int c, int b) {
        __half* const to = shared + b * S::chunk;
        constexpr int pieces = D / 8;
        const int first = S::split ? lane_id() : static_cast<int>(threadIdx.x);
        for (int i = first; i < keys * pieces; i += S::split ? 32 : 32 * S::warps) {
            const int row = i / pieces, d = i % pieces * 8, key = c * keys + row;
            const bool valid = key < p.tokens;
            const __half* const from = q + (valid ? key : 0) * ld + p.heads * D + d;
            copy16(shared_address(to + row * S::ld + d), from, valid);
            copy16(shared_address(to + (keys + row) * S::ld + d), from + p.heads * D, valid);
        }
        copy_commit();
    };
    Rows<D> rows;
    const auto add = [&](int c, int b) {
        const __half* const k = shared + b * S::chunk;
        rows.add(k, k + keys * S::ld, min(keys, p.tokens - c * keys), p.scale);
    };

    if constexpr (S::whole) {
        for (int c = 0; c < chunks; ++c) load(c, c);
        copy_wait<0>();
        __syncthreads();
        for (int row = 16 * warp; row < p.tokens; row += 16 * S::warps) {
            rows.begin(q, ld, row, p.tokens);
            for (int c = 0; c < chunks; ++c) add(c, c);
            rows.end();
            rows.write(out, ldo, row, p.tokens);
        }
    } else if constexpr (S::split) {
        const int row = 16 * blockIdx.x;
        if (warp < chunks) load(warp, warp);
        rows.begin(q, ld, row, p.tokens);
        for (int c = warp; c < chunks; c += S::warps) {
            copy_wait<0>();
            __syncwarp();
            add(c, warp);
            __syncwarp();
            if (c + S::warps < chunks) load(c + S::warps, warp);
        }
        rows.end();
        __syncthreads();
        const Partial<D> part(reinterpret_cast<float*>(memory));
        rows.write(part, warp, p.scale);
        __syncthreads();
        merge<__half, D>(part, p, row, out);
    } else {
        const int row = 16 * (S::warps * blockIdx.x + warp);
        load(0, 0);
        rows.begin(q, ld, row, p.tokens);
        for (int c = 0; c < chunks; ++c) {
            if (c + 1 < chunks) {
                load(c + 1, (c + 1) % 2);
                copy_wait<1>();
            } else {
                copy_wait<0>();
            }
            __syncthreads();
            if (row < p.tokens) add(c, c % 2);
            __syncthreads();
        }
        rows.end();
        rows.write(out, ldo, row, p.tokens);
    }
}

// Best first.
template <class F>
void each_shape(const F& f) {
    f(Shape<32, Way::split>{});
    f(Shape<32, Way::stream>{});
    f(Shape<64, Way::split>{});
    f(Shape<64, Way::whole>{});
    f(Shape<64, Way::stream>{});
}

}  // namespace

void prepare_attention_half(const Launch& at) {
    each_shape([&]<class S>(S) {
        cuda::allow_shared(attention_half_kernel<S>, S::bytes(keys * S::most_chunks), at);
    });
}

bool attention_half(const Attention& p, const Launch& at) {
    bool started = false;
    each_shape([&]<class S>(S) {
        const size_t bytes = S::bytes(p.tokens);
        if (started || S::D != p.dim || bytes > at.shared_limit || (S::split && !few(p, at)) ||
            (S::whole && p.tokens > keys * S::most_chunks))
            return;
        const dim3 grid = S::whole ? dim3(1, static_cast<unsigned>(p.heads), static_cast<unsigned>(p.batch))
                                   : attention_grid(p, S::split);
        start(attention_half_kernel<S>, p, grid, 32 * S::warps, bytes, at);
        started = true;
    });
    return started;
}

}  // namespace ivit::cuda_float
