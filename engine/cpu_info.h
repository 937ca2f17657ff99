// SPDX-License-Identifier: Apache-2.0
// What this machine's processor is and can do. Kernels are chosen by best_isa() at run time.
#pragma once
#include <string>

namespace ivit {

// Instruction sets the cpu backend has kernels for, each able to run all before it.
enum class Isa { scalar, avx2, avxvnni, avx512vnni };

// The greatest this processor and operating system support. IVIT_ISA=scalar|avx2|avxvnni|avx512vnni in the
// environment lowers it (never raises it), so that a test can walk every path on one machine; read once.
// Throws Error for any other value.
Isa best_isa();

// "scalar", "AVX2", "AVX-VNNI", "AVX-512 VNNI".
const char* to_string(Isa isa);

std::string cpu_name();  // brand string: "AMD EPYC 9B14"; "x86-64" where the processor tells none
std::string cpu_isa();   // to_string(best_isa())

// Cores this process may use: its affinity mask, and its control group's quota where there is one. At
// least 1.
int available_cores();

}  // namespace ivit
