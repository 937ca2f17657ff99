// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_panels.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

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
    Kind order[3] = {integer, floating, difference};
    if (scene_.flipped) std::swap(order[0], order[1]);
    if (scene_.difference_first) {
        std::swap(order[0], order[2]);
        std::swap(order[1], order[2]);
    }
    const int w = width() - 2 * gap, h = height() - legend - gap;
    const auto beneath = [](int side) { return side < narrow ? second_line : 0; };
    const int third = (w - 2 * gap) / 3, row_caption = caption + beneath(third);
    const int side = std::min(third, h - row_caption);
    const int half = (h - gap - 2 * caption) / 2, small = half - beneath(half);
    const int large = std::min(h - caption, w - gap - small);
    std::vector<Panel> out;
    // One large map and two small ones beside it, unless all three can be nearly as large.
    if (small > least && 5 * large > 6 * side) {
        const int x = gap + std::max(0, (w - large - gap - small) / 2);
        out.push_back({QRect(x, gap + heading, large, large), order[0]});
        out.push_back({QRect(x + large + gap, gap + heading, small, small), order[1]});
        // Its figures end where the large one's do, as far as there is room for a second line.
        const int lower = gap + heading + large - small - beneath(half);
        out.push_back({QRect(x + large + gap, lower, small, small), order[2]});
    } else if (side > 20) {
        const int x = gap + (w - 3 * side - 2 * gap) / 2,
                  y = gap + heading + std::max(0, (h - row_caption - side) / 2);
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
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(rect(), palette().color(QPalette::Base));
    const std::vector<double>&a = scene_.integer_row, &b = scene_.float_row;
    const attention::PatchGrid& g = scene_.patches;
    if (a.empty() || g.side == 0) {
        p.setPen(Theme::instance().muted());
        p.drawText(rect().adjusted(20, 0, -20, 0), Qt::AlignCenter | Qt::TextWordWrap,
                   scene_.shown.graph()
                       ? QStringLiteral("This network has no square of patches to lay over the picture.")
                       : scene_.shown.invitation(QStringLiteral("to see where each head looks.")));
        return;
    }
    std::vector<double> change(a.size(), 0.0);
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) change[i] = a[i] - b[i];
    // One scale for both; the difference's own beside it, symmetric about zero.
    const double most =
        std::max({attention::greatest(a, g.first), b.empty() ? 0 : attention::greatest(b, g.first), 1e-12});
    const double most_change = std::max(attention::greatest(change, g.first), 1e-12);
    for (const Panel& panel : panels()) {
        if (panel.kind != integer && b.empty()) continue;
        const std::vector<double>& row = panel.kind == integer ? a : panel.kind == floating ? b : change;
        draw_map(p, panel.picture,
                 panel.kind == difference ? attention::heat(row, g, -most_change, most_change, signed_map())
                                          : attention::heat(row, g, 0, most, Colormap::viridis()));
        draw_title(p, panel);
        draw_figures(p, panel, row);
    }
    draw_legend(p, most, most_change);
}

// The map over the picture, and the patch shown in a frame that is seen on any colour.
void AttentionPanels::draw_map(QPainter& p, const QRect& r, const QImage& map) const {
    p.drawImage(r, scene_.picture);
    p.setOpacity(0.72);
    p.setRenderHint(QPainter::SmoothPixmapTransform, false);
    p.drawImage(r, map);
    p.setRenderHint(QPainter::SmoothPixmapTransform, true);
    p.setOpacity(1);
    const attention::PatchGrid& g = scene_.patches;
    if (scene_.shown_token < g.first) return;
    const int i = scene_.shown_token - g.first;
    const double width = static_cast<double>(r.width()) / g.side,
                 height = static_cast<double>(r.height()) / g.side;
    const QRectF cell(r.x() + width * (i % g.side), r.y() + height * (i / g.side), width, height);
    p.setBrush(Qt::NoBrush);
    p.setPen(QPen(Qt::black, 3.4));
    p.drawRect(cell);
    p.setPen(QPen(Qt::white, 1.6));
    p.drawRect(cell);
}

void AttentionPanels::draw_title(QPainter& p, const Panel& panel) const {
    const Theme& theme = Theme::instance();
    QString title = QStringLiteral("difference");
    QColor colour = palette().color(QPalette::Text);
    if (panel.kind == integer) {
        title = scene_.rollout ? QStringLiteral("integer rollout") : scene_.integer_name;
        colour = theme.integer_colour();
    } else if (panel.kind == floating) {
        title = scene_.rollout       ? QStringLiteral("float rollout")
                : scene_.same_logits ? QStringLiteral("softmax, same logits")
                                     : QStringLiteral("softmax, float network");
        colour = theme.float_colour();
    }
    const QRect& r = panel.picture;
    p.setFont(theme.figures(12, true));
    // On a narrow panel without what the box above says.
    if (p.fontMetrics().horizontalAdvance(title) > r.width()) title = title.section(QLatin1Char(','), 0, 0);
    p.setPen(colour);
    p.drawText(QRect(r.x(), r.y() - heading, r.width(), 16), Qt::AlignLeft | Qt::AlignVCenter,
               p.fontMetrics().elidedText(title, Qt::ElideRight, r.width()));
}

// Its divergence from the reference and its row's sum, and what else there is to say.
QStringList AttentionPanels::figures_of(const Panel& panel, const std::vector<double>& row) const {
    const std::vector<double>& reference = scene_.float_row;
    QStringList words;
    if (!reference.empty())
        words << (panel.kind == floating
                      ? QStringLiteral("KL 0")
                      : QStringLiteral("KL %1 nat").arg(numbers::significant(scene_.row_kl)));
    words << (panel.kind == difference ? QStringLiteral("sum %1") : QStringLiteral("row sum %1"))
                 .arg(numbers::fixed(attention::sum(row), 5));
    if (!reference.empty() && panel.kind == integer) {
        const int k = std::min(5, static_cast<int>(reference.size()));
        words << QStringLiteral("top-5 %1 of %2").arg(attention::top_overlap(reference, row, k)).arg(k);
    }
    if (scene_.patches.first > 0 && panel.kind != difference)
        words << QStringLiteral("to class %1").arg(numbers::probability(row[0]));
    return words;
}

// The first two figures always, on a line each where one has no room for both; the others where they fit.
void AttentionPanels::draw_figures(QPainter& p, const Panel& panel, const std::vector<double>& row) const {
    QStringList words = figures_of(panel, row), lines;
    const QRect& r = panel.picture;
    const QString between = QStringLiteral(" · ");
    p.setFont(Theme::instance().figures(11));
    const auto fits = [&, fm = p.fontMetrics()](const QStringList& list) {
        return fm.horizontalAdvance(list.join(between)) <= r.width() + gap - 4;
    };
    const QString with_unit = words.first();  // the legend and the tooltip have it as well
    if (!fits(words.mid(0, 2))) words.first().remove(QStringLiteral(" nat"));
    if (!fits(words.mid(0, 2))) {
        lines << (fits({with_unit}) ? with_unit : words.first());
        words.removeFirst();
    }
    while (words.size() > 1 && !fits(words)) words.removeLast();
    lines << words.join(between);
    p.setPen(Theme::instance().muted());
    for (int i = 0; i < lines.size(); ++i)
        p.drawText(QRect(r.x(), r.bottom() + 4 + i * second_line, r.width() + gap, 16),
                   Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, lines[i]);
}

void AttentionPanels::draw_legend(QPainter& p, double most, double most_change) const {
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
        const QString d = numbers::significant(most_change);
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
