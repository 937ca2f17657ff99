// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/pictures_view.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QLabel>
#include <QStackedLayout>

#include "widgets/picture_delegate.h"

PicturesView::PicturesView(Workbench& bench, QWidget* parent)
    : QWidget(parent), bench_(bench), list_(new QListView) {
    setAccessibleName(QStringLiteral("Pictures"));
    set_up_list();
    auto* hint = new QLabel(QStringLiteral("Drop pictures or folders here,\nor press Ctrl+O."));
    hint->setAlignment(Qt::AlignCenter);
    hint->setWordWrap(true);
    hint->setAttribute(Qt::WA_TransparentForMouseEvents);
    auto* layout = new QStackedLayout(this);
    layout->setStackingMode(QStackedLayout::StackAll);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(hint);
    layout->addWidget(list_);
    const auto update_hint = [this, hint, layout] {
        const bool empty = bench_.pictures().rowCount() == 0;
        hint->setVisible(empty);
        layout->setCurrentWidget(empty ? static_cast<QWidget*>(hint) : list_);
    };
    update_hint();
    connect(&bench.pictures(), &QAbstractItemModel::rowsInserted, this, update_hint);
    connect(&bench.pictures(), &QAbstractItemModel::rowsRemoved, this, update_hint);
    follow_selection();
    add_actions();
}

void PicturesView::set_up_list() {
    list_->setAccessibleName(QStringLiteral("Pictures"));
    list_->setObjectName("pictures");
    list_->setToolTip(
        QStringLiteral("What both networks say of every picture; ≠ marks where they differ. Drop files, "
                       "folders or pictures anywhere."));
    list_->setModel(&bench_.pictures());
    list_->setItemDelegate(new PictureDelegate(list_));
    list_->setUniformItemSizes(true);  // 2000 of them scroll as 20 do
    list_->setMouseTracking(true);
    list_->setFrameShape(QFrame::NoFrame);
    list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    list_->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
}

void PicturesView::follow_selection() {
    connect(list_->selectionModel(), &QItemSelectionModel::currentChanged, this,
            [this](const QModelIndex& now) {
                if (now.isValid()) bench_.selection().set_picture(now.row());
            });
    connect(list_, &QListView::clicked, this, [this](const QModelIndex& i) { bench_.show_picture(i.row()); });
    const auto follow = [this] {
        const int row = bench_.selection().picture();
        if (list_->currentIndex().row() != row) list_->setCurrentIndex(bench_.pictures().index(row));
    };
    connect(&bench_.selection(), &Selection::picture_changed, this, follow);
    connect(&bench_.pictures(), &QAbstractItemModel::rowsRemoved, this, follow, Qt::QueuedConnection);
}

void PicturesView::add_actions() {
    auto* copy = new QAction(QStringLiteral("Copy as CSV"), this);
    copy->setShortcut(QKeySequence::Copy);
    copy->setShortcutContext(Qt::WidgetShortcut);
    connect(copy, &QAction::triggered, this,
            [this] { QGuiApplication::clipboard()->setText(bench_.pictures().to_csv()); });
    auto* remove = new QAction(QStringLiteral("Remove from the strip"), this);
    remove->setShortcut(QKeySequence::Delete);
    remove->setShortcutContext(Qt::WidgetWithChildrenShortcut);
    connect(remove, &QAction::triggered, this,
            [this] { bench_.remove_picture(list_->currentIndex().row()); });
    list_->addActions({copy, remove});
    list_->setContextMenuPolicy(Qt::ActionsContextMenu);
}
