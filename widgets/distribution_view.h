// SPDX-License-Identifier: GPL-3.0-or-later
// The values of the selected node: float and integer over each other, with the limits at which the grid
// clamps.
#pragma once
#include <QCheckBox>
#include <QStringList>

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
    // low, high: the ends of all values.
    void fill_bins(const std::vector<float>& floats, const std::vector<float>& integers,
                   const ivit::Grid& grid, double low, double high);
    QStringList draw_limits(const ivit::Grid& grid, double low, double high);
    static QString description(const QString& name, const ivit::IntTensor& integers,
                               const QStringList& outside);

    QCustomPlot* plot_;
    QCPGraph *float_, *integer_;
    QCheckBox* logarithmic_;
    ElidedLabel* title_;
    std::vector<double> limits_;
};
