// SPDX-License-Identifier: Apache-2.0
// For plain loops outside the kernels (making integers, histograms): one copy per instruction set, chosen at
// load.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define IVIT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define IVIT_CLONES  // ifunc resolvers run before the sanitizers are ready
#endif

namespace ivit {

// Vectors where the compiler does not find them itself: sixteen floats or eight doubles, at any address.
// Operations are lane by lane, so every instruction set gives the same bits.
typedef float Lanes16f __attribute__((vector_size(64), aligned(4), may_alias));
typedef double Lanes8d __attribute__((vector_size(64), aligned(8), may_alias));

// Added to a number and taken off again, rounds it to a whole one (|x| < 2^22, 2^51; ties to even).
constexpr float round_magic_f = 12582912.0f;
constexpr double round_magic_d = 6755399441055744.0;

}  // namespace ivit
