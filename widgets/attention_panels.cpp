// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_panels.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

const Colormap& signed_map() {
    return Theme::instance().dark() ? Colormap::diverging_dark() : Colormap::diverging();
}

}  // namespace

AttentionPanels::AttentionPanels(const AttentionScene& scene, QWidget* parent)
    : QWidget(parent), scene_(scene) {
    setObjectName("attention_panels");
    setAccessibleName(QStringLiteral("Attention over the picture: integer, float, difference"));
    setMouseTracking(true);
    setMinimumSize(260, 160);
    exporting::offer_image(this, QStringLiteral("attention"));
}

std::vector<AttentionPanels::Panel> AttentionPanels::panels() const {
    int order[3] = {0, 1, 2};
    if (scene_.flipped) std::swap(order[0], order[1]);
    if (scene_.difference_first) {
        std::swap(order[0], order[2]);
        std::swap(order[1], order[2]);
    }
    const int w = width() - 2 * gap, h = height() - legend - gap;
    const int side = std::min((w - 2 * gap) / 3, h - caption);
    const int small = (h - gap - 2 * caption) / 2;
    const int large = std::min(h - caption, w - gap - small);
    std::vector<Panel> out;
    if (large > 0 && small > 90 && large * large + 2 * small * small > 3 * side * side) {
        const int x = gap + std::max(0, (w - large - gap - small) / 2);
        out.push_back({QRect(x, gap + heading, large, large), order[0]});
        out.push_back({QRect(x + large + gap, gap + heading, small, small), order[1]});
        // Its lower edge is the large one's.
        out.push_back({QRect(x + large + gap, gap + heading + large - small, small, small), order[2]});
    } else if (side > 20) {
        const int x = gap + (w - 3 * side - 2 * gap) / 2,
                  y = gap + heading + std::max(0, (h - caption - side) / 2);
        for (int i = 0; i < 3; ++i) out.push_back({QRect(x + i * (side + gap), y, side, side), order[i]});
    }
    return out;
}

int AttentionPanels::token_at(const QPoint& p) const {
    if (scene_.patches.side == 0) return -1;
    for (const Panel& panel : panels()) {
        if (!panel.picture.contains(p)) continue;
        const int x = (p.x() - panel.picture.x()) * scene_.patches.side / panel.picture.width();
        const int y = (p.y() - panel.picture.y()) * scene_.patches.side / panel.picture.height();
        return scene_.patches.first + y * scene_.patches.side + x;
    }
    return -1;
}

void AttentionPanels::paintEvent(QPaintEvent*) {
    const Theme& theme = Theme::instance();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(rect(), palette().color(QPalette::Base));
    const std::vector<double>&a = scene_.integer_row, &b = scene_.float_row;
    if (a.empty() || scene_.patches.side == 0) {
        p.setPen(theme.muted());
        p.drawText(rect().adjusted(20, 0, -20, 0), Qt::AlignCenter | Qt::TextWordWrap,
                   scene_.shown.graph()
                       ? QStringLiteral("This network has no square of patches to lay over the picture.")
                       : scene_.shown.invitation(QStringLiteral("to see where each head looks.")));
        return;
    }
    const attention::PatchGrid& g = scene_.patches;
    std::vector<double> difference(a.size(), 0.0);
    if (!b.empty()) {
        for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
    }
    // One scale for both; the difference's own beside it, symmetric about zero.
    const double most =
        std::max({attention::greatest(a, g.first), b.empty() ? 0 : attention::greatest(b, g.first), 1e-12});
    const double most_difference = std::max(attention::greatest(difference, g.first), 1e-12);
    const bool rollout = scene_.rollout;
    const int token = scene_.shown_token;
    for (const Panel& panel : panels()) {
        if (panel.kind != 0 && b.empty()) continue;
        const std::vector<double>& row = panel.kind == 0 ? a : panel.kind == 1 ? b : difference;
        const QRect r = panel.picture;
        p.drawImage(r, scene_.picture);
        QImage map = panel.kind == 2
                         ? attention::heat(row, g, -most_difference, most_difference, signed_map())
                         : attention::heat(row, g, 0, most, Colormap::viridis());
        p.setOpacity(0.72);
        p.setRenderHint(QPainter::SmoothPixmapTransform, false);
        p.drawImage(r, map);
        p.setRenderHint(QPainter::SmoothPixmapTransform, true);
        p.setOpacity(1);
        if (token >= g.first) {
            const int i = token - g.first;
            const QRectF cell(r.x() + r.width() * static_cast<double>(i % g.side) / g.side,
                              r.y() + r.height() * static_cast<double>(i / g.side) / g.side,
                              static_cast<double>(r.width()) / g.side,
                              static_cast<double>(r.height()) / g.side);
            p.setBrush(Qt::NoBrush);
            p.setPen(QPen(Qt::black, 3.4));
            p.drawRect(cell);
            p.setPen(QPen(Qt::white, 1.6));
            p.drawRect(cell);
        }
        const bool same_logits = scene_.same_logits;
        const QString title = panel.kind == 0
                                  ? (rollout ? QStringLiteral("integer rollout") : scene_.integer_name)
                              : panel.kind == 1 ? (rollout       ? QStringLiteral("float rollout")
                                                   : same_logits ? QStringLiteral("softmax, same logits")
                                                                 : QStringLiteral("softmax, float network"))
                                                : QStringLiteral("difference");
        const QColor colour = panel.kind == 0   ? theme.integer_colour()
                              : panel.kind == 1 ? theme.float_colour()
                                                : palette().color(QPalette::Text);
        p.setFont(theme.figures(12, true));
        QFontMetrics fm(p.font());
        p.setPen(colour);
        p.drawText(QRect(r.x(), r.y() - heading, r.width(), 16), Qt::AlignLeft | Qt::AlignVCenter,
                   fm.elidedText(title, Qt::ElideRight, r.width()));
        // Under each: its divergence from the reference and its row's sum; the rest as far as there is
        // room.
        QStringList under;
        if (!b.empty()) {
            under << (panel.kind == 1 ? QStringLiteral("KL 0")
                                      : QStringLiteral("KL %1 nat").arg(numbers::significant(scene_.row_kl)));
        }
        const QString total = numbers::fixed(attention::sum(row), 5);
        under << (panel.kind == 2 ? QStringLiteral("sum %1") : QStringLiteral("row sum %1")).arg(total);
        if (!b.empty() && panel.kind == 0) {
            const int k = std::min(5, static_cast<int>(b.size()));
            under << QStringLiteral("top-5 %1 of %2").arg(attention::top_overlap(b, a, k)).arg(k);
        }
        if (g.first > 0 && panel.kind != 2)
            under << QStringLiteral("to class %1").arg(numbers::probability(row[0]));
        p.setFont(theme.figures(11));
        fm = QFontMetrics(p.font());
        // On a narrow panel the unit goes first; the legend and the tooltip have it.
        if (fm.horizontalAdvance(under.mid(0, 2).join(QStringLiteral(" · "))) > r.width() + gap - 4)
            under.first().remove(QStringLiteral(" nat"));
        while (under.size() > 1 &&
               fm.horizontalAdvance(under.join(QStringLiteral(" · "))) > r.width() + gap - 4)
            under.removeLast();
        p.setPen(theme.muted());
        p.drawText(QRect(r.x(), r.bottom() + 4, r.width() + gap, 16), Qt::AlignLeft | Qt::AlignVCenter,
                   under.join(QStringLiteral(" · ")));
    }
    draw_legend(p, most, most_difference);
}

void AttentionPanels::draw_legend(QPainter& p, double most, double most_difference) {
    const Theme& theme = Theme::instance();
    p.setFont(theme.figures(11));
    const QFontMetrics fm(p.font());
    struct Scale {
        const Colormap* map;
        QString low, high;  // with its unit
    };
    std::vector<Scale> scales{{&Colormap::viridis(), QStringLiteral("0"),
                               numbers::significant(most) + QStringLiteral(" attention")}};
    if (!scene_.float_row.empty()) {
        const QString d = numbers::significant(most_difference);
        scales.push_back(
            {&signed_map(), QChar(0x2212) + d, QStringLiteral("+") + d + QStringLiteral(" integer − float")});
    }
    // The bars get what the words leave.
    constexpr int margin = 5, between = 24;
    int words = 2 * gap + between * (static_cast<int>(scales.size()) - 1);
    for (const Scale& s : scales)
        words += fm.horizontalAdvance(s.low) + fm.horizontalAdvance(s.high) + 2 * margin;
    const int y = height() - legend + 12,
              bar = std::clamp((width() - words) / static_cast<int>(scales.size()), 24,
                               std::clamp(width() / 5, 50, 160));
    int x = gap;
    for (const Scale& s : scales) {
        p.setPen(theme.muted());
        p.drawText(x, y + 9, s.low);
        x += fm.horizontalAdvance(s.low) + margin;
        QImage line(Colormap::size, 1, QImage::Format_RGB32);
        for (int i = 0; i < Colormap::size; ++i) line.setPixel(i, 0, s.map->at(i / (Colormap::size - 1.0)));
        p.drawImage(QRect(x, y, bar, 10), line);
        x += bar + margin;
        p.drawText(x, y + 9, s.high);
        x += fm.horizontalAdvance(s.high) + between;
    }
}

void AttentionPanels::mouseMoveEvent(QMouseEvent* e) { emit hovered(token_at(e->pos())); }

void AttentionPanels::leaveEvent(QEvent*) { emit hovered(-1); }

void AttentionPanels::mousePressEvent(QMouseEvent* e) {
    const int token = token_at(e->pos());
    if (e->button() == Qt::LeftButton && token >= 0) emit picked(token);
}

bool AttentionPanels::event(QEvent* e) {
    if (e->type() == QEvent::ToolTip) {
        const auto* help = static_cast<QHelpEvent*>(e);
        const int token = token_at(help->pos());
        if (token < 0 || scene_.integer_row.empty()) {
            QToolTip::hideText();
        } else {
            QToolTip::showText(
                help->globalPos(),
                QStringLiteral(
                    "Patch %1: hover or click for its row; click again for the class token.\nKL: %2\nRow "
                    "sum: %3\nTop-5: %4")
                    .arg(token - scene_.patches.first)
                    .arg(metrics::define("kl_attention"), metrics::define("row_sum"),
                         metrics::define("top_overlap")),
                this);
        }
        return true;
    }
    return QWidget::event(e);
}
