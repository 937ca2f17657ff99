// SPDX-License-Identifier: GPL-3.0-or-later
// Two reports side by side: two configurations, models or machines; or what the window shows against a report
// made before.
#pragma once
#include <QComboBox>
#include <QStandardItemModel>
#include <QTableView>
#include <array>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "widgets/elided_label.h"
#include "widgets/workbench.h"

class QCPGraph;
class QCustomPlot;
class QGridLayout;

class ReportComparison : public QWidget {
    Q_OBJECT
  public:
    using Report = std::shared_ptr<const nlohmann::ordered_json>;

    explicit ReportComparison(Workbench& bench, QWidget* parent = nullptr);  // a window of its own

    // side: 0 (a) or 1 (b). A file that is no report is said in a sentence, and what was there stays.
    bool open(int side, const QString& file);
    void take_current(int side);  // what the window shows; arrives when the worker has made it
    Report report(int side) const { return sides_[static_cast<size_t>(side)].report; }
    QString problem() const { return problem_->text(); }

    QTableView* facts() { return facts_view_; }
    QTableView* nodes() { return nodes_view_; }
    QCustomPlot* plot() { return plot_; }

  signals:
    void changed();  // of a side's report

  private:
    struct Side {
        Report report;
        ElidedLabel* name;
        QComboBox* picture;
    };
    void add_side(QGridLayout* top, int side);
    void make_facts();
    void make_nodes();
    void make_plot();
    void choose(int side);  // asks for a file
    void set(int side, Report report, const QString& name);
    void refresh();
    void fit_rows();
    void refresh_facts();
    void name_node_columns();
    void refresh_nodes();
    void style();
    // The picture chosen on a side; null while there is no report.
    const nlohmann::ordered_json* image(int side) const;

    Workbench& bench_;
    std::array<Side, 2> sides_;
    ElidedLabel* problem_;
    QStandardItemModel facts_, nodes_;
    QTableView *facts_view_, *nodes_view_;
    QCustomPlot* plot_;
    std::array<QCPGraph*, 4> graphs_;  // cumulative a, b; isolated a, b
};
