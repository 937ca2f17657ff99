// SPDX-License-Identifier: Apache-2.0
#include "engine/trace.h"

#include <catch2/catch.hpp>
#include <cmath>

using ivit::Trace;

TEST_CASE("top_k: best first, ties to the lower index, no more than there are", "[trace]") {
    Trace t;
    t.batch = 2;
    t.logits = {1, 5, 5, -2, 0, /**/ 3, 2, 1, 0, -1};
    CHECK(top_k(t, 0, 3) == std::vector<int>{1, 2, 0});
    CHECK(top_k(t, 1, 2) == std::vector<int>{0, 1});
    CHECK(top_k(t, 1, 99) == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(top_k(t, 0, 0).empty());

    // Integers decide where there are any: floats may not tell two of them apart.
    t.integer_logits = {16777217, 16777216, 0, 0, 16777218, 0, 0, 0, 0, 1};
    CHECK(top_k(t, 0, 3) == std::vector<int>{4, 0, 1});
    CHECK(top_k(t, 1, 2) == std::vector<int>{4, 0});
}

TEST_CASE("probabilities sum to one and survive great logits", "[trace]") {
    Trace t;
    t.batch = 2;
    t.logits = {1000, 1000, 0, /**/ -3, -2, -1};
    const auto a = probabilities(t, 0), b = probabilities(t, 1);
    CHECK(a[0] == Approx(0.5));
    CHECK(a[2] == 0.0);
    const double sum = std::exp(-3) + std::exp(-2) + std::exp(-1);
    CHECK(b[0] == Approx(std::exp(-3) / sum));
    CHECK(b[2] == Approx(std::exp(-1) / sum));
}

TEST_CASE("tap finds what was kept", "[trace]") {
    Trace t;
    CHECK(t.tap(3) == nullptr);
    t.taps = {{2, {}, {}}, {5, {}, {}}};
    CHECK(t.tap(5) == &t.taps[1]);
    CHECK(t.tap(2) == &t.taps[0]);
    CHECK(t.tap(3) == nullptr);
    CHECK(t.tap(6) == nullptr);
}
