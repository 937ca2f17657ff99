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

QCPItemLine* vertical(QCustomPlot* plot, double x, const QPen& pen) {
    auto* line = new QCPItemLine(plot);
    for (QCPItemPosition* end : {line->start, line->end}) end->setTypeY(QCPItemPosition::ptAxisRectRatio);
    line->start->setCoords(x, 0);
    line->end->setCoords(x, 1);
    line->setPen(pen);
    return line;
}

void put_legend_above(QCustomPlot* plot) {
    plot->legend->setVisible(true);
    plot->legend->setFillOrder(QCPLegend::foColumnsFirst);
    auto* above = new QCPLayoutGrid;
    above->addElement(0, 0, new QCPTextElement(plot, QStringLiteral(" ")));  // takes the room that is left
    plot->plotLayout()->insertRow(0);
    plot->plotLayout()->addElement(0, 0, above);
    above->addElement(0, 1, plot->legend);
    above->setColumnStretchFactor(1, 0.001);
    plot->plotLayout()->setRowStretchFactor(0, 0.001);
    plot->plotLayout()->setRowSpacing(0);
}

void list_in_legend(QCustomPlot* plot, const std::vector<QCPAbstractPlottable*>& all) {
    plot->legend->clearItems();
    for (QCPAbstractPlottable* p : all)
        if (p->visible()) p->addToLegend();
}

void tick_blocks(QCustomPlot* plot, const ivit::Graph& graph) {
    auto ticks = QSharedPointer<QCPAxisTickerText>::create();
    const int labels = std::clamp((plot->width() - 60) / 20, 1, 12);  // that stand apart
    const int every = std::max(1, (graph.depth + labels - 1) / labels);
    const bool many = graph.depth > 4;  // then the word stands below, once
    int last = -1;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
        const int block = graph.nodes[i].block;
        if (block != last && block >= 0 && block % every == 0)
            ticks->addTick(static_cast<double>(i),
                           many ? QString::number(block) : QStringLiteral("block %1").arg(block));
        last = block;
    }
    plot->xAxis->setTicker(ticks);
    plot->xAxis->setLabel(many ? QStringLiteral("block, in execution order")
                               : QStringLiteral("node, in execution order"));
}

}  // namespace plotting
