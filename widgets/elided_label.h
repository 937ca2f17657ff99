// SPDX-License-Identifier: GPL-3.0-or-later
// A line of text that ends in an ellipsis where room is short, and then tells the whole of it in its tooltip.
#pragma once
#include <QLabel>

class ElidedLabel : public QLabel {
    Q_OBJECT
  public:
    // where: Qt::ElideMiddle for names whose ends matter, Qt::ElideRight for sentences.
    explicit ElidedLabel(Qt::TextElideMode where = Qt::ElideRight, QWidget* parent = nullptr);
    void set_text(const QString& text);              // plain text, one line
    void set_definition(const QString& definition);  // what the text is; stands under it in the tooltip
    bool elided() const;                             // there is less room than the text needs
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override;

  protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;

  private:
    Qt::TextElideMode where_;
    QString definition_;
};
