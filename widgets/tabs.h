// SPDX-License-Identifier: GPL-3.0-or-later
// The views of the middle. A new one is its own file and one line in tabs.cpp.
#pragma once
#include <vector>

class View;
class Workbench;

// In the order of their keys, 1, 2, 3 ...
std::vector<View*> make_tabs(Workbench& bench);
