// SPDX-License-Identifier: Apache-2.0
// A report says one thing in all its forms, and it is what compare says.
#include "engine/report/report.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "engine/error.h"
#include "engine/evaluate.h"
#include "engine/report/causes.h"
#include "engine/report/report_parts.h"
#include "engine/safetensors.h"
#include "temporary_folder.h"

using namespace ivit;
using Catch::Contains;
using test::TemporaryFolder;

namespace {

const std::string hostile = "<script>alert(1)</script>&\"'|`.png";

struct Made {
    std::shared_ptr<Model> model;
    Effective effective;
    std::vector<ReportInput> inputs;
    std::unique_ptr<IntegerNetwork> integers;

    explicit Made(const std::string& spec = "W4A8") {
        model = std::make_shared<Model>(*test::small_model());
        model->info.labels[0] = "<img src=x onerror=alert(2)>";
        model->info.sha256 = std::string(64, 'a');
        const auto ranges = calibrate(
            *model, 4, [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); },
            RangeMethod::mse, 1);
        const auto backend = make_backend("reference", 1);
        const auto q = quantize(model, ranges, QuantConfig::from_spec(spec));
        integers = backend->load(q);
        const auto floats = make_float_network(model, 1);
        effective = ivit::effective(*q, backend->info(), "no GPU here");
        for (uint32_t i = 0; i < 2; ++i) {
            ReportInput in;
            in.file = i ? hostile : "latin\xe9.png";
            in.sha256 = std::string(64, 'b');
            in.pixels = test::picture(16, i + 9);
            in.comparison = compare(*floats, *integers, in.pixels);
            inputs.push_back(std::move(in));
        }
    }
    Json report(const std::string& head = {}) const {
        ReportOptions o;
        o.head = head;
        BenchResult latency;
        latency.floats = {2, 2.2, 1.9, 20};
        latency.integers = {0.5, 0.6, 0.4, 20};
        latency.speedup = 4;
        latency.processor_share = 0.99;
        latency.layers = {{0, 2, 0.1, 0.2, 5}};
        o.latency = latency;
        o.evaluation = evaluation();
        const auto backend = make_backend("reference", 1);
        o.causes = causes_json(find_causes(*backend, inputs));
        o.commands = reproduce_commands(effective, {inputs[0].file, hostile}, {"--runs", "3"});
        return build_report(effective, inputs, o);
    }
    Json evaluation() const {
        Json doc = document("evaluate", effective);
        doc["dataset"] = {{"folder", "pictures"}, {"layout", "class folders"}, {"pictures", 1}};
        doc["configurations"] =
            Json::array({{{"quant", "W4A8"}, {"preset", "refined"}, {"config", effective.config.to_json()}}});
        Evaluation e(doc, model->info.labels);
        PictureRecord r;
        r.index = 0;
        r.file = hostile;
        r.label = 0;
        r.top = {0, 1};
        r.margin = 0.5;
        r.signal = 1;
        r.configurations = {{{1, 0}, 0.25, 0.125, 0.01}};
        e.add(r);
        return e.document();
    }
};

const Made& made() {
    static const Made m;
    return m;
}

std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
    std::vector<std::vector<std::string>> rows(1);
    std::string cell;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c != '"')
                cell += c;
            else if (i + 1 < text.size() && text[i + 1] == '"')
                cell += text[++i];
            else
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == ',' || c == '\n') {
            rows.back().push_back(std::move(cell));
            cell.clear();
            if (c == '\n') rows.emplace_back();
        } else if (c != '\r') {
            cell += c;
        }
    }
    rows.pop_back();
    return rows;
}

size_t count(const std::string& text, const std::string& what) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
    return n;
}

}  // namespace

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
    CHECK_THAT(why("nodes", "blocks.1.mlp.fc1", "in float", 3).text, Contains("blocks.1.mlp.fc1 +3.0 dB"));
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

TEST_CASE("numbers stand under each other by their decimal points", "[report]") {
    TextTable t{{"node", "dB", "op", "n"},
                {{"a", "8.38", "gelu", "1"},
                 {"b", "12.5", "x.25", "-"},
                 {"c", "150", "-", "2"},
                 {"d", "-", "y", "30"}}};
    align_decimals(t);
    CHECK(t.rows[0][1] == "8.38");
    CHECK(t.rows[1][1] == "12.5\u2007");
    CHECK(t.rows[2][1] == "150\u2008\u2007\u2007");
    CHECK(t.rows[3][1] == "-");
    CHECK(t.rows[1][2] == "x.25");
    CHECK(t.rows[0][3] == "1");
}

TEST_CASE("CSV is one row per picture and node, read back exactly", "[report]") {
    const Json r = made().report();
    const auto rows = parse_csv(report_csv(r));
    const size_t nodes = made().model->graph->nodes.size();
    REQUIRE(rows.size() == 1 + 2 * nodes);
    std::map<std::string, size_t> column;
    for (size_t i = 0; i < rows[0].size(); ++i) column[rows[0][i]] = i;
    for (size_t i = 1; i < rows.size(); ++i) {
        REQUIRE(rows[i].size() == rows[0].size());
        const Json& image = r["images"][(i - 1) / nodes];
        CHECK(rows[i][column["file"]] == image["file"]);
        const Json& cumulative = image["layers"][(i - 1) % nodes];
        const Json& isolated = image["layers"][nodes + (i - 1) % nodes];
        CHECK(rows[i][column["node"]] == cumulative["name"]);
        CHECK(isolated["name"] == cumulative["name"]);
        for (const char* c : {"sqnr_db", "mse", "saturation", "range_used"}) {
            CHECK(std::stod(rows[i][column[std::string("cumulative_") + c]]) == cumulative[c].get<double>());
            CHECK(std::stod(rows[i][column[std::string("isolated_") + c]]) == isolated[c].get<double>());
        }
    }
}

TEST_CASE("a name that looks like a formula stays text in a spreadsheet", "[report]") {
    Json r = made().report();
    r["images"][0]["file"] = "=1+1,\"x\"\n.png";
    CHECK(parse_csv(report_csv(r))[1][0] == "'=1+1,\"x\"\n.png");
}

TEST_CASE("the same numbers in HTML, Markdown and JSON", "[report]") {
    const Json r = made().report();
    const std::string html = report_html(r), md = report_markdown(r);
    for (const auto& image : r["images"]) {
        for (const LayerRow& row : layer_rows(image)) {
            CHECK_THAT(html, Contains(fmt::format("<td>{}</td><td>{}</td><td class='l'>{}</td><td>{}</td><td "
                                                  "data-v='{}'>{}",
                                                  row.name, row.place, row.op, row.bits, row.cumulative_db,
                                                  number(row.cumulative_db))));
            CHECK_THAT(html,
                       Contains(fmt::format("<td data-v='{}'>{}", row.isolated_db, number(row.isolated_db))));
            std::string name;
            for (const char c : row.name) name += c == '_' ? std::string("\\_") : std::string(1, c);
            CHECK_THAT(md, Contains("| " + name + " | " + std::to_string(row.place) + " |"));
        }
        const std::string kl = "KL " + number(image["logits"]["kl"].get<double>()) + " nats";
        CHECK_THAT(html, Contains(kl));
        CHECK_THAT(md, Contains(kl));
    }
    for (const std::string part : {"Effective configuration", "Reproduce", "Latency", "Evaluation",
                                   "Calibration", "SHA-256", "Machine", "Which layer hurts, and why",
                                   "ten worst nodes", "Shiftmax against softmax", "no GPU here"}) {
        CAPTURE(part);
        CHECK_THAT(html, Contains(part));
        CHECK_THAT(md, Contains(part));
    }
    CHECK_THAT(html, Contains("4.00 times as fast at batch 1; end to end"));
}

TEST_CASE("HTML asks nobody for anything and names are only text", "[report]") {
    const std::string html = report_html(made().report());
    CHECK(count(html, "<script>") == 1);  // the sorting
    CHECK(count(html, "<img") == 0);
    CHECK(count(html, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;|`.png") >= 2);
    for (const char* request : {"http:", "https:", "//cdn", "url(", "@import", "<link", "<iframe", "src="}) {
        CAPTURE(request);
        // The label with "src=" in it is text, its '<' escaped.
        CHECK(count(html, request) == (std::string(request) == "src=" ? count(html, "&lt;img src=") : 0));
    }
    for (size_t at = 0; (at = html.find("href='", at)) != std::string::npos; ++at)
        CHECK((html[at + 6] == '#' || html.compare(at + 6, 15, "data:image/png;") == 0));
    CHECK_THAT(html, Contains("prefers-color-scheme:dark") && Contains("@media print") &&
                         Contains("width=device-width"));
}

TEST_CASE("Markdown and PDF take any name too", "[report]") {
    const Json r = made().report();
    const std::string md = report_markdown(r);
    CHECK_THAT(md, Contains("## &lt;script\\>alert\\(1\\)&lt;/script\\>&amp;\"'\\|\\`.png"));
    CHECK(count(md, "<img") == 0);
    const std::string pdf = report_pdf(r);
    CHECK(pdf.starts_with("%PDF-"));
    CHECK_THAT(pdf, Contains("%%EOF"));
    CHECK(count(pdf, "/Type /Page\n") + count(pdf, "/Type /Page ") >= 3);
    Json longest = r;
    longest["images"][0]["file"] = std::string(3000, 'W');
    longest["images"][1]["file"] = "";
    CHECK(report_pdf(longest).starts_with("%PDF-"));
}

TEST_CASE("file names that are no UTF-8 do not break any form", "[report]") {
    const Json r = made().report();
    CHECK(r["images"][0]["file"] == "latin\xef\xbf\xbd.png");
    CHECK_NOTHROW(r.dump());
    CHECK_THAT(report_html(r), Contains("latin\xef\xbf\xbd.png"));
}

TEST_CASE("written by the ending, read back, and never half", "[report]") {
    TemporaryFolder f;
    const Json r = made().report();
    for (const char* name : {"r.html", "r.PDF", "r.json", "r.csv", "r.md", "r.htm"}) {
        write_report(r, f.path / name);
        CHECK(std::filesystem::file_size(f.path / name) > 1000);
    }
    CHECK(read_report(f.path / "r.json") == r);
    CHECK_THROWS_WITH(write_report(r, f.path / "r.doc"),
                      Contains("cannot tell the kind of report from '.doc'"));
    CHECK_THROWS_WITH(write_report(r, f.path / "none" / "r.md"), Contains("cannot write"));
    CHECK_THROWS_WITH(write_report(r, "/dev/full/r.md"), Contains("cannot write"));
    size_t files = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(f.path)) ++files;
    CHECK(files == 6);
}

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
          "/calibration/summary", "/causes/blocks/0/gain_db", "/causes/nodes/0/what", "/machine/device",
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
