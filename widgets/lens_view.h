// SPDX-License-Identifier: GPL-3.0-or-later
// The logit lens: block by block, what each network would answer if it ended there.
#pragma once
#include <QTableWidget>

#include "widgets/elided_label.h"
#include "widgets/logit_lens.h"
#include "widgets/view.h"

class QCustomPlot;
class QCPGraph;

class LensView : public View {
    Q_OBJECT
  public:
    explicit LensView(Selection& selection, QWidget* parent = nullptr);
    QWidget* canvas() override;

    const std::vector<LensBlock>& blocks() const { return blocks_; }  // as shown
    QTableWidget* table() { return table_; }

  protected:
    void refresh() override;

  private:
    void set_up_plot();
    void set_up_table();
    QString verdict(bool both) const;
    void fill_table(const std::vector<std::string>& labels);
    void draw();
    int selected_block() const;  // place in blocks_, -1: none

    QCustomPlot* plot_;
    QCPGraph *float_ = nullptr, *integer_ = nullptr;
    QTableWidget* table_;
    ElidedLabel* title_;
    std::vector<LensBlock> blocks_;
    std::shared_ptr<const ivit::Trace> of_;  // the integer trace that blocks_ were made from
};
