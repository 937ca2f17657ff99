// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_scene.h"

#include <cmath>

namespace attention {

QImage heat(const std::vector<double>& row, const PatchGrid& g, double low, double high,
            const Colormap& map) {
    QImage image(g.side, g.side, QImage::Format_RGB32);
    for (int y = 0; y < g.side; ++y) {
        for (int x = 0; x < g.side; ++x) {
            const double v = row[static_cast<size_t>(g.first + y * g.side + x)];
            image.setPixel(x, y, map.at(high > low ? (v - low) / (high - low) : 0));
        }
    }
    return image;
}

double greatest(const std::vector<double>& row, int from) {
    double most = 0;
    for (size_t i = static_cast<size_t>(from); i < row.size(); ++i) most = std::max(most, std::abs(row[i]));
    return most;
}

}  // namespace attention
