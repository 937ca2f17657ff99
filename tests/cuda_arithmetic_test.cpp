// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels share with the CPU: the same source, run here without a GPU.
#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "engine/arithmetic.h"
#include "engine/backends/cuda/layout.h"

using namespace ivit;

namespace {

std::mt19937_64& rng() {
    static std::mt19937_64 g(11);
    return g;
}
int64_t uniform(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng()); }

}  // namespace

TEST_CASE("division by shifts, which GPUs use, is division", "[cuda][arithmetic]") {
    for (int i = 0; i < 200000; ++i) {
        const uint64_t a = static_cast<uint64_t>(uniform(0, INT64_MAX)) >> uniform(0, 62);
        const uint64_t b = (static_cast<uint64_t>(uniform(0, INT64_MAX)) >> uniform(0, 62)) | 1;
        REQUIRE(arith::divide_by_shifts(a, b) == a / b);
        REQUIRE(arith::divide_by_shifts(a + b, b) == a / b + 1);
    }
    for (const uint64_t a : {uint64_t{0}, uint64_t{1}, uint64_t{INT64_MAX}, ~uint64_t{0}})
        for (const uint64_t b : {uint64_t{1}, uint64_t{2}, uint64_t{INT64_MAX}, ~uint64_t{0}})
            CHECK(arith::divide_by_shifts(a, b) == a / b);
}

TEST_CASE("FastDiv is division by every divisor a network has", "[cuda][arithmetic]") {
    for (int32_t d = 1; d < 5000; ++d) {
        const cuda::FastDiv f(d);
        for (const int64_t n :
             {int64_t{0}, int64_t{d} - 1, int64_t{d}, uniform(0, INT32_MAX), int64_t{INT32_MAX},
              INT32_MAX / d * int64_t{d}, INT32_MAX / d * int64_t{d} - 1}) {
            REQUIRE(f.divide(static_cast<int32_t>(n)) == n / d);
            REQUIRE(f.remainder(static_cast<int32_t>(n)) == n % d);
        }
    }
    for (int i = 0; i < 100000; ++i) {
        const auto d = static_cast<int32_t>(uniform(1, INT32_MAX) >> uniform(0, 30)),
                   n = static_cast<int32_t>(uniform(0, INT32_MAX));
        REQUIRE(cuda::FastDiv(std::max(d, 1)).divide(n) == n / std::max(d, 1));
    }
}

TEST_CASE("the attention kernel's reciprocal is Shiftmax's, to the last bit", "[cuda][arithmetic]") {
    for (int i = 0; i < 400000; ++i) {
        const int M = i % 3 == 0 ? 31 : i % 3 == 1 ? 47 : static_cast<int>(uniform(16, 62));
        const int64_t d = std::max<int64_t>(1, uniform(1, (int64_t{1} << 62) - 1) >> uniform(0, 61));
        const int64_t f = arith::shift_reciprocal(d, M);
        if (f >= int64_t{1} << 32) continue;
        INFO("d " << d << " M " << M);
        REQUIRE(cuda::quick_reciprocal(d, M) == f);
    }
    for (int M = 16; M <= 62; ++M)
        for (int bit = 0; bit < 62; ++bit)
            for (const int64_t off : {-1, 0, 1}) {
                const int64_t d = (int64_t{1} << bit) + off;
                if (d < 1) continue;
                const int64_t f = arith::shift_reciprocal(d, M);
                if (f >= int64_t{1} << 32) continue;
                INFO("d " << d << " M " << M);
                REQUIRE(cuda::quick_reciprocal(d, M) == f);
            }
}

TEST_CASE("the I-LayerNorm kernel's reciprocal of a root is exact", "[cuda][arithmetic]") {
    for (uint32_t d = 1; d < (1u << 25); d += d < 300000 ? 1 : static_cast<uint32_t>(uniform(1, 60)))
        if (cuda::quick_reciprocal31(d) != arith::shift_reciprocal(d, 31)) {
            INFO("d " << d);
            REQUIRE(cuda::quick_reciprocal31(d) == arith::shift_reciprocal(d, 31));
        }
    for (int bit = 0; bit < 25; ++bit)
        for (const int64_t off : {-1, 0, 1}) {
            const int64_t d = (int64_t{1} << bit) + off;
            if (d >= 1)
                CHECK(cuda::quick_reciprocal31(static_cast<uint32_t>(d)) == arith::shift_reciprocal(d, 31));
        }
}

TEST_CASE("the I-LayerNorm kernel's square root is floor(sqrt(v))", "[cuda][arithmetic]") {
    for (uint64_t v = 0; v < 100000; ++v)
        REQUIRE(cuda::quick_root(v) == arith::isqrt(static_cast<int64_t>(v)));
    for (int i = 0; i < 400000; ++i) {
        const int64_t v = uniform(0, (int64_t{1} << 50) - 1) >> uniform(0, 49);
        REQUIRE(cuda::quick_root(static_cast<uint64_t>(v)) == arith::isqrt(v));
        const int64_t root = std::max<int64_t>(1, uniform(1, (1 << 25) - 1) >> uniform(0, 20));
        for (const int64_t off : {-1, 0, 1})
            REQUIRE(cuda::quick_root(static_cast<uint64_t>(root * root + off)) ==
                    arith::isqrt(root * root + off));
    }
}

TEST_CASE("packed weight rows are permutations inside groups of 32 or 16", "[cuda][arithmetic]") {
    std::set<int32_t> seen, paired;
    for (int32_t c = 0; c < 128; ++c) {
        const int32_t r = cuda::packed_row(c), pair = cuda::paired_row(c);
        CHECK(r / 32 == c / 32);
        CHECK(pair / 16 == c / 16);
        seen.insert(r);
        paired.insert(pair);
    }
    CHECK(seen.size() == 128);
    CHECK(paired.size() == 128);
    // Thread g of a product on its side holds rows g and g + 8 of each group of 16: channels 2g and 2g + 1.
    for (int32_t g = 0; g < 8; ++g) {
        CHECK(cuda::paired_row(16 + 2 * g) == 16 + g);
        CHECK(cuda::paired_row(16 + 2 * g + 1) == 16 + g + 8);
    }
    // Thread t of a tensor-core product holds columns 2t and 2t + 1 of each group of 8: eight channels in a
    // row.
    for (int32_t t = 0; t < 4; ++t)
        for (int32_t j = 0; j < 4; ++j)
            for (int32_t e = 0; e < 2; ++e) CHECK(cuda::packed_row(8 * t + 2 * j + e) == 8 * j + 2 * t + e);
}

TEST_CASE("a layout pads every head and the row", "[cuda][arithmetic]") {
    const auto qkv = cuda::Layout::heads(3 * 60, 20);
    CHECK(qkv.padded == 32);
    CHECK(qkv.stride == 320);
    CHECK(qkv.at(0) == 0);
    CHECK(qkv.at(19) == 19);
    CHECK(qkv.at(20) == 32);
    CHECK(qkv.at(179) == 8 * 32 + 19);
    CHECK(cuda::Layout::heads(192, 64).padded == 64);
    CHECK(cuda::Layout::heads(70, 70).padded == 128);
    CHECK(cuda::Layout::flat(21).stride == 64);
}
