// SPDX-License-Identifier: GPL-3.0-or-later
// Arrows, Space, digits and letters are the window's shortcuts, unless what has the focus needs them itself.
#pragma once

class QWidget;

// Whether `key` (Qt::Key, pressed without Ctrl or Alt) belongs to `w`, which has the focus; null: no.
// Fields and lists keep everything one types; sliders and trees the keys that move in them; a button Space.
bool keeps_key(const QWidget* w, int key);

// From now on the buttons and lists of `window` get the focus by Tab, never by a click: after a click with
// the mouse the keys go on being the window's.
void focus_by_tab_only(QWidget& window);
