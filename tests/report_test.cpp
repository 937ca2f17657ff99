// SPDX-License-Identifier: Apache-2.0
// What a report holds, and what its first screen says.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/error.h"
#include "engine/evaluate.h"
#include "engine/report/causes.h"
#include "engine/report/report.h"
#include "engine/report/report_parts.h"
#include "engine/safetensors.h"
#include "tests/report_made.h"
#include "tests/temporary_folder.h"

using namespace ivit;
using namespace ivit::test;
using Catch::Contains;

TEST_CASE("a report's numbers are those of the comparison, bit for bit", "[report]") {
    const Json r = made().report();
    CHECK(r["format"] == "ivit-report");
    CHECK(r["version"] == 1);
    CHECK(r["config"] == made().effective.config.to_json());
    REQUIRE(r["images"].size() == 2);
    const Comparison& c = made().inputs[1].comparison;
    const Json direct = comparison_json(c, hostile, 5);
    for (const char* field : {"file", "predictions", "logits", "layers"})
        CHECK(r["images"][1][field] == direct[field]);
    // A golden structure: what a reader of version 1 relies on, in its order.
    std::vector<std::string> keys;
    for (const auto& [key, value] : r["images"][1].items()) keys.push_back(key);
    CHECK(keys == std::vector<std::string>{"file", "predictions", "logits", "layers", "sha256",
                                           "pixels_sha256", "thumbnail", "worst", "attention"});
    CHECK(r["images"][1]["layers"].size() == 2 * c.model->graph->nodes.size());
    CHECK(r["images"][1]["pixels_sha256"] == sha256(std::as_bytes(std::span(made().inputs[1].pixels))));
}

TEST_CASE("the worst nodes are the worst, and their histograms count every value", "[report]") {
    const Json r = made().report();
    const Comparison& c = made().inputs[0].comparison;
    const Json& worst = r["images"][0]["worst"];
    REQUIRE(worst.size() == 10);
    double least = INFINITY;
    for (const NodeError& e : c.cumulative) least = std::min(least, e.sqnr_db);
    CHECK(worst[0]["sqnr_db"] == least);
    for (size_t i = 0; i < worst.size(); ++i) {
        if (i) CHECK(worst[i]["sqnr_db"].get<double>() >= worst[i - 1]["sqnr_db"].get<double>());
        const int node = c.model->graph->find(worst[i]["name"].get<std::string>());
        const Json& h = worst[i]["histogram"];
        for (const char* kind : {"float", "integer"}) {
            int64_t sum = 0;
            for (const auto& n : h[kind]) sum += n.get<int64_t>();
            CHECK(sum == static_cast<int64_t>(c.float_trace->tap(node)->floats.data.size()));
        }
        const Grid& grid = c.integer_trace->tap(node)->integers.grid;
        CHECK(h.contains("clamp") == (grid.bits < 32));
    }
}

TEST_CASE("the head that is asked for, else the worst by KL", "[report]") {
    const Json a = made().report()["images"][0]["attention"];
    double most = -1;
    for (const NodeError& e : made().inputs[0].comparison.cumulative)
        for (const double kl : e.kl_per_head) most = std::max(most, kl);
    CHECK(a["kl"] == most);
    CHECK(a["chosen"] == false);
    CHECK(a["shiftmax"].size() == 16);
    double sum = a["class_token"]["softmax"];
    for (const auto& v : a["softmax"]) sum += v.get<double>();
    CHECK(sum == Approx(1).epsilon(1e-12));
    const Json chosen = made().report("blocks.1.attn.softmax:2")["images"][0]["attention"];
    CHECK(chosen["node"] == "blocks.1.attn.softmax");
    CHECK(chosen["head"] == 2);
    CHECK(chosen["chosen"] == true);
    for (const char* wrong : {"blocks.1.attn.softmax:3", "blocks.1.attn.softmax", "blocks.1.attn.qkv:0", ":",
                              "blocks.1.attn.softmax:-1", "blocks.1.attn.softmax:99999999999"})
        CHECK_THROWS_WITH(made().report(wrong), Contains("has no head"));
}

TEST_CASE("what a change brings is what it brings when somebody makes it", "[report]") {
    const auto backend = make_backend("reference", 1);
    const Causes c = find_causes(*backend, made().inputs);
    CHECK(c.pictures == 2);
    // W4A8: the weights are narrow, the activations are not.
    std::vector<std::string> kinds;
    for (const Change& x : c.network) kinds.push_back(x.what);
    std::sort(kinds.begin(), kinds.end());
    CHECK(kinds == std::vector<std::string>{"attention logits at 16 bits", "exact GELU", "exact LayerNorm",
                                            "exact softmax", "weights at 8 bits"});
    CHECK(c.blocks.size() == 2);
    CHECK(c.nodes.size() == 12);
    const auto logits_db = [&](const QuantConfig& config) {
        const auto& in = made().inputs;
        const auto& before = *in[0].comparison.model;
        const auto network = backend->load(quantize(before.source, before.calibration, config));
        double signal = 0, noise = 0;
        for (const auto& i : in) {
            const auto t = network->run(i.pixels, 1, {});
            for (size_t k = 0; k < t->logits.size(); ++k) {
                const double f = i.comparison.float_trace->logits[k], e = f - t->logits[k];
                signal += f * f;
                noise += e * e;
            }
        }
        return 10 * std::log10(signal / noise);
    };
    QuantConfig config = made().effective.config;
    CHECK(c.logits_sqnr_db == Approx(logits_db(config)).epsilon(1e-12));
    for (const Change& x : c.network)
        if (x.what == "weights at 8 bits") CHECK(x.logits_sqnr_db == Approx(logits_db(QuantConfig())));
    // Each is one rule, as a person would write it.
    for (const auto* list : {&c.network, &c.blocks})
        for (const Change& x : *list) {
            INFO(x.where << " " << x.what);
            REQUIRE(x.rules.size() == 1);
            QuantConfig with = made().effective.config;
            with.rules.push_back(x.rules[0]);
            CHECK(x.logits_sqnr_db == Approx(logits_db(with)));
        }
    for (const Change& x : c.network)
        if (x.what == "exact GELU") CHECK(x.rules[0].glob == "*.act");
    for (const Change& x : c.blocks) {
        config.rules = {{x.where + ".*", {}, Mode::float_ops, {}, {}, {}, {}, {}}};
        CHECK(x.logits_sqnr_db == Approx(logits_db(config)));
        CHECK(x.gain_db == Approx(x.logits_sqnr_db - c.logits_sqnr_db));
    }
    for (const auto* list : {&c.network, &c.blocks, &c.nodes})
        for (size_t i = 1; i < list->size(); ++i) CHECK((*list)[i - 1].gain_db >= (*list)[i].gain_db);
    CHECK(causes_json(find_causes(*backend, made().inputs)) == causes_json(c));
    std::stop_source stop;
    stop.request_stop();
    CHECK_THROWS_AS(find_causes(*backend, made().inputs, stop.get_token()), Cancelled);
}

TEST_CASE("the first screen says whether it matters, where and why", "[report]") {
    Json r = made().report();
    auto f = findings(r);
    REQUIRE(f.size() == 5);
    CHECK_THAT(f[0].headline, Contains("of 2 pictures"));
    CHECK(f[1].headline == "Top-1 0 % instead of 100.0 %");
    CHECK_THAT(f[1].text, Contains("-100.00 points over 1 picture;"));
    CHECK(f[1].bad);
    CHECK_THAT(f[2].headline, Contains("Worst at "));
    // And the node that the window calls worst alone, where that is another one.
    const Json before = r;
    for (auto& image : r["images"]) {
        for (auto& l : image["layers"]) {
            if (l["name"] == "head" && l["scope"] == "isolated") l["sqnr_db"] = -3.04;
            if (l["name"] == "norm" && l["scope"] == "cumulative") l["sqnr_db"] = -9;
        }
    }
    CHECK(findings(r)[2].headline == "Worst at norm");
    CHECK_THAT(findings(r)[2].text, Contains(" Worst alone is head, at -3.0 dB."));
    for (auto& image : r["images"])
        for (auto& l : image["layers"])
            if (l["name"] == "head" && l["scope"] == "cumulative") l["sqnr_db"] = -20;
    CHECK(findings(r)[2].headline == "Worst at head");
    CHECK_THAT(findings(r)[2].text, !Contains("Worst alone"));
    r = before;
    CHECK_THAT(f[3].headline, Contains("4.00 times as fast"));
    const auto why = [&](const char* list, const std::string& where, const std::string& what, double gain) {
        for (const char* l : {"network", "blocks", "nodes"}) r["causes"][l] = Json::array();
        Json change = {{"what", what}, {"logits_sqnr_db", 20 + gain}, {"gain_db", gain}, {"agree", 2}};
        if (!where.empty()) change["where"] = where;
        r["causes"][list].push_back(change);
        return findings(r).back();
    };
    CHECK(why("network", "", "weights at 8 bits", 7.25).headline == "The rounding of the weights costs most");
    CHECK(why("network", "", "exact GELU", 2).headline == "ShiftGELU costs most");
    CHECK(why("nodes", "blocks.1.mlp.fc1", "in float", 3).headline == "blocks.1.mlp.fc1 costs most");
    CHECK_THAT(why("nodes", "blocks.1.mlp.fc1", "in float", 3).text, Contains("blocks.1.mlp.fc1 +3.00 dB"));
    CHECK(why("blocks", "blocks.1", "in float", 0.5).headline == "No single thing costs much");
    CHECK(why("blocks", "blocks.1", "in float", -2).headline == "No single thing costs much");
    r["latency"]["processor_share"] = 0.42;
    for (const std::string& text : {report_html(r), report_markdown(r)})
        CHECK_THAT(text, Contains("42 % of the time they wanted"));
    r.erase("causes");
    r.erase("latency");
    r.erase("evaluation");
    r["images"].erase(1);
    r["images"][0]["logits"]["agree"] = false;
    f = findings(r);
    REQUIRE(f.size() == 2);
    CHECK(f[0].headline == "The integers say something else than float");
    CHECK(f[0].bad);
    for (const std::string& text : {report_html(r), report_markdown(r)})
        CHECK_THAT(text, Contains("The integers say something else than float") &&
                             !Contains("Which layer hurts, and why"));
}
