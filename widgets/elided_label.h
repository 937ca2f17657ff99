// SPDX-License-Identifier: GPL-3.0-or-later
// A line of text that gives way to a shorter one or ends in an ellipsis where room is short, and then tells
// the whole of it in its tooltip.
#pragma once
#include <QLabel>

class ElidedLabel : public QLabel {
    Q_OBJECT
  public:
    // where: Qt::ElideMiddle for names whose ends matter, Qt::ElideRight for sentences.
    explicit ElidedLabel(Qt::TextElideMode where = Qt::ElideRight, QWidget* parent = nullptr);
    // Plain text, one line. shorter: what says the most important of it; empty: the text itself, cut.
    void set_text(const QString& text, const QString& shorter = {});
    void set_definition(const QString& definition);  // what the text is; stands under it in the tooltip
    bool elided() const;                             // there is less room than the text needs
    QString shown_text() const;                      // what there is room for
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override;

  protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;

  private:
    Qt::TextElideMode where_;
    QString shorter_, definition_;
};
