// SPDX-License-Identifier: Apache-2.0
#include "engine/calibration.h"

#include <cmath>
#include <limits>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/histogram.h"
#include "tests/small_model.h"

using namespace ivit;

namespace {

std::vector<float> gaussian(size_t n, float sigma, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<float> x(n);
    for (float& v : x) {  // a sum of uniforms: the same numbers with every standard library
        float sum = 0;
        for (int i = 0; i < 12; ++i) sum += static_cast<float>(random()) / 4294967296.0f;
        v = sigma * (sum - 6);
    }
    return x;
}

MagnitudeHistogram histogram_of(const std::vector<float>& x) {
    MagnitudeHistogram h;
    REQUIRE(h.add(x.data(), 1, static_cast<int64_t>(x.size()), static_cast<int64_t>(x.size())));
    return h;
}

// The mean squared error of x on a symmetric grid with this clip, by the definition.
double grid_error(const std::vector<float>& x, double clip, int bits) {
    const double top = (1 << (bits - 1)) - 1, step = clip / top;
    double sum = 0;
    for (const float v : x) {
        const double q = std::min(std::floor(std::fabs(v) / step + 0.5), top) * step;
        sum += (std::fabs(v) - q) * (std::fabs(v) - q);
    }
    return sum / static_cast<double>(x.size());
}

SiteRange some_range(double scale) {
    SiteRange r{scale, 0.9 * scale, std::vector<double>(17)};
    for (size_t b = 4; b < 17; ++b) r.mse[b] = scale * static_cast<double>(b) / 16;
    return r;
}

Calibration some_calibration() {
    Calibration c;
    c.method = RangeMethod::percentile;
    c.pictures = 7;
    c.source = "7 pictures of somewhere";
    c.sites["input"] = {some_range(2.1)};
    c.sites["blocks.0.attn.qkv"] = {some_range(0.1), some_range(1.0 / 3), some_range(7e-12)};
    return c;
}

std::string error_of(const nlohmann::json& j) {
    try {
        Calibration::from_json(j);
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("histogram: greatest value and percentile") {
    std::vector<float> x(10000);
    for (size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(i + 1) / 10000.0f * (i % 2 ? -3.0f : 3.0f);
    const MagnitudeHistogram h = histogram_of(x);
    CHECK(h.greatest() == 3.0);
    CHECK(h.percentile(0.5) == Approx(1.5).margin(4.0 / 4096));
    CHECK(h.percentile(0.9999) == Approx(2.9997).margin(4.0 / 4096));
    CHECK(h.percentile(1.0) == 3.0);
}

TEST_CASE("histogram: the order of the values does not matter") {
    auto x = gaussian(5000, 1.0f, 3);
    x[17] = 1e-30f;
    x[18] = 40.0f;
    MagnitudeHistogram one, other;
    for (size_t i = 0; i < x.size(); ++i) REQUIRE(one.add(&x[i], 1, 1, 1));
    REQUIRE(other.add(&x[2500], 1, 2500, 2500));
    REQUIRE(other.add(x.data(), 25, 100, 100));
    CHECK(one.greatest() == other.greatest());
    for (double share : {0.1, 0.5, 0.99, 0.9999}) CHECK(one.percentile(share) == other.percentile(share));
    for (int bits : {4, 8, 11}) CHECK(one.mse_clip(bits) == other.mse_clip(bits));
}

TEST_CASE("histogram: columns of a wider matrix") {
    const std::vector<float> x{1, 2, 100, 3, 4, 200};
    MagnitudeHistogram left, right;
    REQUIRE(left.add(x.data(), 2, 2, 3));
    REQUIRE(right.add(x.data() + 2, 2, 1, 3));
    CHECK(left.greatest() == 4.0);
    CHECK(right.greatest() == 200.0);
    CHECK(left.percentile(0.5) == Approx(2.0).margin(0.01));
}

TEST_CASE("histogram: the least-squares clip is the least") {
    for (const float outlier : {0.0f, 30.0f}) {
        auto x = gaussian(40000, 1.0f, 11);
        x[5] = outlier;
        const MagnitudeHistogram h = histogram_of(x);
        for (int bits = 4; bits <= 11; ++bits) {
            INFO("outlier " << outlier << ", " << bits << " bits");
            const double clip = h.mse_clip(bits);
            double least = grid_error(x, h.greatest(), bits);
            for (int i = 1; i < 200; ++i)
                least = std::min(least, grid_error(x, h.greatest() * i / 200, bits));
            CHECK(grid_error(x, clip, bits) <= 1.03 * least);
        }
        // Few bits clip the tail, many do not.
        CHECK(h.mse_clip(4) < 0.8 * h.greatest());
        CHECK(h.mse_clip(16) > 0.99 * h.greatest());
    }
}

TEST_CASE("histogram: zeros, tiny, huge and non-finite values") {
    const std::vector<float> zeros(100);
    MagnitudeHistogram h = histogram_of(zeros);
    CHECK(h.greatest() == 0.0);
    CHECK(h.percentile(0.9999) == 0.0);
    CHECK(h.mse_clip(8) == 0.0);
    const std::vector<float> tiny(100, 1e-38f);
    CHECK(histogram_of(tiny).mse_clip(8) > 0);
    const std::vector<float> huge{3e38f, -3e38f};
    CHECK(histogram_of(huge).greatest() == 3e38f);
    for (const float bad :
         {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::quiet_NaN()}) {
        const std::vector<float> x{1, bad, 2};
        CHECK_FALSE(h.add(x.data(), 1, 3, 3));
    }
    CHECK(h.greatest() == 0.0);  // nothing of them was counted
}

TEST_CASE("calibration: clips") {
    Calibration c = some_calibration();
    CHECK(c.clip("input", 0, 8) == 0.9 * 2.1);
    c.method = RangeMethod::minmax;
    CHECK(c.clip("blocks.0.attn.qkv", 1, 8) == 1.0 / 3);
    c.method = RangeMethod::mse;
    CHECK(c.clip("input", 0, 8) == 2.1 * 8 / 16);
    CHECK(c.clip("input", 0, 4) == 2.1 * 4 / 16);
    for (RangeMethod m : {RangeMethod::minmax, RangeMethod::percentile, RangeMethod::mse}) {
        CHECK(some_range(5).clip(m, 16) == 5.0);  // wide grids keep their tails
        CHECK(SiteRange{}.clip(m, 8) == 1.0);     // never fired
        CHECK(some_range(1e-30).clip(m, 8) == 1.0);
        CHECK(some_range(1e-30).clip(m, 16) == 1.0);
    }
    CHECK_THROWS_AS(c.clip("nowhere", 0, 8), Error);
    CHECK_THROWS_AS(c.clip("input", 1, 8), Error);
    CHECK(c.summary() == "mse ranges from 7 pictures of somewhere");
    CHECK_THROWS_AS(range_method("max"), Error);
    CHECK(range_method("minmax") == RangeMethod::minmax);
}

TEST_CASE("calibration: JSON round trip, and broken files refused") {
    const Calibration c = some_calibration();
    const auto j = nlohmann::json::parse(c.to_json().dump());
    const Calibration back = Calibration::from_json(j);
    CHECK(back.method == c.method);
    CHECK(back.pictures == 7);
    CHECK(back.source == c.source);
    CHECK_FALSE(back.from_input);
    REQUIRE(back.sites.size() == 2);
    for (const auto& [name, groups] : c.sites) {
        REQUIRE(back.sites.at(name).size() == groups.size());
        for (size_t k = 0; k < groups.size(); ++k) {
            CHECK(back.sites.at(name)[k].minmax == groups[k].minmax);
            CHECK(back.sites.at(name)[k].percentile == groups[k].percentile);
            CHECK(back.sites.at(name)[k].mse == groups[k].mse);
        }
    }

    CHECK(error_of(nlohmann::json::array()).find("is not a calibration") != std::string::npos);
    CHECK(error_of({{"format", 3}}).find("is not a calibration") != std::string::npos);
    const auto broken = [&](const std::string& pointer, const nlohmann::json& value) {
        nlohmann::json copy = j;
        copy[nlohmann::json::json_pointer(pointer)] = value;
        return error_of(copy);
    };
    CHECK(broken("/version", 2) == "calibration: has version 2, this program reads version 1");
    CHECK(broken("/method", "max") != "no error");
    CHECK(broken("/method", 3) != "no error");
    CHECK(broken("/pictures", 0) != "no error");
    CHECK(broken("/pictures", "many") != "no error");
    CHECK(broken("/source", nullptr) != "no error");
    CHECK(broken("/from_input", 1) != "no error");
    CHECK(broken("/sites", 1) != "no error");
    CHECK(broken("/sites/input", 1) != "no error");
    CHECK(broken("/sites/input", nlohmann::json::array()) != "no error");
    CHECK(broken("/sites/input/0", 1) != "no error");
    CHECK(broken("/sites/input/0/minmax", -1) ==
          "calibration: a range of site input is not a number from 0 to 1e30");
    CHECK(broken("/sites/input/0/minmax", "1") != "no error");
    CHECK(broken("/sites/input/0/mse", {1, 2, 3}) ==
          "calibration: mse of site input is not a list of 13 ranges");
    CHECK(broken("/sites/input/0/mse/3", 1e300) != "no error");
    for (const char* name : {"version", "method", "pictures", "source", "from_input", "sites"}) {
        nlohmann::json copy = j;
        copy.erase(name);
        INFO(name);
        CHECK(error_of(copy) != "no error");
    }
}

TEST_CASE("calibration: ranges are those of the float network's outputs") {
    const auto model = test::small_model();
    const Graph& g = *model->graph;
    const auto picture = [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); };
    const Calibration c = calibrate(*model, 20, picture, RangeMethod::mse, 2);
    CHECK(c.pictures == 20);
    CHECK(c.method == RangeMethod::mse);
    CHECK_FALSE(c.from_input);

    // The greatest magnitudes by the definition, one picture at a time.
    RunOptions all;
    all.taps.assign(g.nodes.size(), true);
    const auto network = make_float_network(model, 1);
    std::map<std::string, std::vector<double>> greatest;
    for (int64_t i = 0; i < 20; ++i) {
        const auto trace = network->run(picture(i), 1, all);
        for (const Tap& tap : trace->taps) {
            const Node& n = g.nodes[static_cast<size_t>(tap.node)];
            auto& of = greatest[n.name];
            of.resize(static_cast<size_t>(n.groups));
            for (size_t e = 0; e < tap.floats.data.size(); ++e) {
                const auto column = static_cast<int64_t>(e) % n.cols();
                double& best = of[static_cast<size_t>(column * n.groups / n.cols())];
                best = std::max(best, std::fabs(static_cast<double>(tap.floats.data[e])));
            }
        }
    }
    size_t sites = 0;
    for (const Node& n : g.nodes) {
        const bool without =
            n.op == Op::patch_embed || n.op == Op::softmax || n.op == Op::head || n.to_residual;
        INFO(n.name);
        REQUIRE(c.sites.count(n.name) == (without ? 0 : 1));
        if (without) continue;
        ++sites;
        REQUIRE(c.sites.at(n.name).size() == static_cast<size_t>(n.groups));
        for (int k = 0; k < n.groups; ++k) {
            const SiteRange& r = c.sites.at(n.name)[static_cast<size_t>(k)];
            // Not to the last bit: the float network cuts its sums by its threads.
            CHECK(r.minmax == Approx(greatest[n.name][static_cast<size_t>(k)]).epsilon(1e-5));
            CHECK(r.percentile <= r.minmax);
            CHECK(r.percentile > 0.3 * r.minmax);
            CHECK(r.mse[4] < r.minmax);
            CHECK(r.mse[4] <= r.mse[8]);
        }
    }
    CHECK(sites == c.sites.size());

    CHECK(calibrate(*model, 20, picture, RangeMethod::mse, 2).to_json() == c.to_json());
    const auto floats = make_float_network(model, 2);  // lent
    CHECK(calibrate(*model, 20, picture, RangeMethod::mse, 2, {}, floats.get()).to_json() == c.to_json());
}

TEST_CASE("calibration: progress, cancelling and bad pictures") {
    const auto model = test::small_model();
    const auto picture = [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); };
    std::vector<int64_t> seen;
    calibrate(*model, 5, picture, RangeMethod::mse, 1, [&](int64_t done, int64_t total) {
        CHECK(total == 5);
        seen.push_back(done);
        return true;
    });
    CHECK(seen == std::vector<int64_t>{1, 2, 3, 4, 5});
    CHECK_THROWS_AS(
        calibrate(*model, 5, picture, RangeMethod::mse, 1, [](int64_t done, int64_t) { return done < 3; }),
        Cancelled);
    CHECK_THROWS_AS(calibrate(*model, 0, picture, RangeMethod::mse, 1), Error);
    CHECK_THROWS_WITH(calibrate(
                          *model, 1, [](int64_t) { return Pixels(7); }, RangeMethod::mse, 1),
                      "calibration picture 1 has 7 bytes, the model takes 768");
    // Pictures that could not be read are left out, whole batches of them too.
    std::vector<int64_t> told;
    const auto every_third = [&](int64_t i) { return i % 3 == 1 ? picture(i / 3) : Pixels(); };
    Calibration some = calibrate(*model, 60, every_third, RangeMethod::mse, 1, [&](int64_t done, int64_t) {
        told.push_back(done);
        return true;
    });
    CHECK(told.size() == 60);
    CHECK(told.back() == 60);
    CHECK(some.pictures == 20);
    CHECK(some.source == "20 pictures");
    CHECK(some.to_json() == calibrate(*model, 20, picture, RangeMethod::mse, 1).to_json());
    const auto late = [&](int64_t i) { return i == 39 ? picture(0) : Pixels(); };
    CHECK(calibrate(*model, 40, late, RangeMethod::mse, 1).source == "1 picture");
    CHECK_THROWS_WITH(calibrate(
                          *model, 40, [](int64_t) { return Pixels(); }, RangeMethod::mse, 1),
                      "none of the calibration's pictures can be read");
    auto broken = std::make_shared<Model>(*model);
    auto w = std::make_shared<FloatTensor>(model->weight("blocks.0.norm1.bias"));
    w->data[3] = std::numeric_limits<float>::infinity();
    broken->weights["blocks.0.norm1.bias"] = w;
    CHECK_THROWS_WITH(calibrate(*broken, 1, picture, RangeMethod::mse, 1), Catch::Contains("blocks.0.norm1"));
}

TEST_CASE("calibration: augmentations of one picture") {
    const Pixels p = test::picture(24, 5);
    const auto all = augmentations(p, 24);
    REQUIRE(all.size() == 8);
    CHECK(all[0] == p);
    for (size_t i = 0; i < all.size(); ++i) {
        CHECK(all[i].size() == p.size());
        for (size_t j = 0; j < i; ++j) CHECK(all[i] != all[j]);
    }
    for (int x = 0; x < 24; ++x)
        CHECK(all[1][static_cast<size_t>(x * 3)] == p[static_cast<size_t>((23 - x) * 3)]);
    CHECK(augmentations(Pixels{1, 2, 3}, 1).size() == 8);
}
