// SPDX-License-Identifier: Apache-2.0
#include "engine/backends/cuda/device.cuh"
#include "engine/backends/cuda/prepare.h"

namespace ivit::cuda {
namespace {

// One block per token: the patch's bytes through the colour tables, in the order the weights have.
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
    if (token == 0 || p.patch.d % 4 != 0 || p.size % 4 != 0) {
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
        return;
    }
    // Four pixels at a time: three words in, one word out per colour channel.
    for (int i = 4 * threadIdx.x; i < p.area.d; i += 4 * blockDim.x) {
        const int dy = p.patch.divide(i), dx = i - dy * p.patch.d;
        const uint32_t* const from =
            reinterpret_cast<const uint32_t*>(pixels + (static_cast<int64_t>(dy) * p.size + dx) * 3);
        const uint32_t w[3] = {from[0], from[1], from[2]};
#pragma unroll
        for (int channel = 0; channel < 3; ++channel) {
            uint32_t v = 0;
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int at = 3 * e + channel;
                const uint32_t byte = w[at / 4] >> 8 * (at % 4) & 255;
                v |= static_cast<uint32_t>(static_cast<uint8_t>(__ldg(p.table + 256 * channel + byte)))
                     << 8 * e;
            }
            *reinterpret_cast<uint32_t*>(out + channel * p.area.d + i) = v;
        }
    }
    for (int i = 3 * p.area.d + threadIdx.x; i < p.ldo; i += blockDim.x) out[i] = 0;
}

}  // namespace

void prepare_patches(const Launch& at) { allow_shared(patches_kernel, 0, at); }

void patches(const Patches& p, const Launch& at) {
    start<Patches>(patches_kernel, p, dim3(static_cast<unsigned>(p.tokens), static_cast<unsigned>(p.batch)),
                   dim3(64), 0, at);
}

}  // namespace ivit::cuda
