// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// [batch, 3, H, W] -> [batch, patches, C]: the pixels of a patch in the order [3, p, p], times weight [C, 3,
// p, p].
void patch_embed(const FloatArgs& a) {
    const Shape& image = a.inputs[0]->shape;
    const int64_t h = image[image.size() - 2], w = image.back(), p = a.node.patch;
    const int64_t across = w / p, patches = h / p * across, k = 3 * p * p;
    std::vector<float> own;
    std::vector<float>& columns = a.scratch ? *a.scratch : own;  // [batch, patches, 3, p, p]
    columns.resize(static_cast<size_t>(a.batch * patches * k));
    parallel(a.pool, a.batch * patches, 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t picture = i / patches, patch = i % patches;
            const float* from = a.in(0) + picture * 3 * h * w + patch / across * p * w + patch % across * p;
            float* to = columns.data() + i * k;
            for (int64_t c = 0; c < 3; ++c)
                for (int64_t y = 0; y < p; ++y, to += p)
                    std::memcpy(to, from + (c * h + y) * w, static_cast<size_t>(p) * sizeof(float));
        }
    });
    a.gemm.linear(a, columns.data(), patches, k, Epilogue::none, nullptr, a.out());
}

}  // namespace ivit::fp32
