// SPDX-License-Identifier: GPL-3.0-or-later
// What the views are given. Values and shared pointers to const only: a view can keep them as long as it
// likes.
#pragma once
#include <QImage>
#include <QString>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/processor_time.h"
#include "engine/session.h"

// A result and what to hold it against.
struct Shown {
    std::shared_ptr<const ivit::Result> current;  // null: nothing has been run
    // The pinned, else the previous configuration on the same picture; or null.
    std::shared_ptr<const ivit::Result> ghost;
    bool ghost_pinned = false;
    bool model_open = false;
    QImage picture;  // the part of the picture that the network saw, as sharp as the file has it

    // What an empty view asks for: "Open or drop a picture " + `purpose`, or a model first.
    QString invitation(const QString& purpose) const {
        return (model_open ? QStringLiteral("Open or drop a picture ")
                           : QStringLiteral("Open a model (Ctrl+M), then a picture, ")) +
               purpose;
    }

    const ivit::Comparison* comparison() const { return current ? &current->comparison : nullptr; }
    const ivit::Comparison* ghost_comparison() const { return ghost ? &ghost->comparison : nullptr; }
    const ivit::Graph* graph() const {
        return current && current->comparison.integer_trace ? current->comparison.integer_trace->graph.get()
                                                            : nullptr;
    }
    // Error of a node, or nullptr.
    static const ivit::NodeError* cumulative(const ivit::Comparison* c, int node) {
        return c && node >= 0 && static_cast<size_t>(node) < c->cumulative.size()
                   ? &c->cumulative[static_cast<size_t>(node)]
                   : nullptr;
    }
    static const ivit::NodeError* isolated(const ivit::Comparison* c, int node) {
        return c && node >= 0 && static_cast<size_t>(node) < c->isolated.size()
                   ? &c->isolated[static_cast<size_t>(node)]
                   : nullptr;
    }
};

// Runs timed in the background, all on the same picture, networks and threads.
struct LatencySamples {
    ivit::BackendInfo backend;
    std::string gpu_absent, config, error;
    int batch = 1;
    bool float_is_absent = false;
    std::vector<double> integer_ms, float_ms;  // whole runs, in the order taken
    // Per node of the graph, medians over the timed runs; empty until there is one.
    std::vector<double> integer_node_ms, float_node_ms;

    // Of the threads, one a pair of runs (what a turn of several pairs had, split evenly); empty where the
    // system does not tell.
    std::vector<ivit::ProcessorTime> processor;

    // The share of the cores the threads had of what they wanted while the runs were taken.
    std::optional<double> processor_share() const;
    // The runs scatter, or the threads had to share the cores: medians say little.
    bool unsettled() const;
    // What disturbed them, in words without a full stop; empty unless unsettled().
    QString disturbance() const;
    // One figure for runs: their median; the fastest while unsettled(), since what disturbs a run only ever
    // makes it longer. NaN when empty.
    double typical(const std::vector<double>& ms) const { return quantile(ms, unsettled() ? 0 : 0.5); }
    double ratio() const;  // float over integer, both typical. NaN without both.
    static double quantile(std::vector<double> values, double q);  // NaN when empty
};
