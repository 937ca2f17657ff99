// SPDX-License-Identifier: GPL-3.0-or-later
// What was opened lately, kept in QSettings, newest first.
#pragma once
#include <QString>
#include <functional>

class QMenu;

namespace recent {

// Puts `path` first in `list` ("recent/models", "recent/pictures"); what is no file is not remembered.
void remember(const QString& list, const QString& path);
// Fills `menu`, each time it is opened, with the files of `list` that still exist; `open` gets the one
// chosen.
void fill(QMenu* menu, const QString& list, std::function<void(const QString&)> open);

}  // namespace recent
