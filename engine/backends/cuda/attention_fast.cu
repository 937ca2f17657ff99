// SPDX-License-Identifier: Apache-2.0
// attention_fast.cuh on any architecture: a block for each head, which loads its keys and values first.
#include "engine/backends/cuda/attention_fast.cuh"

#include "engine/backends/cuda/attention_sm90.h"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

using Some = Shape<64, 3, 4, false, 4>;
using Many = Shape<64, 7, 4, false, 4>;
using Split1 = Shape<64, 1, 4, true, 4>;
using Split2 = Shape<64, 2, 4, true, 4>;

template <class S, bool bytes>
__global__ void __launch_bounds__(32 * S::warps, S::blocks)
    attention_fast_kernel(const __grid_constant__ Attention p) {
    constexpr int D = S::D;
    extern __shared__ __align__(128) uint8_t shared[];
    const int head = blockIdx.y, picture = blockIdx.z, padded = (p.tokens + 31) & ~31;
    const int8_t* const qkv = p.qkv + static_cast<int64_t>(picture) * p.tokens * p.ld + head * D;
    uint8_t* const kv = shared + S::exponential_bytes;
    AttentionHead at;
    at.keys = shared_address(kv);
    at.values = at.keys + padded * D;
    at.exponentials = shared;
    at.out = p.out + static_cast<int64_t>(picture) * p.tokens * p.ldo + head * D;
    at.sums = kv + 2 * padded * D;

    fill_exponentials<S>(p, shared);
    wait_for_inputs();
    let_next_start();
    for (int i = threadIdx.x; i < padded * (D / 16); i += blockDim.x) {
        const int c = i % (D / 16), r = i / (D / 16);
        const int8_t* from = qkv + static_cast<int64_t>(r < p.tokens ? r : 0) * p.ld + 16 * c;
        copy16(at.keys + swizzled_row<D>(r, c), from + p.heads * D, r < p.tokens);
        copy16(at.values + swizzled_row<D>(r, c), from + 2 * p.heads * D, r < p.tokens);
    }
    copy_commit();

    const int tiles = (p.tokens + 15) / 16, stride = S::split ? gridDim.x : S::warps;
    bool loaded = false;
    for (int tile = S::split ? blockIdx.x : threadIdx.x >> 5; tile < tiles || !loaded; tile += stride) {
        uint32_t q[D / 32][4];
        load_queries<D>(p, qkv, tile, q);
        if (!loaded) {  // the queries' way from memory and the keys' are one wait
            copy_wait<0>();
            __syncthreads();
            loaded = true;
            if (tile >= tiles) break;
        }
        at.again = tile + stride < tiles;
        attend<S, bytes>(p, at, tile, q);
    }
}

// Calls f with the Shape for these heads and tokens; returns false when there is none, or the parameters are
// others.
template <class F>
bool with_shape(const Attention& p, const Launch& at, const F& f) {
    const auto attempt = [&]<class S>(S shape) {
        return S::D == p.padded && p.tokens <= S::tokens && p.tokens >= S::least_tokens &&
               S::shared_bytes((p.tokens + 31) & ~31) <= at.shared_limit && (f(shape), true);
    };
    const int64_t tiles = static_cast<int64_t>((p.tokens + 15) / 16) * p.heads * p.batch;
    const bool few = tiles < 8 * static_cast<int64_t>(at.sms);
    if (!few && (attempt(Some{}) || attempt(Many{}))) return true;
    return attempt(Split1{}) || attempt(Split2{});
}

template <class... S>
void allow(const Launch& at) {
    (allow_shared(attention_fast_kernel<S, true>, at.shared_limit, at), ...);
    (allow_shared(attention_fast_kernel<S, false>, at.shared_limit, at), ...);
}

}  // namespace

void prepare_attention_fast(const Launch& at) { allow<Some, Many, Split1, Split2>(at); }

bool attention_fast(const Attention& p, const Launch& at) {
    if (!attention_usual(p)) return false;
    if (attention_sm90(p, at)) return true;
    return with_shape(p, at, [&]<class S>(S) {
        const int tiles = (p.tokens + 15) / 16;
        const dim3 grid(static_cast<unsigned>(S::split ? tiles : 1), static_cast<unsigned>(p.heads),
                        static_cast<unsigned>(p.batch));
        start<Attention>(
            attention_bytes(p) ? attention_fast_kernel<S, true> : attention_fast_kernel<S, false>, p, grid,
            dim3(32 * S::warps), S::shared_bytes((p.tokens + 31) & ~31), at);
    });
}

}  // namespace ivit::cuda
