// SPDX-License-Identifier: GPL-3.0-or-later
// QCustomPlot in our colours.
#pragma once
#include <qcustomplot.h>

#include <vector>

#include "engine/graph.h"

namespace plotting {

void style(QCustomPlot* plot);  // background, axes, fonts and grid from the theme; again after it changes
QPen pen(const QColor& c, double width = 1.8, Qt::PenStyle style = Qt::SolidLine);
// A line at x from the top of the axes to their bottom; the plot owns it.
QCPItemLine* vertical(QCustomPlot* plot, double x, const QPen& pen);
// The legend on a line of its own, where it hides no point. Once, when the plot is made.
void put_legend_above(QCustomPlot* plot);
// The legend's entries: `all` that are shown, in this order. The others stay away from it.
void list_in_legend(QCustomPlot* plot, const std::vector<QCPAbstractPlottable*>& all);
// Where x are nodes: ticks where the blocks begin, numbered as far as the numbers stand apart, and the label.
void tick_blocks(QCustomPlot* plot, const ivit::Graph& graph);

}  // namespace plotting
