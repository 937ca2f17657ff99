// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/latency_figures.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

#include "engine/backend.h"
#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

QString machine(const LatencySamples& s) {
    QString text = QString::fromStdString(s.backend.device);
    if (!s.backend.isa.empty()) text += QStringLiteral(" · ") + QString::fromStdString(s.backend.isa);
    text +=
        QStringLiteral(" · %1 %2").arg(s.backend.threads).arg(s.backend.threads == 1 ? "thread" : "threads");
    text +=
        QStringLiteral(" · batch %1 · backend %2").arg(s.batch).arg(QString::fromStdString(s.backend.name));
    return text;
}

QString why_no_gpu(const LatencySamples& s) {
    if (!s.gpu_absent.empty()) return QString::fromStdString(s.gpu_absent);
    for (const ivit::BackendEntry& b : ivit::backends()) {
        if (b.name == std::string("cuda"))
            return QStringLiteral("the %1 backend is chosen").arg(QString::fromStdString(s.backend.name));
    }
    return QStringLiteral("this program was built without a GPU backend");
}

}  // namespace

LatencyFigures::LatencyFigures() {
    setFixedHeight(128);
    setAccessibleName(QStringLiteral("Latency: float against integer"));
    setToolTip(metrics::define("latency") + QStringLiteral("\n") + metrics::define("speedup"));
    exporting::offer_image(this, QStringLiteral("latency"));
}

void LatencyFigures::set(const LatencySamples& samples, const QString& ratio, const QString& invitation) {
    samples_ = samples;
    invitation_ = invitation;
    ratio_ = ratio;
    setAccessibleDescription(ratio_ + QStringLiteral(", ") + machine(samples_));
    update();
}

void LatencyFigures::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(rect(), palette().color(QPalette::Base));
    if (!samples_.error.empty() || samples_.integer_ms.empty()) {
        p.setPen(Theme::instance().muted());
        p.drawText(rect().adjusted(16, 0, -16, 0), Qt::AlignCenter | Qt::TextWordWrap,
                   !samples_.error.empty()         ? QString::fromStdString(samples_.error)
                   : samples_.backend.name.empty() ? invitation_
                                                   : QStringLiteral("The first runs are being timed …"));
        return;
    }
    const int x = paint_ratio(p);
    paint_bars(p, x);
    paint_notes(p, x);
}

// Yields where what stands beside it begins.
int LatencyFigures::paint_ratio(QPainter& p) {
    constexpr int x = 16;
    if (ratio_.isEmpty()) return x;
    const Theme& theme = Theme::instance();
    p.setFont(theme.figures(46, true));
    p.setPen(samples_.unsettled() ? theme.muted() : palette().color(QPalette::Text));
    const int w = p.fontMetrics().horizontalAdvance(ratio_);
    p.drawText(QRect(x, 8, w, 56), Qt::AlignVCenter | Qt::AlignLeft, ratio_);
    p.setFont(theme.figures(11));
    p.setPen(theme.muted());
    p.drawText(
        x, 76,
        samples_.ratio() >= 1 ? QStringLiteral("integer is faster") : QStringLiteral("integer is slower"));
    return x + std::max(w, 110) + 24;
}

// Medians as bars, 95th percentiles as whiskers.
void LatencyFigures::paint_bars(QPainter& p, int x) {
    struct Row {
        int y;
        QString title;
        double median, p95;
        QColor colour;
    };
    const Theme& theme = Theme::instance();
    std::vector<Row> rows;
    const auto add = [&](int y, const QString& title, const std::vector<double>& ms, const QColor& colour) {
        rows.push_back(
            {y, title, LatencySamples::quantile(ms, 0.5), LatencySamples::quantile(ms, 0.95), colour});
    };
    // The float network runs on the CPU wherever the integers run: said where that is not the same machine.
    if (!samples_.float_is_absent)
        add(14, samples_.backend.name == "cuda" ? QStringLiteral("FP32 on the CPU") : QStringLiteral("float"),
            samples_.float_ms, theme.float_colour());
    add(40, QStringLiteral("integer"), samples_.integer_ms, theme.integer_colour());
    p.setFont(theme.figures(12));
    const QFontMetrics fm = p.fontMetrics();
    const auto times = [](const Row& r) {
        return QStringLiteral("%1   p95 %2")
            .arg(numbers::milliseconds(r.median), numbers::milliseconds(r.p95));
    };
    int name = 0, text = fm.horizontalAdvance(QStringLiteral("00.00 ms   p95 00.00 ms"));
    double longest = 1e-9;
    for (const Row& r : rows) {
        name = std::max(name, fm.horizontalAdvance(r.title) + 10);
        if (std::isnan(r.p95)) continue;  // not timed yet
        longest = std::max(longest, r.p95);
        text = std::max(text, fm.horizontalAdvance(times(r)));
    }
    const int bar = std::max(30, width() - x - name - text - 28);
    for (const Row& r : rows) {
        p.setPen(r.colour);
        p.drawText(QRect(x, r.y, name, 20), Qt::AlignVCenter | Qt::AlignLeft, r.title);
        if (std::isnan(r.median)) continue;
        p.setPen(Qt::NoPen);
        p.setBrush(r.colour);
        const QRectF box(x + name, r.y + 3, std::max(2.0, bar * r.median / longest), 14);
        p.drawRoundedRect(box, 3, 3);
        p.setPen(QPen(r.colour, 2));
        const double end = x + name + bar * r.p95 / longest;
        p.drawLine(QPointF(box.right(), r.y + 10), QPointF(end, r.y + 10));
        p.drawLine(QPointF(end, r.y + 5), QPointF(end, r.y + 15));
        p.setPen(palette().color(QPalette::Text));
        p.drawText(QRect(x + name + bar + 10, r.y, text + 12, 20), Qt::AlignVCenter | Qt::AlignLeft,
                   times(r));
    }
}

void LatencyFigures::paint_notes(QPainter& p, int x) {
    QStringList lines{machine(samples_) +
                      QStringLiteral(" · median of %1 runs").arg(samples_.integer_ms.size())};
    if (samples_.backend.name != "cuda") lines << QStringLiteral("no GPU: %1").arg(why_no_gpu(samples_));
    if (samples_.unsettled())
        lines << samples_.disturbance() +
                     (ratio_.isEmpty() ? QString() : QStringLiteral(": ≈ is the ratio of the fastest runs"));
    p.setFont(Theme::instance().figures(11));
    p.setPen(Theme::instance().muted());
    QRect place(x, 66, width() - x - 12, 18);
    for (const QString& line : lines) {
        p.drawText(place, Qt::AlignVCenter | Qt::AlignLeft,
                   p.fontMetrics().elidedText(line, Qt::ElideRight, place.width()));
        // The machine is what the times are of; a little apart from what is noted about them.
        place.translate(0, place.y() == 66 ? 20 : 18);
    }
}
