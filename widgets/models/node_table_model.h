// SPDX-License-Identifier: GPL-3.0-or-later
// The network in execution order, one row per node, with its errors and times.
#pragma once
#include <QAbstractTableModel>
#include <QSortFilterProxyModel>

#include "widgets/metrics.h"
#include "widgets/results.h"

class NodeTableModel : public QAbstractTableModel {
    Q_OBJECT
  public:
    enum Column { index_column, name_column, op_column, shape_column, bits_column, first_metric_column };
    enum Role { sort_role = Qt::UserRole, colour_role };  // csv_role too, see exporting.h
    using QAbstractTableModel::QAbstractTableModel;

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

    void set_results(const Shown& shown);
    void set_latency(const LatencySamples& samples);
    void set_colour_by(metrics::Id id);
    static int column_of(metrics::Id id) { return first_metric_column + static_cast<int>(id); }
    // Of a metric column, in the current results or the ghost's.
    std::optional<double> value(int row, metrics::Id id, bool ghost = false) const;
    QColor colour(int row) const;  // by the metric chosen; invalid where there is none

  private:
    QVariant bits(int row, int role) const;
    QVariant metric(int row, metrics::Id id, int role) const;
    void rebuild_range();

    Shown shown_;
    LatencySamples latency_;
    metrics::Id colour_by_ = metrics::Id::sqnr_cumulative;
    double low_ = 0, high_ = 1;
};

// Sorts by value, with what is unknown last in either order. Execution order when nothing is sorted by.
class NodeSortModel : public QSortFilterProxyModel {
    Q_OBJECT
  public:
    using QSortFilterProxyModel::QSortFilterProxyModel;

  protected:
    bool lessThan(const QModelIndex& a, const QModelIndex& b) const override;
};
