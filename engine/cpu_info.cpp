// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu_info.h"

#include <cpuid.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "engine/error.h"

namespace ivit {
namespace {

// __builtin_cpu_supports also asks the operating system (XCR0) whether it saves the wide registers.
Isa detect() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2"))
        return Isa::scalar;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni"))
        return Isa::avx512vnni;
    // CPUID leaf 7, subleaf 1, EAX bit 4: AVX-VNNI (no builtin in every compiler we support).
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1)) return Isa::avxvnni;
    return Isa::avx2;
}

Isa masked(Isa found) {
    const char* text = std::getenv("IVIT_ISA");
    if (!text || !*text) return found;
    constexpr const char* names[] = {"scalar", "avx2", "avxvnni", "avx512vnni"};
    for (int i = 0; i < 4; ++i)
        if (std::strcmp(text, names[i]) == 0) return std::min(found, static_cast<Isa>(i));
    throw Error("unknown instruction set \"" + std::string(text) + "\"", "IVIT_ISA",
                "use scalar, avx2, avxvnni or avx512vnni");
}

}  // namespace

Isa best_isa() {
    static const Isa isa = masked(detect());
    return isa;
}

const char* to_string(Isa isa) {
    switch (isa) {
        case Isa::scalar:
            return "scalar";
        case Isa::avx2:
            return "AVX2";
        case Isa::avxvnni:
            return "AVX-VNNI";
        case Isa::avx512vnni:
            return "AVX-512 VNNI";
    }
    return "?";
}

std::string cpu_isa() { return to_string(best_isa()); }

std::string cpu_name() {
    unsigned r[12] = {};
    for (unsigned i = 0; i < 3; ++i)  // leaves 0x80000002..4: 48 characters, padded with blanks or zeros
        if (!__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]))
            return "x86-64";
    char text[49] = {};
    std::memcpy(text, r, 48);
    std::string name = text;
    const size_t first = name.find_first_not_of(' ');
    if (first == std::string::npos) return "x86-64";
    return name.substr(first, name.find_last_not_of(' ') - first + 1);
}

int available_cores() {
    int cores = static_cast<int>(std::thread::hardware_concurrency());
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    // "max 100000" or "200000 100000": a container's share of the machine, in microseconds per period.
    double quota = 0, period = 0;
    if (std::ifstream("/sys/fs/cgroup/cpu.max") >> quota >> period && period > 0)
        cores = std::min(cores, static_cast<int>(std::ceil(quota / period)));
    return std::max(cores, 1);
}

}  // namespace ivit
