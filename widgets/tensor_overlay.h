// SPDX-License-Identifier: GPL-3.0-or-later
// What is written and drawn over the tensor: values in the cells, error strips, legend, readout.
#pragma once
#include <QStringList>

#include "widgets/tensor_scene.h"

// The first of a cell's `lines`, each `line_height` high, that fit where `seen` of the cell's height is in
// sight: what is left out would stand in the next cell.
QStringList lines_in_sight(const QStringList& lines, double seen, double line_height);

// Between ImGui's NewFrame and Render.
void draw_tensor_overlay(const TensorScene& scene);
// One value in full, at the mouse; nothing where there is none.
void draw_tensor_readout(const TensorScene& scene);
// A sentence in the middle of the canvas instead.
void draw_tensor_notice(const TensorScene& scene, const QString& text);
