// SPDX-License-Identifier: GPL-3.0-or-later
// How every table of results looks: whole rows, no grid, no frame, lines of 22 pixels that are told apart by
// their ground.
#pragma once
#include <QVariant>

class QTableView;
class QTableWidgetItem;

namespace table_look {

// Sets the above on `table`; columns, sorting and selection mode stay as they are.
void apply(QTableView* table);

// Cells: words begin at the left, numbers end at the right. exact: the number in full, for CSV
// (exporting::csv_role). The caller owns them.
QTableWidgetItem* text(const QString& shown);
QTableWidgetItem* number(const QString& shown, const QVariant& exact = {});

}  // namespace table_look
