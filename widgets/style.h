// SPDX-License-Identifier: GPL-3.0-or-later
// Fusion, with what it leaves hard to see: which button is down, and the edges of boxes on a dark ground.
#pragma once
#include <QProxyStyle>

class Style : public QProxyStyle {
    Q_OBJECT
  public:
    Style();
    void drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                       const QWidget* widget) const override;
    int pixelMetric(PixelMetric metric, const QStyleOption* option, const QWidget* widget) const override;
    void drawComplexControl(ComplexControl control, const QStyleOptionComplex* option, QPainter* painter,
                            const QWidget* widget) const override;
};
