// SPDX-License-Identifier: Apache-2.0
// For plain loops outside the kernels (making integers, histograms): one copy per instruction set, chosen at
// load.
#pragma once

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define IVIT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define IVIT_CLONES  // ifunc resolvers run before the sanitizers are ready
#endif
