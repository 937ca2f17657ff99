// SPDX-License-Identifier: Apache-2.0
// A report is one JSON document (format "ivit-report", version 1); every
// other form is a rendering of it, so the numbers are the same in all of them.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/bench.h"
#include "engine/describe.h"
#include "engine/image.h"

namespace ivit {

// One picture of a report.
struct ReportInput {
    std::string file;    // as given
    std::string sha256;  // of the file's bytes
    Pixels pixels;       // as the networks took it
    Comparison comparison;
};

struct ReportOptions {
    int top = 5;
    std::string head;  // "blocks.3.attn.softmax:2"; empty: the head with the greatest KL of each picture
    std::optional<BenchResult> latency;
    int batch = 1;
    std::optional<Json> evaluation;     // an "ivit-evaluate" document
    std::optional<Json> causes;         // causes_json(), causes.h
    std::vector<std::string> commands;  // that reproduce the report
    Json skipped;  // pictures that were asked for and cannot be read: [{"file", "error"}]
};

// Everything the report says; assets/report.schema.json describes it. Histograms: 64 bins over both networks'
// values of the node. Attention: the class token's row of one head, Shiftmax and softmax of the same integer
// logits, one value a patch. Text is valid UTF-8 whatever the file names were. Throws Error for a head the
// model does not have, and for an evaluation of another model.
Json build_report(const Effective& e, const std::vector<ReportInput>& inputs, const ReportOptions& options);

std::string report_html(const Json& report);  // one file, no request to anywhere
std::string report_markdown(const Json& report);
std::string report_csv(const Json& report);  // RFC 4180: a header line, then one row per picture and node
std::string report_pdf(const Json& report);  // the bytes of a vector PDF, A4, numbered pages

// Throws Error when the extension is none of those below: before the work, not after it.
void check_report_name(const std::filesystem::path& file);
// By the file's extension: html, pdf, json, csv, md. Written whole or not at all. Throws Error.
void write_report(const Json& report, const std::filesystem::path& file);

// Reads a report; throws Error for another kind of document or version, and for one that lacks what the
// functions here need.
Json read_report(const std::filesystem::path& file);

// The commands that make this report again: a configuration that has no short name becomes a file first.
// `more`: options to add, each a word.
std::vector<std::string> reproduce_commands(const Effective& e, const std::vector<std::string>& pictures,
                                            const std::vector<std::string>& more);
std::string shell_word(const std::string& s);  // quoted where a shell would take it apart

// A value that differs between two reports: its place ("images[0].layers[blocks.3.attn.qkv,
// cumulative].sqnr_db").
struct Difference {
    std::string where;
    Json a, b;
};
// All values of configuration, model, pictures, predictions, logits and layers that differ; with `drawn` also
// the histograms and the attention maps. Latency, machine, dates and file places are not compared: they are
// of a run, not of the result.
std::vector<Difference> report_differences(const Json& a, const Json& b, bool drawn = false);

}  // namespace ivit
