// SPDX-License-Identifier: GPL-3.0-or-later
// Where? SQNR along depth, cumulative and isolated, with what was before as a ghost; and the table of all
// nodes.
#pragma once
#include <QComboBox>
#include <QTableView>

#include "widgets/models/node_table_model.h"
#include "widgets/view.h"

class QCustomPlot;
class QCPGraph;
class QCPItemLine;
class QCPItemText;

class LayersView : public View {
    Q_OBJECT
  public:
    explicit LayersView(Selection& selection, QWidget* parent = nullptr);
    void set_latency(const LatencySamples& samples) { model_.set_latency(samples); }

    NodeTableModel& model() { return model_; }
    QTableView* table() { return table_; }
    QCustomPlot* plot() { return plot_; }
    QWidget* canvas() override;
    void sort_worst_first();
    void sort_by_execution();
    void step(int by);  // selects the next or previous node as the table shows them
    QSize sizeHint() const override { return {800, 260}; }

  protected:
    void refresh() override;
    bool eventFilter(QObject* watched, QEvent* e) override;

  private:
    void set_up_table();
    void set_column_widths();
    void set_up_plot();
    QLayout* make_bar();
    void refresh_plot();
    void fill_curves();
    void mark_node();
    QString numbers_of(int node) const;
    void select_row();
    int node_at(const QPointF& p) const;  // of the plot, in pixels

    NodeTableModel model_;
    NodeSortModel sorted_;
    QTableView* table_;
    QCustomPlot* plot_;
    QComboBox* colour_by_;
    QCPGraph *ghost_ = nullptr, *cumulative_ = nullptr, *isolated_ = nullptr;
    QCPItemLine* marker_ = nullptr;
    QCPItemText* readout_ = nullptr;
};
