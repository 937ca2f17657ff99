// SPDX-License-Identifier: GPL-3.0-or-later
// F1: every key, read from the menus, so that none is forgotten.
#pragma once

class QMainWindow;

// Opens the list beside the window, or raises the one that is open.
void show_keys(QMainWindow& window);
