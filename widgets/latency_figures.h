// SPDX-License-Identifier: GPL-3.0-or-later
// How much faster, in large figures; both networks' times as bars, and the machine beneath.
#pragma once
#include <QWidget>

#include "widgets/results.h"

class LatencyFigures : public QWidget {
    Q_OBJECT
  public:
    LatencyFigures();
    // ratio: as text, empty where there is none. invitation: what to do while nothing has been timed.
    void set(const LatencySamples& samples, const QString& ratio, const QString& invitation);

  protected:
    void paintEvent(QPaintEvent* event) override;

  private:
    int paint_ratio(QPainter& p);
    void paint_bars(QPainter& p, int x);
    void paint_notes(QPainter& p, int x);
    LatencySamples samples_;
    QString ratio_, invitation_;
};
