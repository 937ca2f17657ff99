// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/numbers.h"

#include <algorithm>
#include <cmath>

#include "engine/compare.h"

namespace numbers {

namespace {
const QChar minus(0x2212);
}

QString significant(double value, int digits) {
    if (std::isnan(value)) return QStringLiteral("—");
    if (std::isinf(value)) return value > 0 ? QStringLiteral("∞") : minus + QStringLiteral("∞");
    if (value == 0) return QStringLiteral("0");
    const double magnitude = std::abs(value);
    int exponent = static_cast<int>(std::floor(std::log10(magnitude)));
    // 9.996 has the exponent of 10.0 once it is rounded.
    if (std::round(magnitude / std::pow(10.0, exponent - digits + 1)) >= std::pow(10.0, digits)) ++exponent;
    QString text;
    if (exponent < -4 || exponent > 6) {
        text = QString::number(magnitude, 'e', digits - 1);
        text.replace(QLatin1String("e-0"), QLatin1String("e-"))
            .replace(QLatin1String("e+0"), QLatin1String("e+"));
        text.replace(QLatin1String("e-"), QLatin1String("e") + minus);
    } else {
        text = QString::number(magnitude, 'f', std::max(0, digits - 1 - exponent));
    }
    return value < 0 ? minus + text : text;
}

QString fixed(double value, int decimals) {
    const QString text = QString::number(std::abs(value), 'f', decimals);
    // A negative value that rounds to nothing is nothing.
    return value < 0 && text.toDouble() != 0 ? minus + text : text;
}

QString decibels(double value) {
    if (value >= ivit::sqnr_cap) return QStringLiteral("exact");
    QString text = QString::number(std::abs(value), 'f', 1) + QStringLiteral(" dB");
    return value < -0.05 ? minus + text : text;
}

QString decibel_change(double delta) {
    const QString text = fixed(delta, 2);
    return (text.startsWith(minus) ? text : QLatin1Char('+') + text) + QStringLiteral(" dB");
}

QString percent(double share) {
    if (share > 0 && share < 1 && std::round(share * 1000) >= 1000) return QStringLiteral("> 99.9 %");
    if (share == 0) return QStringLiteral("0 %");
    if (share < 0.0001) return QStringLiteral("< 0.01 %");
    return significant(share * 100) + QStringLiteral(" %");
}

QString probability(double p) { return QString::number(p, 'f', 3); }

QString milliseconds(double ms) {
    return ms >= 1000 ? significant(ms / 1000) + QStringLiteral(" s")
                      : significant(ms) + QStringLiteral(" ms");
}

QString bytes(int64_t n) {
    const double b = static_cast<double>(n);
    if (b < 1e3) return QString::number(n) + QStringLiteral(" B");
    if (b < 1e6) return significant(b / 1e3) + QStringLiteral(" kB");
    if (b < 1e9) return significant(b / 1e6) + QStringLiteral(" MB");
    return significant(b / 1e9) + QStringLiteral(" GB");
}

QString count(int64_t n) {
    QString text = QString::number(std::abs(n));
    for (qsizetype i = text.size() - 3; i > 0; i -= 3) text.insert(i, QChar(0x2009));
    return n < 0 ? minus + text : text;
}

QString change(double delta, const QString& unit) {
    const QString tail = unit.isEmpty() ? QString() : QLatin1Char(' ') + unit;
    if (std::isnan(delta)) return QString();
    if (std::abs(delta) < 5e-7) return QStringLiteral("±0") + tail;
    return (delta > 0 ? QStringLiteral("+") : QString(minus)) + significant(std::abs(delta)) + tail;
}

}  // namespace numbers
