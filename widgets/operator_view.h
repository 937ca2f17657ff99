// SPDX-License-Identifier: GPL-3.0-or-later
// Why? The operator made of shifts beside the function it stands for, over the inputs it really gets.
#pragma once
#include "widgets/elided_label.h"
#include "widgets/operator_curve.h"
#include "widgets/view.h"

class QCustomPlot;
class QCPAxisRect;
class QCPGraph;

class OperatorView : public View {
    Q_OBJECT
  public:
    explicit OperatorView(Selection& selection, QWidget* parent = nullptr);
    QWidget* canvas() override;
    const OperatorCurve& curve() const { return curve_; }
    QString title() const { return title_->text(); }

  protected:
    void refresh() override;

  private:
    void set_up_plot();
    void colour();
    void fill(bool softmax);
    QString described(const ivit::Node& n) const;

    QCustomPlot* plot_;
    QCPAxisRect* errors_;
    QCPGraph *exact_, *integer_, *inputs_, *error_;
    ElidedLabel* title_;
    OperatorCurve curve_;
};
