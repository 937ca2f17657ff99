// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/keys_dialog.h"

#include <QDialog>
#include <QMainWindow>
#include <QMenu>
#include <QMenuBar>
#include <QScreen>
#include <QTextBrowser>
#include <QVBoxLayout>

void show_keys(QMainWindow& window) {
    if (auto* open = window.findChild<QDialog*>("keys")) {
        open->raise();
        return;
    }
    auto* dialog = new QDialog(&window);
    dialog->setObjectName("keys");
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setWindowTitle(QStringLiteral("Keys"));
    QString html = QStringLiteral("<table cellspacing=0 cellpadding=4>");
    const auto rows = [&html](const QMenu* menu, const auto& self) -> void {
        for (const QAction* a : menu->actions()) {
            if (a->menu()) self(a->menu(), self);
            if (a->shortcut().isEmpty()) continue;
            html += QStringLiteral("<tr><td>%1&nbsp;&nbsp;&nbsp;</td><td>%2</td></tr>")
                        .arg(a->shortcut().toString(QKeySequence::NativeText).toHtmlEscaped(),
                             a->text().remove('&').toHtmlEscaped());
        }
    };
    for (const QAction* menu : window.menuBar()->actions()) {
        html += QStringLiteral("<tr><td colspan=2><b>%1</b></td></tr>").arg(menu->text().remove('&'));
        rows(menu->menu(), rows);
    }
    html += QStringLiteral(
        "<tr><td colspan=2><b>In a list or table</b></td></tr>"
        "<tr><td>Ctrl+C</td><td>copy as CSV</td></tr>"
        "<tr><td>Return</td><td>in Blocks and nodes: choose another bit-width or operator</td></tr>"
        "<tr><td>Delete</td><td>take the picture out of the strip</td></tr>"
        "<tr><td colspan=2><b>Mouse</b></td></tr>"
        "<tr><td>Click</td><td>a point of a plot, a row, a thumbnail or a patch: the same selection "
        "everywhere</td></tr>"
        "<tr><td>Wheel, drag, double click</td><td>in the tensor lens: zoom, move, fit</td></tr>"
        "<tr><td>Right click</td><td>export or copy what is under it</td></tr></table>");
    auto* text = new QTextBrowser;
    text->setHtml(html);
    text->setFrameShape(QFrame::NoFrame);
    text->setAccessibleName(QStringLiteral("Keys"));
    auto* layout = new QVBoxLayout(dialog);
    layout->addWidget(text);
    dialog->resize(QSize(460, 640).boundedTo(dialog->screen()->availableSize() * 0.9));
    dialog->show();  // not modal: it may stay beside the window while one learns
}
