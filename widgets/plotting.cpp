// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/plotting.h"

#include <QGuiApplication>

#include "widgets/theme.h"

namespace plotting {

QPen pen(const QColor& c, double width, Qt::PenStyle style) {
    QPen p(c, width, style, Qt::RoundCap, Qt::RoundJoin);
    return p;
}

void style(QCustomPlot* plot) {
    const Theme& t = Theme::instance();
    // The application's palette: a widget that has not been shown since the theme changed still has the old
    // one.
    plot->setBackground(QGuiApplication::palette().color(QPalette::Base));
    const QFont font = t.figures(11);
    const QColor text = t.muted();
    for (QCPAxisRect* rect : plot->axisRects()) {
        for (QCPAxis* axis : rect->axes()) {
            axis->setBasePen(QPen(t.grid()));
            axis->setTickPen(QPen(t.grid()));
            axis->setSubTickPen(Qt::NoPen);
            axis->setTickLabelColor(text);
            axis->setLabelColor(text);
            axis->setTickLabelFont(font);
            axis->setLabelFont(font);
            axis->setLabelPadding(3);
            axis->setTickLabelPadding(4);
            axis->grid()->setPen(QPen(t.grid(), 1, Qt::SolidLine));
            axis->grid()->setSubGridVisible(false);
            axis->grid()->setZeroLinePen(QPen(t.grid(), 1));
        }
    }
    if (plot->legend) {
        plot->legend->setFont(font);
        plot->legend->setTextColor(text);
        plot->legend->setBorderPen(Qt::NoPen);
        QColor back = QGuiApplication::palette().color(QPalette::Base);
        back.setAlpha(215);
        plot->legend->setBrush(back);
        plot->legend->setRowSpacing(0);
        plot->legend->setMargins(QMargins(6, 3, 6, 3));
        plot->legend->setIconSize(18, 10);
    }
}

}  // namespace plotting
