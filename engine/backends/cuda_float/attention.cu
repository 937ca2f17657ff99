// SPDX-License-Identifier: Apache-2.0
// Attention in FP32 without tensor cores, for heads of any size up to 128: the FP32 opponent's, and the other
// opponents' where a head's size suits no tensor core kernel. A thread (y, x) = (lane / 8, lane % 8) holds
// rows y, y + 4, y + 8, y + 12 of its warp's queries, keys x, x + 8, ... of a chunk, and channels 4x .. 4x +
// 3, then 32 further on, of the result.
#include "engine/backends/cuda_float/attention.cuh"

namespace ivit::cuda_float {
namespace {

template <class T_, int D_, int keys_, bool split_>
struct Shape {
    using T = T_;
    static constexpr int D = D_, keys = keys_;
    static constexpr bool split = split_;
    static constexpr int ld = D + 4, ldp = keys + 4;  // floats of a row: no bank is met twice
    static constexpr int chunk = 2 * keys * ld;       // K and V
    static constexpr int query_rows = split ? 16 : 16 * attention_warps;
    static constexpr int floats =
        (split ? attention_warps : 1) * chunk + query_rows * ld + attention_warps * 16 * ldp;
    static constexpr size_t bytes = floats * sizeof(float);
    static_assert(!split || Partial<D>::floats <= floats);
};

__device__ __forceinline__ void add_product(float& sum, const float4& a, const float4& b) {
    sum += a.x * b.x;
    sum += a.y * b.y;
    sum += a.z * b.z;
    sum += a.w * b.w;
}

template <class S>
__global__ void __launch_bounds__(32 * attention_warps) attention_kernel(const Attention p) {
    wait_for_inputs();
    using T = typename S::T;
    constexpr int D = S::D, keys = S::keys, J = keys / 8, N = D / 32;
    extern __shared__ __align__(16) float floats[];
    const int warp = threadIdx.x / 32, lane = lane_id(), x = lane % 8, y = lane / 8;
    const int head = blockIdx.y, picture = blockIdx.z, ld = 3 * p.heads * p.dim;
    const T* const qkv =
        static_cast<const T*>(p.qkv) + static_cast<int64_t>(picture) * p.tokens * ld + head * p.dim;
    const int block_row = blockIdx.x * S::query_rows,
              first_row = S::split ? block_row : block_row + 16 * warp;
    const int chunks = (p.tokens + keys - 1) / keys;
    float* const k = floats + (S::split ? warp * S::chunk : 0);
    float* const v = k + keys * S::ld;
    float* const queries = floats + (S::split ? attention_warps : 1) * S::chunk;
    float* const q = queries + (S::split ? 0 : 16 * warp * S::ld);
    float* const weights = queries + S::query_rows * S::ld + warp * 16 * S::ldp;

    // `rows` rows from token `first` on of the part of qkv `part` channels in, padded with zeros.
    const auto load = [&](int part, int first, int rows, float* to, int begin, int step) {
        const bool aligned = p.dim % Vector<T>::size == 0;
        constexpr int width = Vector<T>::size, pieces = D / width;
        for (int i = begin; i < rows * pieces; i += step) {
            const int row = first + i / pieces, d = i % pieces * width;
            const T* const from = qkv + static_cast<int64_t>(row) * ld + part + d;
            float* const at = to + i / pieces * S::ld + d;
            if (std::is_same_v<T, float> && aligned) {
                const bool valid = row < p.tokens && d < p.dim;
                copy16(shared_address(at), valid ? from : qkv, valid);
            } else if (aligned && row < p.tokens && d < p.dim) {
                const Vector<T> value = *reinterpret_cast<const Vector<T>*>(from);
#pragma unroll
                for (int e = 0; e < width; ++e) at[e] = to_float(value.v[e]);
            } else {
                for (int e = 0; e < width; ++e)
                    at[e] = row < p.tokens && d + e < p.dim ? to_float(from[e]) : 0.0f;
            }
        }
    };
    const int thread = static_cast<int>(threadIdx.x), threads = 32 * attention_warps;
    load(0, block_row, S::query_rows, queries, thread, threads);
    copy_commit();
    if (S::split) {
        copy_wait<0>();
        __syncthreads();
    }

    float o[4][N][4] = {}, most[4], sum[4] = {};
#pragma unroll
    for (float& m : most) m = -INFINITY;
    for (int c = S::split ? warp : 0; c < chunks; c += S::split ? attention_warps : 1) {
        load(p.heads * p.dim, c * keys, keys, k, S::split ? lane : thread, S::split ? 32 : threads);
        load(2 * p.heads * p.dim, c * keys, keys, v, S::split ? lane : thread, S::split ? 32 : threads);
        copy_commit();
        copy_wait<0>();
        if constexpr (S::split)
            __syncwarp();
        else
            __syncthreads();
        const int valid = min(keys, p.tokens - c * keys);
        if (S::split || first_row < p.tokens) {
            float s[4][J] = {};
#pragma unroll 4
            for (int d = 0; d < D; d += 4) {
                float4 a[4];
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    a[i] = *reinterpret_cast<const float4*>(q + (y + 4 * i) * S::ld + d);
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    if (8 * j >= valid) continue;
                    const float4 b = *reinterpret_cast<const float4*>(k + (x + 8 * j) * S::ld + d);
#pragma unroll
                    for (int i = 0; i < 4; ++i) add_product(s[i][j], a[i], b);
                }
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float m = most[i];
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    if (x + 8 * j >= valid) s[i][j] = -INFINITY;
                    m = fmaxf(m, s[i][j]);
                }
#pragma unroll
                for (int e = 1; e < 8; e *= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, e));
                const float shrink = exp2_fast((most[i] - m) * p.scale), less = m * p.scale;
                most[i] = m;
                float l = 0;
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    const float w = exp2_fast(s[i][j] * p.scale - less);
                    l += w;
                    weights[(y + 4 * i) * S::ldp + x + 8 * j] = w;
                }
                sum[i] = sum[i] * shrink + l;
#pragma unroll
                for (int n = 0; n < N; ++n)
#pragma unroll
                    for (int e = 0; e < 4; ++e) o[i][n][e] *= shrink;
            }
            __syncwarp();
            for (int j = 0; j < valid; j += 4) {
                float w[4][4];
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    *reinterpret_cast<float4*>(w[i]) =
                        *reinterpret_cast<const float4*>(weights + (y + 4 * i) * S::ldp + j);
#pragma unroll
                for (int e = 0; e < 4; ++e)
#pragma unroll
                    for (int n = 0; n < N; ++n) {
                        const float4 b =
                            *reinterpret_cast<const float4*>(v + (j + e) * S::ld + 32 * n + 4 * x);
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            o[i][n][0] += w[i][e] * b.x;
                            o[i][n][1] += w[i][e] * b.y;
                            o[i][n][2] += w[i][e] * b.z;
                            o[i][n][3] += w[i][e] * b.w;
                        }
                    }
            }
        }
        if constexpr (S::split)
            __syncwarp();
        else
            __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int e = 1; e < 8; e *= 2) sum[i] += __shfl_xor_sync(0xffffffff, sum[i], e);
    T* const out =
        static_cast<T*>(p.out) + static_cast<int64_t>(picture) * p.tokens * p.heads * p.dim + head * p.dim;
    if constexpr (S::split) {
        __syncthreads();
        const Partial<D> part(floats);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = warp * 16 + y + 4 * i;
#pragma unroll
            for (int n = 0; n < N; ++n)
#pragma unroll
                for (int e = 0; e < 4; ++e) part.o[row * D + 32 * n + 4 * x + e] = o[i][n][e];
            if (x == 0) {
                part.m[row] = most[i] * p.scale;
                part.l[row] = sum[i];
            }
        }
        __syncthreads();
        merge<T, D>(part, p, first_row, out);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = first_row + y + 4 * i;
            if (row >= p.tokens) continue;
            const float share = 1.0f / sum[i];
#pragma unroll
            for (int n = 0; n < N; ++n)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int d = 32 * n + 4 * x + e;
                    if (d < p.dim)
                        out[static_cast<int64_t>(row) * p.heads * p.dim + d] =
                            from_float<T>(o[i][n][e] * share);
                }
        }
    }
}

// Best first for each size of head.
template <class T, class F>
void each_shape(const F& f) {
    if constexpr (std::is_same_v<T, float>) {
        f(Shape<T, 64, 32, true>{});
        f(Shape<T, 64, 64, false>{});
    }
    f(Shape<T, 64, 32, false>{});
    f(Shape<T, 128, 32, false>{});
}

template <class F>
bool first_shape(const Attention& p, Type type, const Launch& at, const F& f) {
    bool found = false;
    with_type(type, [&]<class T>(T) {
        each_shape<T>([&]<class S>(S shape) {
            if (found || p.dim > S::D || S::bytes > at.shared_limit || (S::split && !few(p, at))) return;
            f(shape);
            found = true;
        });
    });
    return found;
}

}  // namespace

bool attention_fits(const Attention& p, Type type, const Launch& at) {
    return first_shape(p, type, at, [](auto) {});
}

void attention(const Attention& p, Type type, bool tensor_cores, const Launch& at) {
    if (tensor_cores && (type == Type::f16 ? attention_half(p, at) : attention_tf32(p, at))) return;
    first_shape(p, type, at, [&]<class S>(S) {
        start(attention_kernel<S>, p, attention_grid(p, S::split), 32 * attention_warps, S::bytes, at);
    });
}

void load_kernels(const Launch& at) {
    for (const Type type : {Type::f32, Type::f16})
        with_type(type, [&]<class T>(T) {
            each_shape<T>([&]<class S>(S) { cuda::allow_shared(attention_kernel<S>, S::bytes, at); });
        });
    prepare_attention_half(at);
    prepare_attention_tf32(at);
}

}  // namespace ivit::cuda_float
