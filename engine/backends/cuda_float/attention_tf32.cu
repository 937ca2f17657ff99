// SPDX-License-Identifier: Apache-2.0
// Attention on tensor cores in TF32, sums and softmax in FP32. A thread (g, t) = (lane / 4, lane % 4) holds
// rows g and g + 8 of the queries; the slots of the summed dimension are dealt out so that slots t and t + 4
// of a product are neighbours 2t and 2t + 1 in memory: the scores then lie as the second product wants them.
#include "engine/backends/cuda_float/attention.cuh"

namespace ivit::cuda_float {
namespace {

constexpr int keys = 64;  // of a chunk

template <int D_, bool split_>
struct Shape {
    static constexpr int D = D_;
    static constexpr int ldk = D + 8, ldv = D + 4;  // floats of a row: no bank is met twice
    static constexpr bool split = split_;
    static constexpr int chunk = keys * (ldk + ldv);             // K and V
    static constexpr int buffers = split ? attention_warps : 2;  // one of each warp's own, or two in turn
    static constexpr size_t bytes = static_cast<size_t>(buffers) * chunk * sizeof(float);
    static_assert(!split || Partial<D>::floats * sizeof(float) <= bytes);
};

__device__ __forceinline__ void mma([[maybe_unused]] float (&c)[4], [[maybe_unused]] const uint32_t (&a)[4],
                                    [[maybe_unused]] float b0, [[maybe_unused]] float b1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
#endif
}

// Rounded, where the hardware would cut off.
__device__ __forceinline__ uint32_t tf32(float x) {
    uint32_t y = __float_as_uint(x);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
#endif
    return y;
}

template <class S>
__global__ void __launch_bounds__(32 * attention_warps) attention_tf32_kernel(const Attention p) {
    wait_for_inputs();
    constexpr int D = S::D;
    extern __shared__ __align__(16) uint8_t memory[];
    float* const shared = reinterpret_cast<float*>(memory);
    const int warp = threadIdx.x / 32, lane = lane_id(), g = lane / 4, t = lane % 4;
    const int head = blockIdx.y, picture = blockIdx.z, ld = 3 * p.heads * D;
    const float* const q =
        static_cast<const float*>(p.qkv) + static_cast<int64_t>(picture) * p.tokens * ld + head * D;
    const int first_row = S::split ? blockIdx.x * 16 : (blockIdx.x * attention_warps + warp) * 16;
    const int chunks = (p.tokens + keys - 1) / keys;

    const auto load = [&](int c, int b) {
        float* const to = shared + b * S::chunk;
        constexpr int pieces = D / 4;
        const int first = S::split ? lane : static_cast<int>(threadIdx.x),
                  step = S::split ? 32 : 32 * attention_warps;
        for (int i = first; i < keys * pieces; i += step) {
            const int row = i / pieces, d = i % pieces * 4, key = c * keys + row;
            const bool valid = key < p.tokens;
            const float* const from = q + static_cast<int64_t>(valid ? key : 0) * ld + p.heads * D + d;
            copy16(shared_address(to + row * S::ldk + d), from, valid);
            copy16(shared_address(to + keys * S::ldk + row * S::ldv + d), from + p.heads * D, valid);
        }
        copy_commit();
    };

    if (!S::split || warp < chunks) load(S::split ? warp : 0, S::split ? warp : 0);

    uint32_t a[D / 8][4];
#pragma unroll
    for (int kk = 0; kk < D / 8; ++kk)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + g + 8 * h;
            float2 two{0, 0};
            if (row < p.tokens)
                two = *reinterpret_cast<const float2*>(q + static_cast<int64_t>(row) * ld + 8 * kk + 2 * t);
            a[kk][h] = tf32(two.x);
            a[kk][2 + h] = tf32(two.y);
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
        const float* const k = shared + (S::split ? warp : turn) * S::chunk;
        const float* const v = k + keys * S::ldk;
        const int valid = min(keys, p.tokens - c * keys);
        if (S::split || first_row < p.tokens) {
            float s[keys / 8][4];
#pragma unroll
            for (int j = 0; j < keys / 8; ++j) {
#pragma unroll
                for (int e = 0; e < 4; ++e) s[j][e] = 0;
                if (8 * j < valid) {
#pragma unroll
                    for (int kk = 0; kk < D / 8; ++kk) {
                        const float2 b =
                            *reinterpret_cast<const float2*>(k + (8 * j + g) * S::ldk + 8 * kk + 2 * t);
                        mma(s[j], a[kk], b.x, b.y);
                    }
                }
                if (8 * j + 8 > valid)
#pragma unroll
                    for (int e = 0; e < 4; ++e)
                        if (8 * j + 2 * t + (e & 1) >= valid) s[j][e] = -INFINITY;
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
            for (int j = 0; j < keys / 8; ++j) {
                if (8 * j >= valid) continue;
                const uint32_t x[4] = {tf32(s[j][0]), tf32(s[j][2]), tf32(s[j][1]), tf32(s[j][3])};
#pragma unroll
                for (int n = 0; n < D / 8; ++n) {
                    const float* const b = v + (8 * j + 2 * t) * S::ldv + 8 * n + g;
                    mma(o[n], x, b[0], b[S::ldv]);
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
    float* const out =
        static_cast<float*>(p.out) + static_cast<int64_t>(picture) * p.tokens * p.heads * D + head * D;
    if constexpr (S::split) {
        __syncthreads();
        const Partial<D> part(shared);
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
        merge<float, D>(part, p, first_row, out);
    } else {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + g + 8 * h;
            if (row >= p.tokens) continue;
            const float share = 1.0f / sum[h];
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                *reinterpret_cast<float2*>(out + static_cast<int64_t>(row) * p.heads * D + 8 * n + 2 * t) = {
                    o[n][2 * h] * share, o[n][2 * h + 1] * share};
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

void prepare_attention_tf32(const Launch& at) {
    each_shape([&]<class S>(S) { cuda::allow_shared(attention_tf32_kernel<S>, S::bytes, at); });
}

bool attention_tf32(const Attention& p, const Launch& at) {
    bool started = false;
    each_shape([&]<class S>(S) {
        if (started || S::D != p.dim || S::bytes > at.shared_limit || (S::split && !few(p, at))) return;
        start(attention_tf32_kernel<S>, p, attention_grid(p, S::split), 32 * attention_warps, S::bytes, at);
        started = true;
    });
    return started;
}

}  // namespace ivit::cuda_float
