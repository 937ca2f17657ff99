// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/colormap.h"

#include <algorithm>
#include <cmath>

// Evenly spaced stops, interpolated in sRGB. viridis, cividis: matplotlib's, every 32nd entry.
Colormap::Colormap(QString name, const std::vector<QRgb>& stops) : name_(std::move(name)) {
    for (int i = 0; i < size; ++i) {
        const double at = static_cast<double>(i) / (size - 1) * static_cast<double>(stops.size() - 1);
        const size_t low = std::min(static_cast<size_t>(at), stops.size() - 2);
        const double t = at - static_cast<double>(low);
        const auto mix = [&](int (*channel)(QRgb)) {
            return static_cast<uint8_t>(
                std::lround(channel(stops[low]) * (1 - t) + channel(stops[low + 1]) * t));
        };
        uint8_t* out = &rgba_[static_cast<size_t>(i) * 4];
        out[0] = mix(qRed);
        out[1] = mix(qGreen);
        out[2] = mix(qBlue);
        out[3] = 255;
    }
}

QRgb Colormap::at(double t) const {
    const double clamped = t > 0 ? std::min(t, 1.0) : 0.0;
    const uint8_t* c = &rgba_[static_cast<size_t>(std::lround(clamped * (size - 1))) * 4];
    return qRgb(c[0], c[1], c[2]);
}

const Colormap& Colormap::viridis() {
    static const Colormap map("viridis", {0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80,
                                          0x5ec962, 0xaddc30, 0xfde725});
    return map;
}

const Colormap& Colormap::cividis() {
    static const Colormap map("cividis", {0x00224e, 0x213d6b, 0x4c556c, 0x6c6e72, 0x7c7b78, 0x948e77,
                                          0xb9ac70, 0xd9c95f, 0xfee838});
    return map;
}

const Colormap& Colormap::diverging() {
    static const Colormap map("blue - white - orange", {0x08306b, 0x2166ac, 0x67a9cf, 0xd1e5f0, 0xf7f7f7,
                                                        0xfde0c0, 0xf4a261, 0xc8580f, 0x7f2704});
    return map;
}

const Colormap& Colormap::diverging_dark() {
    static const Colormap map("blue - black - orange", {0xa6d8ff, 0x5aa9e6, 0x2b6cb0, 0x1b3a5c, 0x16181c,
                                                        0x5a3413, 0xb3661c, 0xf0963c, 0xffd9a8});
    return map;
}

const std::vector<const Colormap*>& Colormap::sequential() {
    static const std::vector<const Colormap*> maps = {&viridis(), &cividis()};
    return maps;
}

QColor readable_on(QColor background) {
    const double luminance =
        0.299 * background.redF() + 0.587 * background.greenF() + 0.114 * background.blueF();
    return luminance > 0.55 ? QColor(16, 18, 22) : QColor(245, 246, 248);
}
