// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/choice_delegate.h"

#include <QComboBox>
#include <QEvent>
#include <functional>
#include <utility>

#include "widgets/models/quant_tree_model.h"

namespace {

// Tells when its list has gone, so that the cell's editor goes with it: one Esc, one click elsewhere.
class CellBox : public QComboBox {
  public:
    using QComboBox::QComboBox;
    std::function<void()> gone;
    void hidePopup() override {
        QComboBox::hidePopup();
        // After the choice, which Qt announces once the list has gone.
        QMetaObject::invokeMethod(
            this,
            [this] {
                if (gone) std::exchange(gone, nullptr)();
            },
            Qt::QueuedConnection);
    }
};

}  // namespace

QWidget* ChoiceDelegate::createEditor(QWidget* parent, const QStyleOptionViewItem&,
                                      const QModelIndex& index) const {
    auto* self = const_cast<ChoiceDelegate*>(this);
    auto* box = new CellBox(parent);
    box->addItems(index.data(QuantTreeModel::choices_role).toStringList());
    box->setAccessibleName(index.data(QuantTreeModel::glob_role).toString());
    QObject::connect(box, &QComboBox::activated, box, [self, box] { emit self->commitData(box); });
    box->gone = [self, box] { emit self->closeEditor(box); };
    QMetaObject::invokeMethod(
        box, [box] { box->showPopup(); }, Qt::QueuedConnection);
    return box;
}

void ChoiceDelegate::setEditorData(QWidget* editor, const QModelIndex& index) const {
    auto* box = static_cast<QComboBox*>(editor);
    box->setCurrentIndex(std::max(0, box->findText(index.data().toString())));
}

void ChoiceDelegate::setModelData(QWidget* editor, QAbstractItemModel* model,
                                  const QModelIndex& index) const {
    model->setData(index, static_cast<QComboBox*>(editor)->currentText(), Qt::EditRole);
}

QSize ChoiceDelegate::sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const {
    return QStyledItemDelegate::sizeHint(option, index).expandedTo({0, 22});
}

bool NoWheel::eventFilter(QObject* watched, QEvent* event) {
    if (event->type() == QEvent::Wheel && !static_cast<QWidget*>(watched)->hasFocus()) {
        event->ignore();
        return true;
    }
    return QObject::eventFilter(watched, event);
}
