// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers for people: three significant digits, a true minus sign, units after a thin space's worth of room.
#pragma once
#include <QString>
#include <cstdint>

namespace numbers {

// "12.3", "0.00456", "1.23e-7", "−4.10"; "—" for NaN.
QString significant(double value, int digits = 3);
QString fixed(double value, int decimals);  // with a true minus sign
QString decibels(double value);             // "38.1 dB"; "exact" at the cap of 150 dB
QString decibel_change(double delta);       // "+0.84 dB", always two decimals, so that columns line up
QString percent(double share);              // 0.123 -> "12.3 %"; never rounds a share below one up to 100 %
QString probability(double p);              // "0.931", always three decimals, so that columns line up
QString milliseconds(double ms);            // "3.91 ms", "0.412 ms", "1.20 s"
QString bytes(int64_t n);                   // "5.53 MB" (10^6)
QString count(int64_t n);                   // "5 717 416"
QString change(double delta, const QString& unit = {});  // "+0.4 dB", "−1.2", "±0"

}  // namespace numbers
