// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/table_look.h"

#include <QHeaderView>
#include <QTableView>

void table_look::apply(QTableView* table) {
    table->setSelectionBehavior(QAbstractItemView::SelectRows);
    table->setFrameShape(QFrame::NoFrame);
    table->setWordWrap(false);
    table->setTabKeyNavigation(false);  // Tab leads out again; the arrows walk the rows
    table->setShowGrid(false);
    table->setAlternatingRowColors(true);
    table->verticalHeader()->hide();
    table->verticalHeader()->setDefaultSectionSize(22);
    table->horizontalHeader()->setHighlightSections(false);
}
