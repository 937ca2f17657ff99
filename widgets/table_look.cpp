// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/table_look.h"

#include <QHeaderView>
#include <QTableView>
#include <QTableWidgetItem>

#include "widgets/exporting.h"

namespace table_look {

void apply(QTableView* table) {
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

QTableWidgetItem* text(const QString& shown) {
    auto* item = new QTableWidgetItem(shown);
    item->setTextAlignment(Qt::AlignLeft | Qt::AlignVCenter);
    return item;
}

QTableWidgetItem* number(const QString& shown, const QVariant& exact) {
    auto* item = new QTableWidgetItem(shown);
    item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
    if (exact.isValid()) item->setData(exporting::csv_role, exact);
    return item;
}

}  // namespace table_look
