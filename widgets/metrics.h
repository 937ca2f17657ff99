// SPDX-License-Identifier: GPL-3.0-or-later
// The metrics of a node in one place: name, unit, definition with its source, and how to read it from the
// results. Tables, plots and tooltips all take theirs from here.
#pragma once
#include <QString>
#include <optional>
#include <vector>

#include "engine/compare.h"

namespace metrics {

enum class Id {
    sqnr_cumulative,
    sqnr_isolated,
    cosine,
    mse,
    max_abs_error,
    saturation,
    range_used,
    row_sum,
    integer_ms,
    float_ms,
};

struct Metric {
    Id id;
    QString name;        // a column's header
    QString definition;  // a tooltip: what it is and where it comes from
    bool higher_is_better;
    bool logarithmic;  // for colouring
};
const std::vector<Metric>& all();
const Metric& metric(Id id);

// Value of a metric for one node; nothing where it is not known (yet) or does not apply.
// cumulative, isolated: of that node, or nullptr.
std::optional<double> value(Id id, const ivit::NodeError* cumulative, const ivit::NodeError* isolated);
QString text(Id id, double value);

// Definition of a quantity that is not per node, by its key in metrics.cpp ("kl_logits", "shiftmax.n"); empty
// for an unknown one.
QString define(const char* quantity);

}  // namespace metrics
