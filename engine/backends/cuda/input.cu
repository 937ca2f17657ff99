// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backends/cuda/epilogue.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

// Any patch. One block per token: the patch's bytes through the colour tables, in the order the weights have.
__global__ void __launch_bounds__(64) patches_kernel(const Patches p) {
    const int token = blockIdx.x, picture = blockIdx.y;
    int8_t* const out = p.out + (static_cast<int64_t>(picture) * p.tokens + token) * p.ldo;
    let_next_start();
    wait_for_inputs();
    const int down = token == 0 ? 0 : p.across.divide(token - 1);
    const int64_t y0 = static_cast<int64_t>(down) * p.patch.d;
    const int64_t x0 = static_cast<int64_t>(token - 1 - down * p.across.d) * p.patch.d;
    const uint8_t* const pixels =
        p.pixels + (static_cast<int64_t>(picture) * p.size * p.size + y0 * p.size + x0) * 3;
    for (int i = threadIdx.x; i < p.ldo; i += blockDim.x) {
        int8_t v = 0;
        if (token > 0 && i < 3 * p.area.d) {
            const int channel = p.area.divide(i), at = i - channel * p.area.d;
            const int dy = p.patch.divide(at), dx = at - dy * p.patch.d;
            v = __ldg(p.table + 256 * channel +
                      pixels[(static_cast<int64_t>(dy) * p.size + dx) * 3 + channel]);
        }
        out[i] = v;
    }
}

// Patches and pictures whose sides are multiples of four, and that fill a row of the output. The colour
// tables lie in shared memory as GELU's does in the products'. Four pixels at a time: three words in, one
// word out per colour.
struct Quads {
    Patches p;
    FastDiv quads, tokens;  // of a patch; of a picture
    int32_t count;          // quads in all, those of the class tokens' rows too
};
__global__ void __launch_bounds__(256) quads_kernel(const __grid_constant__ Quads args) {
    __shared__ uint32_t tables[3 * 256 * table_copies];
    const Patches& p = args.p;
    let_next_start();
    for (int i = threadIdx.x; i < 3 * 256; i += blockDim.x) {
        const uint32_t y = static_cast<uint8_t>(__ldg(p.table + i));
        uint4* const to = reinterpret_cast<uint4*>(tables + i * table_copies);
        to[0] = to[1] = make_uint4(y, y, y, y);
    }
    wait_for_inputs();
    __syncthreads();
    for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < args.count; n += gridDim.x * blockDim.x) {
        const int row = args.quads.divide(n), i = 4 * (n - row * args.quads.d);
        const int picture = args.tokens.divide(row), token = row - picture * p.tokens;
        uint32_t* const out = reinterpret_cast<uint32_t*>(p.out + static_cast<int64_t>(row) * p.ldo + i);
        uint32_t y[3] = {};
        if (token > 0) {
            const int down = p.across.divide(token - 1), dy = p.patch.divide(i);
            const int y0 = down * p.patch.d + dy,
                      x0 = (token - 1 - down * p.across.d) * p.patch.d + i - dy * p.patch.d;
            const uint32_t* const from = reinterpret_cast<const uint32_t*>(
                p.pixels + ((static_cast<int64_t>(picture) * p.size + y0) * p.size + x0) * 3);
            const uint32_t w[3] = {__ldg(from), __ldg(from + 1), __ldg(from + 2)};
            // Byte 3e + channel of the twelve is pixel e's.
            const uint32_t colours[3] = {__byte_perm(__byte_perm(w[0], w[1], 0x0630), w[2], 0x5210),
                                         __byte_perm(__byte_perm(w[0], w[1], 0x0741), w[2], 0x6210),
                                         __byte_perm(__byte_perm(w[0], w[1], 0x0052), w[2], 0x7410)};
#pragma unroll
            for (int c = 0; c < 3; ++c) y[c] = look_up4(tables + 256 * table_copies * c, colours[c]);
        }
#pragma unroll
        for (int c = 0; c < 3; ++c) out[c * (p.area.d / 4)] = y[c];
    }
}

}  // namespace

void prepare_patches(const Launch& at) {
    allow_shared(patches_kernel, 0, at);
    allow_shared(quads_kernel, 0, at);
}

void patches(const Patches& p, const Launch& at) {
    if (p.patch.d % 4 == 0 && p.size % 4 == 0 && 3 * p.area.d == p.ldo) {
        const Quads args{p, FastDiv(p.area.d / 4), FastDiv(p.tokens), p.area.d / 4 * p.tokens * p.batch};
        start<Quads>(quads_kernel, args,
                     dim3(static_cast<unsigned>(std::min((args.count + 255) / 256, 8 * at.sms))), dim3(256),
                     0, at);
    } else {
        start<Patches>(patches_kernel, p,
                       dim3(static_cast<unsigned>(p.tokens), static_cast<unsigned>(p.batch)), dim3(64), 0,
                       at);
    }
}

}  // namespace ivit::cuda
