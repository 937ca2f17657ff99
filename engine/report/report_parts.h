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

// Configuration, model and hash, calibration, machine, versions: in reading order.
std::vector<std::pair<std::string, std::string>> report_facts(const Json& report);

// "Both networks say cat. Logits SQNR 34.9 dB, KL 1.2e-4 nats, margin 0.91 float, 0.9 integer."
std::string verdict(const Json& image);
std::string latency_sentence(const Json& latency);

struct LayerRow {
    std::string name, op;
    int bits = 0;
    double cumulative_db = 0, isolated_db = 0, cosine = 0, mse = 0, max_abs_error = 0, saturation = 0,
           range_used = 0;
};
std::vector<LayerRow> layer_rows(const Json& image);  // in execution order, both scopes in one row

// Float first, then each configuration: name, top-1, top-5, agreement, mean KL, as text ("-" where there is
// none).
std::vector<std::array<std::string, 5>> evaluation_rows(const Json& evaluation);

}  // namespace ivit
