// SPDX-License-Identifier: GPL-3.0-or-later
// Two small manners of the quantization panel.
#pragma once
#include <QStyledItemDelegate>

// A drop-down in the cell, of the model's choices_role, committed as soon as something is chosen.
class ChoiceDelegate : public QStyledItemDelegate {
    Q_OBJECT
  public:
    using QStyledItemDelegate::QStyledItemDelegate;
    QWidget* createEditor(QWidget* parent, const QStyleOptionViewItem& option,
                          const QModelIndex& index) const override;
    void setEditorData(QWidget* editor, const QModelIndex& index) const override;
    void setModelData(QWidget* editor, QAbstractItemModel* model, const QModelIndex& index) const override;
    QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};

// An event filter: the wheel scrolls the panel; it must not turn a slider or a bit-width that happens to be
// under it.
class NoWheel : public QObject {
    Q_OBJECT
  public:
    using QObject::QObject;
    bool eventFilter(QObject* watched, QEvent* event) override;
};
