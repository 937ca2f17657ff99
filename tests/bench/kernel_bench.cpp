// SPDX-License-Identifier: Apache-2.0
// Single kernels of the cpu backend on every instruction set of this machine. MAC/s and rows/s are counters,
// and so is how many times as fast as the scalar kernel of the same run a line is: scalar comes first.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/backends/cpu/packed_node.h"
#include "engine/cpu_info.h"
#include "engine/thread_pool.h"

using namespace ivit;
using namespace ivit::cpu;

namespace {

// A rate, and its ratio to the scalar kernel's: the line `scalar` of the same kernel and sizes ran before.
void rate(benchmark::State& state, const std::string& kernel, const char* unit, Isa isa, double work,
          double seconds) {
    static std::map<std::string, double> scalar;
    const std::string key = kernel + "/" + std::to_string(state.range(0)) + "/" +
                            (kernel == "shiftmax" ? std::to_string(state.range(1)) : "");
    const double speed = static_cast<double>(state.iterations()) * work / seconds;
    if (isa == Isa::scalar) scalar[key] = speed;
    state.counters[unit] = speed;
    if (scalar.count(key)) state.counters["x scalar"] = speed / scalar[key];
}

// This thread's time on a core: what else runs on the machine does not count.
double now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// 96 rows [96, K] times [K, 576], requantized to 8 bits: qkv of DeiT-T at K = 192, of DeiT-B's size at K =
// 768.
void gemm_requant(benchmark::State& state, Isa isa) {
    const int64_t K = state.range(0), N = 576, rows = 96;
    const Kernels& k = kernels(isa);
    std::vector<int8_t> weight(static_cast<size_t>(N * K));
    for (int8_t& w : weight) w = static_cast<int8_t>(std::rand());
    const Panels panels = pack_weights(weight.data(), N, K);
    Buffer<uint8_t> x(rows * K), y(rows * N);
    for (int64_t i = 0; i < rows * K; ++i) x[i] = static_cast<uint8_t>(std::rand());
    const Buffer<int32_t> init(N);
    const int32_t m = 1500000000, s = 42;
    const Requantizer requant(&m, &s, 1, N, -128, 127);
    alignas(64) int32_t acc[tile_rows * tile_cols];
    const double start = now();
    for (auto _ : state) {
        for (int64_t p = 0; p < panels.count(); ++p)
            for (int64_t r = 0; r < rows; r += tile_rows) {
                k.gemm_tile(x.data() + r * K, nullptr, K, panels.panel(p), panels.k4(), init.data(),
                            tile_rows, panels.width(p), acc, {});
                k.requant_u8(acc, tile_rows, panels.cols(p), requant.at(p * tile_cols), nullptr,
                             y.data() + r * N + p * tile_cols, N);
            }
        benchmark::ClobberMemory();
    }
    rate(state, "gemm_requant", "MAC/s", isa, static_cast<double>(rows * N * K), now() - start);
}

void layernorm(benchmark::State& state, Isa isa) {
    const int64_t C = state.range(0), rows = 96;
    Buffer<int16_t> x(rows * C);
    for (int64_t i = 0; i < rows * C; ++i) x[i] = static_cast<int16_t>(std::rand() % 20000 - 10000);
    Buffer<int32_t> m(C), shift(C);
    Buffer<int64_t> B(C);
    for (int64_t c = 0; c < C; ++c) m[c] = 1 << 30, shift[c] = 18, B[c] = int64_t{1} << 49;
    Buffer<uint8_t> y(rows * C);
    const LayernormView view{m.data(), shift.data(), B.data(), -128, 127, true};
    const double start = now();
    for (auto _ : state) {
        kernels(isa).layernorm(x.data(), C, rows, C, view, y.data());
        benchmark::ClobberMemory();
    }
    rate(state, "layernorm", "rows/s", isa, static_cast<double>(rows), now() - start);
}

// Six rows of logits that spread over `range` steps.
void shiftmax(benchmark::State& state, Isa isa) {
    const int64_t n = state.range(0), range = state.range(1), ld = (n + 63) / 64 * 64;
    Buffer<uint8_t> x(tile_rows * ld), low(tile_rows * ld), high(tile_rows * ld);
    for (int64_t i = 0; i < tile_rows * ld; ++i) x[i] = static_cast<uint8_t>(std::rand() % range);
    Buffer<uint64_t> e(256);
    for (int64_t i = 0; i < 256; ++i) e[i] = uint64_t{160 << 15} >> (i / 12);
    PackedNode::Planes planes;
    planes.fill(e);
    const ShiftmaxView view{e.data(), planes.view(), 47, 16};
    Buffer<uint64_t> groups(tile_rows * group_words(ld));
    const double start = now();
    for (auto _ : state) {
        kernels(isa).shiftmax(x.data(), ld, tile_rows, n, view, low.data(), high.data(), groups.data());
        benchmark::ClobberMemory();
    }
    rate(state, "shiftmax", "rows/s", isa, tile_rows, now() - start);
}

// What few tokens wait for: as many bytes as DeiT-T, S and B have weights (range: tenths of a MB), read once
// by all cores, each its part.
void read_weights(benchmark::State& state) {
    const auto pool = ThreadPool::get(0);
    const int64_t words = state.range(0) * 100000 / 8;
    Arena arena(words * 8);
    const auto* data = reinterpret_cast<const uint64_t*>(std::memset(arena.take(words * 8), 1, words * 8));
    std::atomic<uint64_t> sink{0};
    const auto job = [&](int i) {
        uint64_t sums[8] = {};
        const int64_t begin = words * i / pool->size() / 8, end = words * (i + 1) / pool->size() / 8;
        for (int64_t line = begin; line < end; ++line)
            for (int j = 0; j < 8; ++j) sums[j] += data[line * 8 + j];
        for (const uint64_t x : sums) sink += x;
    };
    for (auto _ : state) pool->run(pool->size(), std::ref(job));
    state.SetBytesProcessed(state.iterations() * words * 8);
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::AddCustomContext("machine", cpu_name() + ", " + cpu_isa());
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512vnni}) {
        if (isa > best_isa()) continue;
        const std::string name = to_string(isa);
        const auto add = [&](const std::string& kernel, auto function) {
            return benchmark::RegisterBenchmark((kernel + "/" + name).c_str(), function, isa);
        };
        add("gemm_requant", gemm_requant)->Arg(192)->Arg(768)->Arg(3072);
        add("layernorm", layernorm)->Arg(192)->Arg(768);
        add("shiftmax", shiftmax)->Args({65, 100})->Args({197, 100})->Args({197, 256});
    }
    benchmark::RegisterBenchmark("read_weights", read_weights)->Arg(57)->Arg(219)->Arg(863)->UseRealTime();
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
