// SPDX-License-Identifier: GPL-3.0-or-later
// What the parts of the attention view draw: values, made by the view whenever something changes.
#pragma once
#include <QImage>
#include <vector>

#include "widgets/attention_math.h"
#include "widgets/colormap.h"
#include "widgets/results.h"

struct AttentionScene {
    Shown shown;
    QImage picture;           // what the network saw
    std::vector<int> layers;  // softmax nodes
    int layer = -1;           // the one shown, a node
    int head = 0;
    int token = 0;        // the selected one
    int shown_token = 0;  // the one under the mouse, else the selected one
    bool flipped = false, difference_first = false, rollout = false, same_logits = true;
    attention::PatchGrid patches;
    std::vector<double> integer_row, float_row;  // of shown_token; the second may be empty
    // What made integer_row: Shiftmax, or what stands in its place.
    QString integer_name = QStringLiteral("Shiftmax");
    double row_kl = 0;  // KL(float_row || integer_row), nats
};

namespace attention {

// Greatest |value| of a row from token `from` on.
double greatest(const std::vector<double>& row, int from);
// The patches' share of a row, as a side x side picture; low and high get the ends of the colours.
QImage heat(const std::vector<double>& row, const PatchGrid& g, double low, double high, const Colormap& map);

}  // namespace attention
