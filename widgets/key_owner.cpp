// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/key_owner.h"

#include <QAbstractButton>
#include <QAbstractSpinBox>
#include <QComboBox>
#include <QLineEdit>
#include <QScrollBar>
#include <QSlider>
#include <QTreeView>

bool keeps_key(const QWidget* w, int key) {
    if (!w || key >= Qt::Key_F1) return false;
    if (qobject_cast<const QLineEdit*>(w) || qobject_cast<const QAbstractSpinBox*>(w) ||
        qobject_cast<const QComboBox*>(w))
        return true;
    if (qobject_cast<const QAbstractButton*>(w)) return key == Qt::Key_Space;
    if (qobject_cast<const QSlider*>(w) || qobject_cast<const QTreeView*>(w))
        return key >= Qt::Key_Home && key <= Qt::Key_PageDown;  // with the four arrows between them
    return false;
}

void focus_by_tab_only(QWidget& window) {
    for (QWidget* w : window.findChildren<QWidget*>()) {
        const bool one = qobject_cast<QAbstractButton*>(w) || qobject_cast<QComboBox*>(w);
        if (one && (w->focusPolicy() & Qt::TabFocus)) w->setFocusPolicy(Qt::TabFocus);
    }
}
