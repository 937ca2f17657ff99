// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/recent.h"

#include <QFileInfo>
#include <QMenu>
#include <QSettings>

namespace recent {

void remember(const QString& list, const QString& path) {
    QSettings settings;
    QStringList known = settings.value(list).toStringList();
    const QString full = QFileInfo(path).absoluteFilePath();
    if (!QFileInfo::exists(full)) return;
    known.removeAll(full);
    known.prepend(full);
    settings.setValue(list, known.mid(0, 12));
}

void fill(QMenu* menu, const QString& list, std::function<void(const QString&)> open) {
    QObject::connect(menu, &QMenu::aboutToShow, menu, [menu, list, open = std::move(open)] {
        menu->clear();
        for (const QString& path : QSettings().value(list).toStringList()) {
            if (!QFileInfo::exists(path)) continue;
            QAction* a = menu->addAction(menu->fontMetrics()
                                             .elidedText(QFileInfo(path).fileName(), Qt::ElideMiddle, 340)
                                             .replace(QLatin1Char('&'), QLatin1String("&&")));
            a->setToolTip(path);
            QObject::connect(a, &QAction::triggered, a, [open, path] { open(path); });
        }
        if (menu->isEmpty()) menu->addAction(QStringLiteral("Nothing yet"))->setEnabled(false);
    });
}

}  // namespace recent
