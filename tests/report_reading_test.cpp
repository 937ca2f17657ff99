// SPDX-License-Identifier: Apache-2.0
// Reports that are read again: refused, compared, run again.
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

TEST_CASE("what is no report is refused in a sentence", "[report]") {
    TemporaryFolder f;
    const Json r = made().report();
    const auto problem = [&](const std::string& text) {
        try {
            read_report(f.write("x.json", text));
        } catch (const Error& e) {
            return std::string(e.what());
        }
        return std::string("nothing");
    };
    CHECK_THAT(problem(""), Contains("the report is not JSON"));
    CHECK_THROWS_WITH(read_report(f.path), Contains("cannot open the report: this is a folder"));
    CHECK_THROWS_WITH(read_report(f.path / "none"), Contains("cannot open the report: No such file"));
    CHECK_THAT(problem("[]"), Contains("not a report"));
    CHECK_THAT(problem("{\"format\": 5}"), Contains("not a report"));
    CHECK_THAT(problem("{\"format\": \"ivit-evaluate\", \"version\": 1}"), Contains("not a report"));
    CHECK_THAT(problem("{\"format\": \"ivit-report\", \"version\": 2}"), Contains("version"));
    CHECK_THAT(problem("{\"format\": \"ivit-report\", \"version\": 1}"), Contains("lacks 'model'"));
    // Any value of the wrong type, any member missing, anywhere a reader looks: a sentence, never a crash.
    for (const char* pointer :
         {"/images", "/images/0/layers/3/sqnr_db", "/images/0/predictions/float/0/label",
          "/images/1/logits/agree", "/model/architecture/depth", "/images/0/file", "/options/top",
          "/calibration/summary", "/causes/blocks/0/gain_db", "/causes/nodes/0/what",
          "/causes/blocks/0/where", "/causes/nodes/0/where", "/causes/logits_sqnr_db", "/machine/device",
          "/versions/compiler", "/latency/speedup", "/training"}) {
        CAPTURE(pointer);
        Json broken = r;
        broken[Json::json_pointer(pointer)] = Json::array();
        CHECK_THAT(problem(broken.dump()), Contains("damaged"));
        broken = r;
        const Json::json_pointer at(pointer);
        broken[at.parent_pointer()].erase(at.back());
        CHECK_THAT(problem(broken.dump()), Contains("damaged") || Contains("lacks"));
    }
}

TEST_CASE("differences are named value by value", "[report]") {
    const Json a = made().report();
    CHECK(report_differences(a, a, true).empty());
    Json b = a;
    b["created"] = "another day";
    b["latency"]["speedup"] = 99;
    b["machine"]["threads"] = 64;
    b["images"][0]["file"] = "elsewhere.png";
    CHECK(report_differences(a, b, true).empty());  // of a run, not of the result
    const double kl = a["images"][1]["logits"]["kl"];
    b["images"][1]["logits"]["kl"] = std::nextafter(kl, 1.0);
    b["images"][0]["layers"][3]["mse"] = 1;
    b["config"]["residual"] = 8;
    b["images"][0]["worst"][0]["histogram"]["float"][5] = -1;
    const auto d = report_differences(a, b, true);
    REQUIRE(d.size() == 4);
    CHECK(d[0].where == "config.residual");
    CHECK(d[1].where ==
          "images[0].layers[" + a["images"][0]["layers"][3]["name"].get<std::string>() + ", cumulative].mse");
    CHECK(d[2].where == "images[0].worst[0].histogram.float[5]");
    CHECK(d[3].where == "images[1].logits.kl");
    CHECK(d[3].a == kl);
    CHECK(report_differences(a, b).size() == 3);  // what is only drawn is not asked for
    b["images"].erase(1);
    CHECK(report_differences(a, b).back().where == "images[1]");
}

TEST_CASE("two configurations differ, and both ways round", "[report]") {
    const Json a = made().report(), b = Made("W8A8").report();
    const auto d = report_differences(a, b), back = report_differences(b, a);
    CHECK(d.size() > 100);
    CHECK(d.size() == back.size());
    CHECK(d[0].where == "quant");
    CHECK(d[0].a == "W4A8");
    CHECK(back[0].a == "W8A8");
}

TEST_CASE("the commands say the configuration, in a word or in a file", "[report]") {
    Effective e = made().effective;
    auto c = reproduce_commands(e, {"a b.png"}, {"--top", "5"});
    REQUIRE(c.size() == 2);
    CHECK_THAT(c[0],
               Contains("ivit report 'a b.png' --quant W4A8 --preset refined --top 5 --backend reference"));
    CHECK(c[1] == "ivit replay report.json");
    e.config = QuantConfig::from_spec("W6A8/12");
    e.config.set_preset("paper");
    CHECK_THAT(reproduce_commands(e, {"a"}, {})[0], Contains("--quant W6A8/12 --preset paper"));
    e.config.shiftmax.n += 1;
    c = reproduce_commands(e, {"a"}, {});
    REQUIRE(c.size() == 3);
    const size_t brace = c[0].find('{'), end = c[0].rfind('}');
    CHECK(QuantConfig::from_json(Json::parse(c[0].substr(brace, end - brace + 1))) == e.config);
    CHECK_THAT(c[1], Contains("--quant ivit-config.json"));
    CHECK(shell_word("it's <b>") == "'it'\\''s <b>'");
    CHECK(shell_word("") == "''");
    CHECK(shell_word("/plain/path-1.png") == "/plain/path-1.png");
}

TEST_CASE("an evaluation of another model is not told in a report", "[report]") {
    ReportOptions o;
    o.evaluation = made().evaluation();
    (*o.evaluation)["model"]["sha256"] = "another";
    CHECK_THROWS_WITH(build_report(made().effective, made().inputs, o), Contains("of another model"));
}

TEST_CASE("a damaged evaluation is refused in a sentence", "[report]") {
    for (const char* pointer :
         {"/dataset/folder", "/images", "/float/top1", "/configurations/0/worst/0/file",
          "/configurations/0/classes/0/label", "/configurations/0/by_margin/0/from", "/model/sha256"}) {
        CAPTURE(pointer);
        ReportOptions o;
        o.evaluation = made().evaluation();
        const Json::json_pointer at(pointer);
        REQUIRE(o.evaluation->contains(at));
        (*o.evaluation)[at] = Json::array();
        CHECK_THROWS_WITH(build_report(made().effective, made().inputs, o),
                          Contains("the evaluation is damaged"));
        (*o.evaluation)[at.parent_pointer()].erase(at.back());
        CHECK_THROWS_WITH(build_report(made().effective, made().inputs, o),
                          Contains("the evaluation is damaged"));
    }
}

TEST_CASE("numbers keep three digits and no exponent where none is needed", "[report]") {
    CHECK(number(0) == "0");
    CHECK(number(12.345) == "12.3");
    CHECK(number(0.00123456) == "0.00123");
    CHECK(number(123456) == "123456");
    CHECK(number(1.5e-7) == "1.50e-07");
    CHECK(number(NAN) == "-");
    CHECK(number(99.99, 4) == "99.99");
    CHECK(number(-0.17) == "-0.170");
}
