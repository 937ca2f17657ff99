// SPDX-License-Identifier: GPL-3.0-or-later
// Colour maps that the colour-blind can read: viridis and cividis for magnitudes, blue - white - orange for
// signs.
#pragma once
#include <QColor>
#include <QString>
#include <array>
#include <cstdint>
#include <vector>

class Colormap {
  public:
    static constexpr int size = 256;

    static const Colormap& viridis();
    static const Colormap& cividis();
    static const Colormap& diverging();       // white in the middle
    static const Colormap& diverging_dark();  // near-black in the middle, for dark windows
    static const std::vector<const Colormap*>& sequential();

    const QString& name() const { return name_; }
    // t in 0..1, clamped; NaN gives the low end.
    QRgb at(double t) const;
    // RGBA bytes [256, 4], as a texture wants them.
    const std::array<uint8_t, size * 4>& rgba() const { return rgba_; }

  private:
    Colormap(QString name, const std::vector<QRgb>& stops);
    QString name_;
    std::array<uint8_t, size * 4> rgba_{};
};

// Black or white, whichever can be read on `background`.
QColor readable_on(QColor background);
