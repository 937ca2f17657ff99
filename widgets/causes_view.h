// SPDX-License-Identifier: GPL-3.0-or-later
// What to turn: every single change that could be made, measured, with what it would bring. Begins when one
// looks.
#pragma once
#include <QPushButton>
#include <QTableWidget>

#include "engine/report/causes.h"
#include "widgets/elided_label.h"
#include "widgets/view.h"
#include "widgets/workbench.h"

class CausesView : public View {
    Q_OBJECT
  public:
    explicit CausesView(Workbench& bench, QWidget* parent = nullptr);

    QTableWidget* table() { return table_; }
    QString title() const { return title_->text(); }
    void apply(int row);  // that change, as one step of undo
    QWidget* canvas() override { return table_; }

  protected:
    void refresh() override;

  private:
    void set_up_table();
    void select(int row);
    void fill();
    QString verdict() const;

    Workbench& bench_;
    QTableWidget* table_;
    ElidedLabel* title_;
    QPushButton* apply_;
    std::shared_ptr<const ivit::Causes> shown_causes_;
    std::vector<const ivit::Change*> rows_;  // of shown_causes_, as the table has them
};
