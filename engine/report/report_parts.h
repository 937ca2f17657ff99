// SPDX-License-Identifier: Apache-2.0
// What the renderings of a report have in common: facts, rows and sentences, from its JSON.
#pragma once
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "engine/describe.h"

namespace ivit {

// Three significant digits (or `digits`), never an exponent between 1e-3 and 1e6.
std::string number(double v, int digits = 3);

// A ratio in dB to one decimal, as `ivit compare` and the window show it; "-" where there is none.
std::string decibels(double db);

// A long name with its middle left out, for where it stands beside other things: 48 bytes at most.
std::string short_name(const std::string& s);

// A number of the report; NaN for null, which is how JSON says it.
double real(const Json& j);

// Configuration, model and hash, calibration, machine, versions: in reading order.
std::vector<std::pair<std::string, std::string>> report_facts(const Json& report);
// The effective configuration in full: "shiftmax" -> "n 15, k 16, M 47, t 4"; a row for every rule.
std::vector<std::pair<std::string, std::string>> config_rows(const Json& report);

// "Both networks say cat. Logits SQNR 34.9 dB, KL 1.2e-4 nats, margin 0.91 float, 0.9 integer."
std::string verdict(const Json& image);
// What disturbed the measurement, in words; empty where nothing did.
std::string latency_disturbance(const Json& latency);
std::string latency_sentence(const Json& latency);
// "cat at 92.5 % in float, 88.2 % in integers".
std::string certainty(const Json& image);
// What a reader wants first: does it matter, where is the error, and why? A sentence or two each; a headline
// in front. Only what the report has numbers for.
struct Finding {
    std::string headline, text;
    bool bad = false;  // to be alarmed at
    bool why = false;  // about the causes
};
std::vector<Finding> findings(const Json& report);
std::string why(const Json& report);  // the one about the causes in a line; empty without any
// "vit_tiny_cifar10, W4A8, refined operators": a title; and the rest of the configuration in one line.
std::string report_title(const Json& report);
std::string report_subtitle(const Json& report);
// How much of a node's error is its own: 10^((cumulative - isolated) / 10), as text. The signal is the same
// in both, so it is the ratio of the two noises; empty where there is none.
std::string own_share(double cumulative_db, double isolated_db);
// Of a node by name: "Alone 21.2 dB: 5 % of this error is its own".
std::string own_sentence(const Json& image, const std::string& node);
// How the bars below it were measured.
std::string causes_sentence(const Json& report);
// Which nodes saturate most and use least of their range.
std::string health(const Json& image);
// "clamps at -1.2 and 1.19" or that nothing clamps.
std::string clamp_sentence(const Json& histogram);
// The greatest attention of both maps, and the greatest difference between them.
std::pair<double, double> attention_range(const Json& attention);
// The colour of one patch, 0..1 each, laid over the picture with `alpha`. t: -1..1 of the scale. Sequential:
// dark blue to yellow. Diverging: blue below, orange above, and the more the difference the less the picture
// shows.
struct MapColour {
    double r, g, b, alpha;
};
MapColour map_colour(double t, bool diverging);
// What made the integers' map: "Shiftmax", or what the configuration has in its place.
std::string attention_operator(const Json& attention);
std::string attention_title(const Json& attention);
// most, worst: what the colours of the maps and of the difference end at.
std::string attention_sentence(const Json& attention, double most, double worst);

struct LayerRow {
    int place = 0;  // in execution order, from 0
    std::string name, op;
    int bits = 0;
    double cumulative_db = 0, isolated_db = 0, cosine = 0, mse = 0, max_abs_error = 0, saturation = 0,
           range_used = 0;
};
std::vector<LayerRow> layer_rows(const Json& image);            // in execution order, both scopes in one row
std::vector<LayerRow> worst_first(std::vector<LayerRow> rows);  // by cumulative SQNR
// Where the axis of a plot of their SQNRs ends, in dB: the multiple of 10 that none of them passes, 10 at
// least. What is exact (sqnr_cap) lies beyond it.
double sqnr_axis_end(const std::vector<LayerRow>& rows);
// Where each block begins: place in execution order and the block's number.
std::vector<std::pair<size_t, std::string>> block_marks(const std::vector<LayerRow>& rows);

// The changes of a report's "causes" (causes.h): "network", "blocks" or "nodes", those that gain, at most
// `most`. Empty without any.
struct CauseBar {
    std::string name;
    double gain_db = 0;
};
std::vector<CauseBar> cause_bars(const Json& report, const char* list, size_t most);

// The three lists of cause_bars, at most five each, as the pages show them, and the greatest gain of all.
struct CauseLists {
    struct List {
        const char* title;
        std::vector<CauseBar> bars;
    };
    std::vector<List> lists;
    double most_db = 0;
};
CauseLists cause_lists(const Json& report);

// Rows of text, "-" where there is no value, with their heads.
struct TextTable {
    std::vector<std::string> head;
    std::vector<std::vector<std::string>> rows;
};
// Numbers of a column under each other by their decimal points, by spaces as wide as digits behind them.
void align_decimals(TextTable& t);
TextTable node_table(const Json& image);             // every node, worst first, in both scopes
TextTable latency_table(const Json& latency);        // step by step; no rows when it was not measured
TextTable evaluation_table(const Json& evaluation);  // float first, then each configuration
TextTable margin_table(const Json& evaluation, size_t configuration);  // how many flip, by their margin
TextTable class_table(const Json& evaluation, size_t configuration);
TextTable worst_table(const Json& evaluation, size_t configuration, size_t most);
std::string evaluation_sentence(const Json& evaluation);  // of which pictures
std::string evaluation_coverage(const Json& evaluation);  // "(layout), 3 skipped" and what else was missing

// Walks all of the above and throws Json::exception where something is missing or of another type.
void check_parts(const Json& report);
void check_evaluation(const Json& evaluation);

}  // namespace ivit
