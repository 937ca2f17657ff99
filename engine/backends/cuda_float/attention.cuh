// SPDX-License-Identifier: Apache-2.0
// What the three attention kernels share. A warp owns 16 rows of queries. With many pictures a block is four
// warps on 64 rows that walk through the keys together; with few (`split`) a block is four warps on the same
// 16 rows, each with every fourth chunk of the keys, whose results are put together in the end.
#pragma once
#include "engine/backends/cuda_float/device.cuh"

namespace ivit::cuda_float {

constexpr int attention_warps = 4;

// What a warp with some of the keys leaves behind for its 16 rows: [warps][16][D] sums of exp2(s - m) * v,
// then [warps][16] maxima m and [warps][16] sums of exp2(s - m).
template <int D>
struct Partial {
    float *o, *m, *l;
    __device__ explicit Partial(float* memory)
        : o(memory), m(o + attention_warps * 16 * D), l(m + attention_warps * 16) {}
    static constexpr int floats = attention_warps * 16 * (D + 2);
};

// Puts the warps' partial results together and writes rows first_row .. first_row + 15 of `out`, which points
// at this picture's and head's first value. All threads of the block; after a barrier.
template <class T, int D>
__device__ void merge(const Partial<D>& part, const Attention& p, int first_row, T* out) {
    for (int i = threadIdx.x; i < 16 * D; i += blockDim.x) {
        const int row = i / D, d = i % D;
        if (first_row + row >= p.tokens || d >= p.dim) continue;
        float most = part.m[row];
        for (int w = 1; w < attention_warps; ++w) most = fmaxf(most, part.m[w * 16 + row]);
        float o = 0, l = 0;
        for (int w = 0; w < attention_warps; ++w) {
            const float share = exp2_fast(part.m[w * 16 + row] - most);
            o += share * part.o[(w * 16 + row) * D + d];
            l += share * part.l[w * 16 + row];
        }
        out[static_cast<int64_t>(first_row + row) * p.heads * p.dim + d] = from_float<T>(o / l);
    }
}

// Few blocks: the split kernels keep more of the GPU busy.
inline bool few(const Attention& p, const Launch& at) {
    return static_cast<int64_t>((p.tokens + 63) / 64) * p.heads * p.batch < 2 * static_cast<int64_t>(at.sms);
}

inline dim3 attention_grid(const Attention& p, bool split) {
    const int rows = split ? 16 : 16 * attention_warps;
    return dim3(static_cast<unsigned>((p.tokens + rows - 1) / rows), static_cast<unsigned>(p.heads),
                static_cast<unsigned>(p.batch));
}

}  // namespace ivit::cuda_float
