// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/elided_label.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

ElidedLabel::ElidedLabel(Qt::TextElideMode where, QWidget* parent) : QLabel(parent), where_(where) {
    setTextFormat(Qt::PlainText);
    // An elided text cannot be selected whole with the mouse: it is copied from its menu instead.
    auto* copy = new QAction(QStringLiteral("Copy text"), this);
    connect(copy, &QAction::triggered, this, [this] { QGuiApplication::clipboard()->setText(text()); });
    addAction(copy);
    setContextMenuPolicy(Qt::ActionsContextMenu);
}

void ElidedLabel::set_text(const QString& text, const QString& shorter) {
    if (text == this->text() && shorter == shorter_) return;
    shorter_ = shorter;
    setText(text);
    updateGeometry();
}

void ElidedLabel::set_definition(const QString& definition) {
    definition_ = definition;
    setToolTip(definition);  // for those who ask the widget itself
}

bool ElidedLabel::elided() const { return fontMetrics().horizontalAdvance(text()) > contentsRect().width(); }

QString ElidedLabel::shown_text() const {
    return fontMetrics().elidedText(elided() && !shorter_.isEmpty() ? shorter_ : text(), where_,
                                    contentsRect().width());
}

QSize ElidedLabel::sizeHint() const {
    const QMargins m = contentsMargins();
    return {fontMetrics().horizontalAdvance(text()) + m.left() + m.right() + 2,
            fontMetrics().height() + m.top() + m.bottom()};
}

QSize ElidedLabel::minimumSizeHint() const { return {text().isEmpty() ? 0 : 24, sizeHint().height()}; }

void ElidedLabel::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.setPen(palette().color(isEnabled() ? QPalette::Active : QPalette::Disabled, foregroundRole()));
    p.drawText(contentsRect(), static_cast<int>(alignment()) | Qt::TextSingleLine, shown_text());
}

bool ElidedLabel::event(QEvent* event) {
    if (event->type() != QEvent::ToolTip) return QLabel::event(event);
    QStringList lines;
    if (elided()) lines << text().toHtmlEscaped();
    if (!definition_.isEmpty()) lines << definition_.toHtmlEscaped();
    const QString tip =
        lines.isEmpty() ? QString() : QStringLiteral("<p>%1</p>").arg(lines.join(QStringLiteral("</p><p>")));
    QToolTip::showText(static_cast<QHelpEvent*>(event)->globalPos(), tip, this);
    return true;
}
