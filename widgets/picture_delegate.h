// SPDX-License-Identifier: GPL-3.0-or-later
// A picture of the strip: its thumbnail, its name and what each network says of it, with a badge where they
// differ.
#pragma once
#include <QStyledItemDelegate>

class PictureDelegate : public QStyledItemDelegate {
    Q_OBJECT
  public:
    using QStyledItemDelegate::QStyledItemDelegate;
    QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    // index: of a PictureListModel.
    void paint(QPainter* p, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};
