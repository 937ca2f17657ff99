// SPDX-License-Identifier: Apache-2.0
// The same report as HTML, PDF, Markdown and CSV, and as a file.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <map>

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

namespace {

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
        const bool clamps = cumulative["bits"] < 32;
        for (const char* c : {"saturation", "range_used"})
            for (const char* scope : {"cumulative_", "isolated_"})
                CHECK(rows[i][column[std::string(scope) + c]].empty() == !clamps);
        for (const std::string c : {"sqnr_db", "mse", "saturation", "range_used"}) {
            if (!clamps && (c == "saturation" || c == "range_used")) continue;
            CHECK(std::stod(rows[i][column["cumulative_" + c]]) == cumulative[c].get<double>());
            CHECK(std::stod(rows[i][column["isolated_" + c]]) == isolated[c].get<double>());
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
