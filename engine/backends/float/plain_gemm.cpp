// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backends/float/kernels.h"
#include "engine/backends/float/ops.h"

namespace ivit::fp32 {

// Pieces of the output's columns over the threads: every output is one sum in the order of k, whoever makes
// it.
void PlainGemm::linear(const FloatArgs& a, const float* x, int64_t rows, int64_t k, Epilogue epilogue,
                       const float* residual, float* y) {
    const int64_t cols = a.node.cols(), m = a.batch * rows, panels = (cols + panel_width - 1) / panel_width;
    const float *weight = a.weight(a.node.weight), *bias = a.weight(a.node.bias);
    parallel(a.pool, panels, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> panel(static_cast<size_t>(k * panel_width));
        const int64_t n0 = begin * panel_width, n = std::min(cols, end * panel_width) - n0;
        kernels().gemm(m, n, k, x, k, weight + n0 * k, 1, k, bias ? bias + n0 : nullptr, y + n0, cols,
                       panel.data());
        if (epilogue == Epilogue::none) return;
        for (int64_t i = 0; i < m; ++i) {
            float* row = y + i * cols + n0;
            if (epilogue == Epilogue::gelu)
                kernels().gelu(n, row, row);
            else
                kernels().add(n, row, residual + i * cols + n0, row);
        }
    });
}

}  // namespace ivit::fp32
