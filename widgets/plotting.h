// SPDX-License-Identifier: GPL-3.0-or-later
// QCustomPlot in our colours.
#pragma once
#include <qcustomplot.h>

namespace plotting {

void style(QCustomPlot* plot);  // background, axes, fonts and grid from the theme; again after it changes
QPen pen(const QColor& c, double width = 1.8, Qt::PenStyle style = Qt::SolidLine);

}  // namespace plotting
