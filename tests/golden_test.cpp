// SPDX-License-Identifier: Apache-2.0
// The functions of arithmetic.md against golden_ops.json, which was made by another implementation.
#include <catch2/catch.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/arithmetic.h"
#include "engine/backends/reference/shift_ops.h"
#include "engine/error.h"
#include "engine/quantized_model.h"

using nlohmann::json;

namespace {

const json& golden() {
    static const json j = [] {
        std::ifstream file(IVIT_SOURCE_DIR "/tests/golden/golden_ops.json");
        return json::parse(file);
    }();
    return j;
}

ivit::ShiftParams params(const json& c) {
    return {c["n"], c["k"], c["M"], c["t"], c.contains("pivot") && c["pivot"] == "row"};
}

}  // namespace

TEST_CASE("dyadic numbers equal the golden ones", "[golden]") {
    REQUIRE(golden()["dyadic"].size() == 30);
    for (const auto& c : golden()["dyadic"]) {
        const auto d = ivit::dyadic(c["r"]);
        CHECK(d.m == c["m"]);
        CHECK(d.s == c["s"]);
    }
}

TEST_CASE("dyadic refuses what has no shift and underflows to zero", "[golden]") {
    CHECK_THROWS_AS(ivit::dyadic(3e12), ivit::Error);
    CHECK(ivit::dyadic(1e-12).m == 0);
    CHECK(ivit::dyadic(1e-12).s == 31);
    CHECK(ivit::dyadic(1073741823.0).s == 1);
    CHECK(ivit::dyadic(0x1.fffffffffp-1).m == 1 << 30);  // rounds up to 2^31: carried into the exponent
}

TEST_CASE("requant equals the golden values", "[golden]") {
    for (const auto& c : golden()["requant"])
        for (size_t i = 0; i < c["x"].size(); ++i)
            CHECK(ivit::arith::requant(c["x"][i].get<int64_t>(), c["m"], c["s"], c["bits"]) == c["y"][i]);
}

TEST_CASE("shift_exp equals the golden values", "[golden]") {
    for (const auto& c : golden()["shift_exp"])
        for (size_t i = 0; i < c["x"].size(); ++i)
            CHECK(ivit::arith::shift_exp(c["x"][i], c["I0"], c["n"]) == c["y"][i].get<int64_t>());
}

TEST_CASE("Shiftmax rows equal the golden ones", "[golden]") {
    for (const auto& c : golden()["shiftmax"])
        for (size_t i = 0; i < c["x"].size(); ++i) {
            const auto x = c["x"][i].get<std::vector<int32_t>>();
            std::vector<int32_t> p(x.size());
            ivit::reference::shiftmax_row(x, c["I0"], params(c), p);
            CHECK(p == c["p"][i].get<std::vector<int32_t>>());
        }
}

TEST_CASE("ShiftGELU rows equal the golden ones", "[golden]") {
    for (const auto& c : golden()["shiftgelu"])
        for (size_t i = 0; i < c["x"].size(); ++i) {
            const auto x = c["x"][i].get<std::vector<int32_t>>();
            std::vector<int32_t> y(x.size());
            ivit::reference::shiftgelu_row(x, c["I0"], params(c), y);
            CHECK(y == c["y"][i].get<std::vector<int32_t>>());
        }
}

TEST_CASE("I-LayerNorm constants and rows equal the golden ones", "[golden]") {
    for (const auto& c : golden()["layernorm"]) {
        const auto gamma = c["gamma"].get<std::vector<double>>(), beta = c["beta"].get<std::vector<double>>();
        const int64_t C = static_cast<int64_t>(gamma.size());
        std::vector<ivit::LayernormConstants> k;
        for (size_t j = 0; j < gamma.size(); ++j) {
            k.push_back(ivit::layernorm_constants(gamma[j], beta[j], c["S_out"], C));
            CHECK(k[j].m == c["m"][j]);
            CHECK(k[j].s == c["s"][j]);
            CHECK(k[j].B == c["B"][j].get<int64_t>());
        }
        for (size_t i = 0; i < c["x"].size(); ++i) {
            const auto x = c["x"][i].get<std::vector<int32_t>>();
            std::vector<int32_t> core(x.size()), y(x.size());
            ivit::reference::layernorm_row(x, core);
            CHECK(core == c["core"][i].get<std::vector<int32_t>>());
            for (size_t j = 0; j < x.size(); ++j)
                y[j] = ivit::arith::layernorm_out(core[j], k[j].m, k[j].B, k[j].s, c["bits"]);
            CHECK(y == c["y"][i].get<std::vector<int32_t>>());
        }
    }
}

TEST_CASE("isqrt is exact at and around every kind of square", "[golden]") {
    for (const int64_t root :
         {1LL, 2LL, 3LL, 63LL, 64LL, 65LL, 46340LL, 46341LL, 1234567LL, 2147483646LL, 2147483647LL}) {
        CHECK(ivit::arith::isqrt(root * root) == root);
        CHECK(ivit::arith::isqrt(root * root - 1) == root - 1);
        CHECK(ivit::arith::isqrt(root * root + 2 * root) == root);
    }
    CHECK(ivit::arith::isqrt(0) == 0);
}
