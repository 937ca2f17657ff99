// SPDX-License-Identifier: GPL-3.0-or-later
// How every table of results looks: whole rows, no grid, no frame, lines of 22 pixels that are told apart by
// their ground.
#pragma once

class QTableView;

namespace table_look {

// Sets the above on `table`; columns, sorting and selection mode stay as they are.
void apply(QTableView* table);

}  // namespace table_look
