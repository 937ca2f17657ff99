// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/exporting.h"

#include <qcustomplot.h>

#include <QAction>
#include <QBuffer>
#include <QClipboard>
#include <QFileDialog>
#include <QFileInfo>
#include <QGuiApplication>
#include <QOpenGLWidget>
#include <QPainter>
#include <QPdfWriter>
#include <QSaveFile>
#include <QSettings>
#include <QSvgGenerator>
#include <functional>

#include "widgets/status_area.h"

namespace exporting {

namespace {

bool fail(QString* problem, const QString& text) {
    if (problem) *problem = text;
    return false;
}

// Beside the file, then renamed: a full disk leaves what was there.
bool write(const QString& file, const QByteArray& bytes, QString* problem) {
    QSaveFile out(file);
    if (!out.open(QIODevice::WriteOnly) || out.write(bytes) != bytes.size() || !out.commit()) {
        return fail(problem, QStringLiteral("%1 cannot be written: %2").arg(file, out.errorString()));
    }
    return true;
}

void paint(QWidget* w, QPaintDevice* device) {
    if (auto* plot = qobject_cast<QCustomPlot*>(w)) {
        QCPPainter painter(device);
        plot->toPainter(&painter, w->width(), w->height());
    } else {
        QPainter painter(device);
        w->render(&painter, {}, {}, QWidget::DrawChildren);
    }
}

// "PDF (*.pdf)" -> "pdf"
QString ending(const QString& filter) {
    return filter.section(QStringLiteral("*."), 1).section(QLatin1Char(')'), 0, 0);
}

QString quoted(QString text) {
    if (!text.contains(QLatin1Char(',')) && !text.contains(QLatin1Char('"')) &&
        !text.contains(QLatin1Char('\n')))
        return text;
    return QLatin1Char('"') + text.replace(QLatin1String("\""), QLatin1String("\"\"")) + QLatin1Char('"');
}

// In the line at the bottom of the window that `w` belongs to.
void say(QWidget* w, const QString& sentence, bool warning) {
    for (QWidget* up = w; up; up = up->parentWidget())
        if (auto* status = up->findChild<StatusArea*>()) return status->say(sentence, warning);
}

void tell(QWidget* w, const QString& file, bool saved, const QString& problem) {
    say(w, saved ? QStringLiteral("Saved %1").arg(QFileInfo(file).fileName()) : problem, !saved);
}

// text: made once there is a file to write.
void ask_and_save_csv(QWidget* w, const QString& title, const QString& name,
                      const std::function<QString()>& text) {
    const QString file = ask_for_file(w, title, name, {QStringLiteral("CSV (*.csv)")});
    if (file.isEmpty()) return;
    QString problem;
    const bool saved = write(file, text().toUtf8(), &problem);
    tell(w, file, saved, problem);
}

// A plot's points, a table's rows.
bool has_values(QWidget* w) { return qobject_cast<QCustomPlot*>(w) || qobject_cast<QAbstractItemView*>(w); }

QString values_of(QWidget* w) {
    auto* plot = qobject_cast<QCustomPlot*>(w);
    return plot ? to_csv(plot) : to_csv(*qobject_cast<QAbstractItemView*>(w)->model());
}

}  // namespace

QImage grab(QWidget* w) {
    if (auto* gl = qobject_cast<QOpenGLWidget*>(w)) return gl->grabFramebuffer();
    return w->grab().toImage();
}

bool save_widget(QWidget* w, const QString& file, QString* problem) {
    const QString kind = QFileInfo(file).suffix().toLower();
    QByteArray bytes;
    QBuffer buffer(&bytes);
    buffer.open(QIODevice::WriteOnly);
    const bool canvas = qobject_cast<QOpenGLWidget*>(w) != nullptr;
    if (kind == "png") {
        if (!grab(w).save(&buffer, "PNG"))
            return fail(problem, QStringLiteral("%1: the picture cannot be encoded").arg(file));
    } else if (canvas && (kind == "svg" || kind == "pdf")) {
        return fail(problem, QStringLiteral("A canvas drawn by the GPU is saved as PNG; only plots have %1")
                                 .arg(kind.toUpper()));
    } else if (kind == "svg") {
        QSvgGenerator svg;
        svg.setOutputDevice(&buffer);
        svg.setSize(w->size());
        svg.setViewBox(w->rect());
        svg.setTitle(w->accessibleName());
        paint(w, &svg);
    } else if (kind == "pdf") {
        QPdfWriter pdf(&buffer);
        pdf.setResolution(96);
        pdf.setPageSize(QPageSize(QSizeF(w->width() / 96.0, w->height() / 96.0), QPageSize::Inch));
        pdf.setPageMargins({});
        paint(w, &pdf);
    } else if (kind == "csv" && has_values(w)) {
        buffer.write(values_of(w).toUtf8());
    } else {
        return fail(problem, QStringLiteral("%1: the name must end in %2")
                                 .arg(file, has_values(w) ? QStringLiteral(".png, .svg, .pdf or .csv")
                                                          : QStringLiteral(".png, .svg or .pdf")));
    }
    buffer.close();
    return write(file, bytes, problem);
}

QString ask_for_file(QWidget* w, const QString& title, const QString& name, const QStringList& filters,
                     const QString& key) {
    QSettings settings;
    QFileDialog dialog(w->window(), title, settings.value(key, QDir::homePath()).toString());
    dialog.setAcceptMode(QFileDialog::AcceptSave);
    dialog.setNameFilters(filters);
    const auto choose = [&dialog](const QString& filter, const QString& base) {
        dialog.setDefaultSuffix(ending(filter));  // before the dialog looks whether the file exists
        dialog.selectFile(base + QLatin1Char('.') + ending(filter));
    };
    choose(filters.first(), name);
    QObject::connect(&dialog, &QFileDialog::filterSelected, &dialog, [&](const QString& filter) {
        const QStringList files = dialog.selectedFiles();
        choose(filter, files.isEmpty() ? name : QFileInfo(files.first()).completeBaseName());
    });
    if (dialog.exec() != QDialog::Accepted || dialog.selectedFiles().isEmpty()) return {};
    const QString file = dialog.selectedFiles().first();
    settings.setValue(key, QFileInfo(file).absolutePath());
    return file;
}

void ask_and_save(QWidget* w, const QString& suggestion) {
    QStringList filters{QStringLiteral("PNG (*.png)")};
    if (!qobject_cast<QOpenGLWidget*>(w))
        filters << QStringLiteral("SVG (*.svg)") << QStringLiteral("PDF (*.pdf)");
    if (has_values(w)) filters << QStringLiteral("CSV (*.csv)");
    const QString file =
        ask_for_file(w, QStringLiteral("Export %1").arg(w->accessibleName()), suggestion, filters);
    if (file.isEmpty()) return;
    QString problem;
    const bool saved = save_widget(w, file, &problem);
    tell(w, file, saved, problem);
}

QString csv_line(const QStringList& fields) {
    QStringList line;
    for (const QString& f : fields) line << quoted(f);
    return line.join(QLatin1Char(',')) + QStringLiteral("\r\n");
}

QString to_csv(const QAbstractItemModel& model, const QModelIndexList& rows) {
    const int columns = model.columnCount();
    QStringList heads;
    for (int c = 0; c < columns; ++c) heads << model.headerData(c, Qt::Horizontal).toString();
    QString csv = csv_line(heads);
    const auto append = [&](int r, const QModelIndex& parent, const auto& self) -> void {
        QStringList fields;
        for (int c = 0; c < columns; ++c) {
            const QModelIndex i = model.index(r, c, parent);
            const QVariant exact = i.data(csv_role);
            fields << (exact.typeId() == QMetaType::Double ? QString::number(exact.toDouble(), 'g', 9)
                       : exact.isValid()                   ? exact.toString()
                                                           : i.data(Qt::DisplayRole).toString());
        }
        csv += csv_line(fields);
        const QModelIndex here = model.index(r, 0, parent);
        for (int child = 0; child < model.rowCount(here); ++child) self(child, here, self);
    };
    if (rows.isEmpty()) {
        for (int r = 0; r < model.rowCount(); ++r) append(r, {}, append);
    } else {
        for (const QModelIndex& i : rows) append(i.row(), i.parent(), append);
    }
    return csv;
}

void offer_image(QWidget* w, const QString& name) {
    w->setContextMenuPolicy(Qt::ActionsContextMenu);
    auto* save = new QAction(QStringLiteral("Export as image …"), w);
    QObject::connect(save, &QAction::triggered, w, [w, name] { ask_and_save(w, name); });
    auto* copy = new QAction(QStringLiteral("Copy image"), w);
    QObject::connect(copy, &QAction::triggered, w, [w] { QGuiApplication::clipboard()->setImage(grab(w)); });
    w->addActions({save, copy});
}

QString to_csv(QCustomPlot* plot) {
    QString csv = QStringLiteral("curve,x,y\r\n");
    const auto line = [&csv](const QString& name, double x, double y) {
        csv += csv_line({name, QString::number(x, 'g', 9), QString::number(y, 'g', 9)});
    };
    for (int i = 0; i < plot->plottableCount(); ++i) {
        QCPAbstractPlottable* p = plot->plottable(i);
        if (!p->visible()) continue;
        if (auto* graph = qobject_cast<QCPGraph*>(p)) {
            for (const QCPGraphData& d : *graph->data()) line(p->name(), d.key, d.value);
        } else if (auto* bars = qobject_cast<QCPBars*>(p)) {
            for (const QCPBarsData& d : *bars->data()) line(p->name(), d.key, d.value);
        }
    }
    return csv;
}

void offer_plot_csv(QCustomPlot* plot, const QString& name) {
    auto* copy = new QAction(QStringLiteral("Copy values as CSV"), plot);
    QObject::connect(copy, &QAction::triggered, plot,
                     [plot] { QGuiApplication::clipboard()->setText(to_csv(plot)); });
    auto* save = new QAction(QStringLiteral("Save values as CSV …"), plot);
    QObject::connect(save, &QAction::triggered, plot, [plot, name] {
        ask_and_save_csv(plot, QStringLiteral("Save values"), name, [plot] { return to_csv(plot); });
    });
    plot->addActions({copy, save});
}

void offer_csv(QAbstractItemView* view, const QString& name) {
    view->setContextMenuPolicy(Qt::ActionsContextMenu);
    auto* copy = new QAction(QStringLiteral("Copy as CSV"), view);
    copy->setShortcut(QKeySequence::Copy);
    copy->setShortcutContext(Qt::WidgetShortcut);
    QObject::connect(copy, &QAction::triggered, view, [view] {
        const QModelIndexList rows =
            view->selectionModel() ? view->selectionModel()->selectedRows() : QModelIndexList();
        // One selected row is the selection every view shares: then the table as a whole is meant.
        QGuiApplication::clipboard()->setText(
            to_csv(*view->model(), rows.size() > 1 ? rows : QModelIndexList()));
    });
    auto* save = new QAction(QStringLiteral("Save as CSV …"), view);
    QObject::connect(save, &QAction::triggered, view, [view, name] {
        ask_and_save_csv(view, QStringLiteral("Save table"), name, [view] { return to_csv(*view->model()); });
    });
    view->addActions({copy, save});
}

}  // namespace exporting
