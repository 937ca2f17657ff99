// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/style.h"

#include <QHeaderView>
#include <QPainter>
#include <QStyleFactory>
#include <QStyleOption>
#include <QTableView>
#include <QToolButton>

namespace {

QColor mix(const QColor& a, const QColor& b, double share) {
    const auto channel = [share](int x, int y) { return static_cast<int>(x + (y - x) * share); };
    return {channel(a.red(), b.red()), channel(a.green(), b.green()), channel(a.blue(), b.blue())};
}

bool dark(const QPalette& p) { return p.color(QPalette::Window).lightness() < 128; }

// Fusion's edges are a darker Window: on a dark ground there is nothing left to see.
void edge(QPainter* painter, const QStyleOption* option, double radius) {
    const QPalette& p = option->palette;
    const bool enabled = option->state & QStyle::State_Enabled;
    const bool focus = enabled && (option->state & QStyle::State_HasFocus);
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setBrush(Qt::NoBrush);
    painter->setPen(
        focus ? p.color(QPalette::Highlight)
              : mix(p.color(QPalette::Window), p.color(QPalette::WindowText), enabled ? 0.45 : 0.2));
    painter->drawRoundedRect(QRectF(option->rect).adjusted(0.5, 0.5, -0.5, -0.5), radius, radius);
    painter->restore();
}

}  // namespace

Style::Style() : QProxyStyle(QStyleFactory::create(QStringLiteral("Fusion"))) {}

void Style::drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                          const QWidget* widget) const {
    const bool button = element == PE_PanelButtonCommand || element == PE_PanelButtonTool;
    const auto* tool = qobject_cast<const QToolButton*>(widget);
    const bool unfolds = tool && tool->arrowType() != Qt::NoArrow;  // its arrow says that it is down
    if (button && !unfolds && (option->state & State_On)) {
        const QPalette& p = option->palette;
        painter->save();
        painter->setRenderHint(QPainter::Antialiasing);
        const bool enabled = option->state & State_Enabled;
        painter->setPen(enabled ? p.color(QPalette::Highlight)
                                : mix(p.color(QPalette::Window), p.color(QPalette::WindowText), 0.3));
        painter->setBrush(
            enabled ? mix(p.color(QPalette::Button), p.color(QPalette::Highlight), dark(p) ? 0.6 : 0.22)
                    : p.color(QPalette::Button));
        painter->drawRoundedRect(QRectF(option->rect).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3);
        painter->restore();
        return;
    }
    if (button && unfolds && !(option->state & (State_MouseOver | State_Sunken))) return;
    QProxyStyle::drawPrimitive(element, option, painter, widget);
    if (dark(option->palette) && (element == PE_IndicatorCheckBox || element == PE_FrameLineEdit))
        edge(painter, option, 2);
}

int Style::pixelMetric(PixelMetric metric, const QStyleOption* option, const QWidget* widget) const {
    const int usual = QProxyStyle::pixelMetric(metric, option, widget);
    // A number that ends at the right of its column stands off the word that begins the next one.
    const bool table = qobject_cast<const QTableView*>(widget) || qobject_cast<const QHeaderView*>(widget);
    if (table && (metric == PM_FocusFrameHMargin || metric == PM_HeaderMargin)) return usual + 2;
    // So that all seven views stand beside each other on a small screen.
    return metric == PM_TabBarTabHSpace ? usual * 6 / 10 : usual;
}

void Style::drawComplexControl(ComplexControl control, const QStyleOptionComplex* option, QPainter* painter,
                               const QWidget* widget) const {
    QProxyStyle::drawComplexControl(control, option, painter, widget);
    if (dark(option->palette) && control == CC_SpinBox) edge(painter, option, 2);
}
