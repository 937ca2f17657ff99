// SPDX-License-Identifier: Apache-2.0
// Attention on tensor cores in FP16, sums and softmax in FP32. Fragments as in cuda/device.cuh.
#include "engine/backends/cuda_float/attention.cuh"

namespace ivit::cuda_float {
namespace {

constexpr int keys = 64;  // of a chunk

template <int D_, bool split_>
struct Shape {
    static constexpr int D = D_, ld = D + 8;  // halves of a row: eight rows of ldmatrix meet no bank twice
    static constexpr bool split = split_;
    static constexpr int chunk = 2 * keys * ld;                  // K and V
    static constexpr int buffers = split ? attention_warps : 2;  // one of each warp's own, or two in turn
    static constexpr size_t bytes = static_cast<size_t>(buffers) * chunk * sizeof(__half);
    static_assert(!split || Partial<D>::floats * sizeof(float) <= bytes);
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

template <class S>
__global__ void __launch_bounds__(32 * attention_warps) attention_half_kernel(const Attention p) {
    wait_for_inputs();
    constexpr int D = S::D;
    extern __shared__ __align__(16) uint8_t memory[];
    __half* const shared = reinterpret_cast<__half*>(memory);
    const int warp = threadIdx.x / 32, lane = lane_id(), g = lane / 4, t = lane % 4;
    const int head = blockIdx.y, picture = blockIdx.z, ld = 3 * p.heads * D;
    const __half* const q =
        static_cast<const __half*>(p.qkv) + static_cast<int64_t>(picture) * p.tokens * ld + head * D;
    const int first_row = S::split ? blockIdx.x * 16 : (blockIdx.x * attention_warps + warp) * 16;
    const int chunks = (p.tokens + keys - 1) / keys;

    // Chunk c into buffer b, by this warp alone where split, else by the block.
    const auto load = [&](int c, int b) {
        __half* const to = shared + b * S::chunk;
        constexpr int pieces = D / 8;
        const int first = S::split ? lane : static_cast<int>(threadIdx.x),
                  step = S::split ? 32 : 32 * attention_warps;
        for (int i = first; i < keys * pieces; i += step) {
            const int row = i / pieces, d = i % pieces * 8, key = c * keys + row;
            const bool valid = key < p.tokens;
            const __half* const from = q + static_cast<int64_t>(valid ? key : 0) * ld + p.heads * D + d;
            copy16(shared_address(to + row * S::ld + d), from, valid);
            copy16(shared_address(to + (keys + row) * S::ld + d), from + p.heads * D, valid);
        }
        copy_commit();
    };

    if (!S::split || warp < chunks) load(S::split ? warp : 0, S::split ? warp : 0);

    uint32_t a[D / 16][4];
#pragma unroll
    for (int kk = 0; kk < D / 16; ++kk)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int row = first_row + g + 8 * (e & 1);
            a[kk][e] = row < p.tokens
                           ? *reinterpret_cast<const uint32_t*>(q + static_cast<int64_t>(row) * ld + 16 * kk +
                                                                8 * (e >> 1) + 2 * t)
                           : 0;
        }

    float o[D / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    for (int c = S::split ? warp : 0, turn = 0; c < chunks; c += S::split ? attention_warps : 1, turn ^= 1) {
        if constexpr (S::split) {
            copy_wait<0>();
            __syncwarp();
        } else {
            if (c + 1 < chunks) {
                load(c + 1, turn ^ 1);
                copy_wait<1>();
            } else {
                copy_wait<0>();
            }
            __syncthreads();
        }
        const __half* const k = shared + (S::split ? warp : turn) * S::chunk;
        const __half* const v = k + keys * S::ld;
        const int valid = min(keys, p.tokens - c * keys);
        if (S::split || first_row < p.tokens) {
            float s[keys / 8][4];
#pragma unroll
            for (int j = 0; j < keys / 8; j += 2) {
#pragma unroll
                for (int e = 0; e < 4; ++e) s[j][e] = s[j + 1][e] = 0;
                if (8 * j < valid) {
#pragma unroll
                    for (int kk = 0; kk < D / 16; ++kk) {
                        uint32_t b[4];
                        cuda::load_matrices(
                            b, shared_address(k + (8 * j + (lane & 7) + (lane >> 4) * 8) * S::ld + 16 * kk +
                                              (lane >> 3 & 1) * 8));
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
                const float shrink = exp2_fast((most[h] - m) * p.scale), less = m * p.scale;
                most[h] = m;
                float l = 0;
#pragma unroll
                for (int j = 0; j < keys / 8; ++j)
#pragma unroll
                    for (int e = 0; e < 2; ++e)
                        l += s[j][2 * h + e] = exp2_fast(s[j][2 * h + e] * p.scale - less);
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
                        b, shared_address(v + (16 * kk + (lane & 7) + (lane >> 3 & 1) * 8) * S::ld + 8 * n +
                                          (lane >> 4) * 8));
                    mma(o[n], x, b[0], b[1]);
                    mma(o[n + 1], x, b[2], b[3]);
                }
            }
        }
        if constexpr (S::split) {
            __syncwarp();
            if (c + attention_warps < chunks) load(c + attention_warps, warp);
        } else {
            __syncthreads();
        }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        sum[h] += __shfl_xor_sync(0xffffffff, sum[h], 1);
        sum[h] += __shfl_xor_sync(0xffffffff, sum[h], 2);
    }
    __half* const out =
        static_cast<__half*>(p.out) + static_cast<int64_t>(picture) * p.tokens * p.heads * D + head * D;
    if constexpr (S::split) {
        __syncthreads();
        const Partial<D> part(reinterpret_cast<float*>(memory));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = warp * 16 + g + 8 * h;
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                *reinterpret_cast<float2*>(part.o + row * D + 8 * n + 2 * t) = {o[n][2 * h], o[n][2 * h + 1]};
            if (t == 0) {
                part.m[row] = most[h] * p.scale;
                part.l[row] = sum[h];
            }
        }
        __syncthreads();
        merge<__half, D>(part, p, first_row, out);
    } else {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + g + 8 * h;
            if (row >= p.tokens) continue;
            const float share = 1.0f / sum[h];
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                *reinterpret_cast<uint32_t*>(out + static_cast<int64_t>(row) * p.heads * D + 8 * n + 2 * t) =
                    pack(o[n][2 * h] * share, o[n][2 * h + 1] * share);
        }
    }
}

template <class F>
void each_shape(const F& f) {
    const auto both = [&]<int D>(std::integral_constant<int, D>) {
        f(Shape<D, true>{});
        f(Shape<D, false>{});
    };
    both(std::integral_constant<int, 32>{});
    both(std::integral_constant<int, 64>{});
}

}  // namespace

void prepare_attention_half(const Launch& at) {
    each_shape([&]<class S>(S) { cuda::allow_shared(attention_half_kernel<S>, S::bytes, at); });
}

bool attention_half(const Attention& p, const Launch& at) {
    bool started = false;
    each_shape([&]<class S>(S) {
        if (started || S::D != p.dim || S::bytes > at.shared_limit || (S::split && !few(p, at))) return;
        start(attention_half_kernel<S>, p, attention_grid(p, S::split), 32 * attention_warps, S::bytes, at);
        started = true;
    });
    return started;
}

}  // namespace ivit::cuda_float
