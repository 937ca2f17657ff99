// SPDX-License-Identifier: Apache-2.0
// What this GPU can do at most, measured: the ceilings of a roofline. For benchmarks.
#pragma once

namespace ivit::cuda {

struct Ceilings {
    double wgmma_tops = 0;  // 10^12 int8 operations a second from shared memory; 0 where there is no wgmma
    double mma_tops = 0;    // the same of mma.sync from registers
    double copy_tbs = 0;    // 10^12 bytes a second that a copy in device memory reads and writes
};

// The best of five runs of each, some 50 ms in all. Throws Error where there is no GPU.
Ceilings measure_ceilings();

}  // namespace ivit::cuda
