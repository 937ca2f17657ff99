// SPDX-License-Identifier: GPL-3.0-or-later
// Float against integer on the clock: the ratio in large figures, the machine beneath, and every layer.
#pragma once
#include <QCheckBox>
#include <QSpinBox>

#include "widgets/view.h"
#include "widgets/workbench.h"

class LatencyFigures;
class QCustomPlot;
class QCPBars;

class LatencyView : public View {
    Q_OBJECT
  public:
    LatencyView(Workbench& bench, QWidget* parent = nullptr);
    void set_latency(const LatencySamples& samples);
    QWidget* canvas() override;
    QString ratio_text() const;

  protected:
    void refresh() override;

  private:
    void set_up_plot();
    QLayout* make_bar();
    void set_threads(int n);  // 0: all
    void mark_node(const ivit::Graph& graph);

    Workbench& bench_;
    LatencySamples samples_;
    LatencyFigures* figures_;
    QCustomPlot* plot_;
    QCPBars *float_, *integer_;
    QCheckBox* keep_running_;
    QSpinBox *batch_, *threads_;
};
