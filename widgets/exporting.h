// SPDX-License-Identifier: GPL-3.0-or-later
// Everything on screen can be taken away: plots as PNG, SVG or PDF, canvases as PNG, tables as CSV.
#pragma once
#include <QAbstractItemModel>
#include <QTableView>
#include <QTreeView>

class QCustomPlot;

namespace exporting {

// By the ending of `file`: png, svg or pdf (a canvas that is not drawn by QPainter: png only), or csv of a
// plot or table. False, with a sentence in `problem`, when it could not be written; then nothing is left
// behind.
bool save_widget(QWidget* w, const QString& file, QString* problem);
// The file a person chooses to write, or nothing. `name`: suggested, without its ending, which the kind
// chosen in the dialog gives (filters: "PDF (*.pdf)", the first one first); one that a person types stays,
// and an existing file of the whole name is asked about. Begins in the folder kept under `key`, and keeps it.
QString ask_for_file(QWidget* w, const QString& title, const QString& name, const QStringList& filters,
                     const QString& key = QStringLiteral("export/folder"));
// Asks for a file name, then save_widget; what came of it is said at the bottom of the window.
void ask_and_save(QWidget* w, const QString& suggestion);
QImage grab(QWidget* w);

// RFC 4180: a header row, then the rows as shown (of a proxy: sorted). Numbers in full, where the model gives
// csv_role, else the text.
constexpr int csv_role = Qt::UserRole + 100;
QString to_csv(const QAbstractItemModel& model, const QModelIndexList& rows = {});

// Right click: save or copy as image. The context menu of `w` is replaced.
void offer_image(QWidget* w, const QString& name);
QString csv_line(const QStringList& fields);  // quoted where needed, with its line end
// Right click: copy what a plot shows as CSV, one line per point of every curve and bar.
QString to_csv(QCustomPlot* plot);
void offer_plot_csv(QCustomPlot* plot, const QString& name);
// Right click, and Ctrl+C: copy as CSV; save as CSV.
void offer_csv(QAbstractItemView* view, const QString& name);

}  // namespace exporting
