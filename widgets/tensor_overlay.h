// SPDX-License-Identifier: GPL-3.0-or-later
// What is written and drawn over the tensor: values in the cells, error strips, legend, readout.
#pragma once
#include "widgets/tensor_scene.h"

// Between ImGui's NewFrame and Render.
void draw_tensor_overlay(const TensorScene& scene);
// One value in full, at the mouse; nothing where there is none.
void draw_tensor_readout(const TensorScene& scene);
// A sentence in the middle of the canvas instead.
void draw_tensor_notice(const TensorScene& scene, const QString& text);
