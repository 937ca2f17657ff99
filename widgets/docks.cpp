// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/docks.h"

#include <QAbstractButton>
#include <QTabBar>

Docks::Docks(QMainWindow& window) : QObject(&window), window_(window) {
    window.setDockNestingEnabled(true);
    window.setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
    window.setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
    window.setTabPosition(Qt::AllDockWidgetAreas, QTabWidget::North);
}

QDockWidget* Docks::add(const QString& title, const char* name, QWidget* content, Qt::DockWidgetArea area) {
    auto* dock = new QDockWidget(title);
    dock->setObjectName(name);
    dock->setAccessibleName(title);
    dock->setWidget(content);
    for (QAbstractButton* b : dock->findChildren<QAbstractButton*>(QString(), Qt::FindDirectChildrenOnly)) {
        b->setToolTip(b->objectName() == "qt_dockwidget_closebutton"
                          ? QStringLiteral("Hide %1; View > Docks brings it back").arg(title)
                          : QStringLiteral("Take %1 out of the window, or put it back").arg(title));
        b->setAccessibleName(b->toolTip());
    }
    window_.addDockWidget(area, dock);
    connect(dock, &QDockWidget::dockLocationChanged, this, &Docks::name_tab_bars, Qt::QueuedConnection);
    docks_.push_back(dock);
    return dock;
}

void Docks::reveal(QDockWidget* dock) {
    dock->show();
    dock->raise();
}

// Qt makes a tab bar for docks that lie on each other, and names neither the bar nor its tabs.
void Docks::name_tab_bars() {
    for (QTabBar* bar : window_.findChildren<QTabBar*>()) {
        if (bar->accessibleName().isEmpty())
            bar->setAccessibleName(bar->parentWidget() == &window_ ? QStringLiteral("Docks")
                                                                   : QStringLiteral("Views"));
        for (int i = 0; i < bar->count(); ++i) {
            if (bar->tabToolTip(i).isEmpty())
                bar->setTabToolTip(i, QStringLiteral("Show %1").arg(bar->tabText(i)));
        }
    }
}

// A dock that restoreState() floats before the window has a handle is no child of it for the window manager:
// shown again, it is, and stays above.
void Docks::lift_floating() {
    for (QDockWidget* d : docks_) {
        if (!d->isFloating() || !d->isVisible()) continue;
        d->hide();
        d->show();
    }
}

void Docks::reset() {
    window_.restoreState(first_layout_);
    for (QDockWidget* d : docks_) {
        d->setFloating(false);
        d->show();
    }
    QDockWidget* layers = window_.findChild<QDockWidget*>("dock_layers");
    window_.resizeDocks({layers}, {std::max(220, window_.height() * 34 / 100)}, Qt::Vertical);
    window_.resizeDocks({window_.findChild<QDockWidget*>("dock_pictures"),
                         window_.findChild<QDockWidget*>("dock_prediction")},
                        {196, 316}, Qt::Horizontal);
    window_.resizeDocks({window_.findChild<QDockWidget*>("dock_prediction"),
                         window_.findChild<QDockWidget*>("dock_quantization")},
                        {345, window_.height() - 345}, Qt::Vertical);
    window_.findChild<QDockWidget*>("dock_quantization")->raise();
}
