// SPDX-License-Identifier: GPL-3.0-or-later
// The values of the selected node: float and integer over each other, with the limits at which the grid
// clamps.
#pragma once
#include <QCheckBox>

#include "widgets/elided_label.h"
#include "widgets/view.h"

class QCustomPlot;
class QCPGraph;

class DistributionView : public View {
    Q_OBJECT
  public:
    explicit DistributionView(Selection& selection, QWidget* parent = nullptr);
    QCustomPlot* plot() { return plot_; }
    QWidget* canvas() override;
    const std::vector<double>& limits() const { return limits_; }  // drawn, in real units

  protected:
    void refresh() override;

  private:
    QCustomPlot* plot_;
    QCPGraph *float_, *integer_;
    QCheckBox* logarithmic_;
    ElidedLabel* title_;
    std::vector<double> limits_;
};
