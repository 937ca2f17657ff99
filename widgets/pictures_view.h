// SPDX-License-Identifier: GPL-3.0-or-later
// The strip of pictures.
#pragma once
#include <QListView>

#include "widgets/workbench.h"

class PicturesView : public QWidget {
    Q_OBJECT
  public:
    explicit PicturesView(Workbench& bench, QWidget* parent = nullptr);
    QListView* list() { return list_; }
    QSize sizeHint() const override { return {190, 500}; }
    QSize minimumSizeHint() const override { return {170, 120}; }

  private:
    void set_up_list();
    void follow_selection();
    void add_actions();

    Workbench& bench_;
    QListView* list_;
};
