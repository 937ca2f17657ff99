// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/head_grid.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

// Where the cells begin: after the blocks' numbers, and under the heading.
constexpr int left = 28, top = 24;
constexpr int beyond = 34;  // left, or top, and a little room at the other end

}  // namespace

HeadGrid::HeadGrid(const AttentionScene& scene, QWidget* parent) : QWidget(parent), scene_(scene) {
    setObjectName("head_grid");
    setAccessibleName(QStringLiteral("Attention of every layer and head"));
    setMouseTracking(true);
    setMinimumWidth(96);
    exporting::offer_image(this, QStringLiteral("heads"));
}

void HeadGrid::rebuild() {
    thumbs_.clear();
    heads_ = 0;
    const ivit::Comparison* c = scene_.shown.comparison();
    if (c && c->integer_trace) {
        const ivit::Trace& trace = scene_.flipped && c->float_trace ? *c->float_trace : *c->integer_trace;
        for (const int layer : scene_.layers) {
            const int heads = trace.graph->nodes[static_cast<size_t>(layer)].heads;
            heads_ = std::max(heads_, heads);
            for (int h = 0; h < heads; ++h) thumbs_.push_back(thumb(trace, layer, h));
        }
    }
    updateGeometry();
    update();
}

// Null where there is nothing to lay out as a picture.
QImage HeadGrid::thumb(const ivit::Trace& trace, int layer, int head) const {
    const attention::PatchGrid& g = scene_.patches;
    const std::vector<double> row = attention::row(trace, layer, head, scene_.token);
    if (row.empty() || g.side == 0 || attention::patch_grid(static_cast<int64_t>(row.size())).side != g.side)
        return {};
    return attention::heat(row, g, 0, attention::greatest(row, g.first), Colormap::viridis());
}

int HeadGrid::cell() const {
    if (heads_ == 0 || scene_.layers.empty()) return 0;
    const int rows = static_cast<int>(scene_.layers.size());
    const int by_height = (height() - beyond) / rows;
    const int by_width = (parentWidget()->width() * 2 / 5 - 30) / heads_;
    return std::clamp(std::min(by_height, by_width), 8, 60);
}

void HeadGrid::fit() {
    const int wanted = heads_ == 0 ? 0 : std::max(96, cell() * heads_ + beyond);
    setFixedWidth(std::max(1, wanted));
    update();
}

QRect HeadGrid::rect_of(int row, int head) const {
    return {left + head * cell(), top + row * cell(), cell() - 2, cell() - 2};
}

bool HeadGrid::at(const QPoint& p, int* row, int* head) const {
    const int c = cell();
    if (c == 0 || p.x() < left || p.y() < top) return false;
    *head = (p.x() - left) / c;
    *row = (p.y() - top) / c;
    return *head < heads_ && *row < static_cast<int>(scene_.layers.size());
}

void HeadGrid::paintEvent(QPaintEvent*) {
    const Theme& theme = Theme::instance();
    QPainter p(this);
    p.fillRect(rect(), palette().color(QPalette::Base));
    if (thumbs_.empty()) return;
    p.setFont(theme.figures(10));
    p.setPen(theme.muted());
    p.drawText(QRect(left, 4, width() - left, 14), Qt::AlignLeft, QStringLiteral("head →"));
    const int c = cell();
    for (int row = 0; row < static_cast<int>(scene_.layers.size()); ++row) {
        const int block =
            scene_.shown.graph()->nodes[static_cast<size_t>(scene_.layers[static_cast<size_t>(row)])].block;
        p.setPen(theme.muted());
        if (c >= 12 || row % 2 == 0) {
            p.drawText(QRect(0, top + row * c, left - 6, c - 2), Qt::AlignRight | Qt::AlignVCenter,
                       QString::number(block));
        }
        for (int h = 0; h < heads_; ++h) {
            const QRect r = rect_of(row, h);
            const QImage& image = thumbs_[static_cast<size_t>(row * heads_ + h)];
            if (image.isNull()) {
                p.fillRect(r, theme.grid());
            } else {
                p.drawImage(r, image);
            }
            if (scene_.layers[static_cast<size_t>(row)] == scene_.layer && h == scene_.head) {
                p.setPen(QPen(theme.integer_colour(), 2));
                p.setBrush(Qt::NoBrush);
                p.drawRect(r.adjusted(-1, -1, 0, 0));
            }
        }
    }
}

void HeadGrid::mousePressEvent(QMouseEvent* e) {
    int row = 0, head = 0;
    if (e->button() != Qt::LeftButton || !at(e->pos(), &row, &head)) return;
    emit picked(scene_.layers[static_cast<size_t>(row)], head);
}

bool HeadGrid::event(QEvent* e) {
    if (e->type() != QEvent::ToolTip) return QWidget::event(e);
    const auto* help = static_cast<QHelpEvent*>(e);
    int row = 0, head = 0;
    if (at(help->pos(), &row, &head))
        QToolTip::showText(help->globalPos(), tip(row, head), this, rect_of(row, head));
    else
        QToolTip::hideText();
    return true;
}

QString HeadGrid::tip(int row, int head) const {
    const int node = scene_.layers[static_cast<size_t>(row)];
    QString text =
        QStringLiteral("%1, head %2")
            .arg(QString::fromStdString(scene_.shown.graph()->nodes[static_cast<size_t>(node)].name))
            .arg(head);
    const ivit::NodeError* error = Shown::cumulative(scene_.shown.comparison(), node);
    if (error && static_cast<size_t>(head) < error->kl_per_head.size())
        text += QStringLiteral("\nKL(softmax || Shiftmax), mean over rows: %1 nat")
                    .arg(numbers::significant(error->kl_per_head[static_cast<size_t>(head)]));
    return text;
}

void HeadGrid::resizeEvent(QResizeEvent* e) {
    QWidget::resizeEvent(e);
    if (e->oldSize().height() != e->size().height()) fit();
}
