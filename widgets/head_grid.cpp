// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/head_grid.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

HeadGrid::HeadGrid(const AttentionScene& scene, QWidget* parent) : QWidget(parent), scene_(scene) {
    setObjectName("head_grid");
    setAccessibleName(QStringLiteral("Attention of every layer and head"));
    setMouseTracking(true);
    setMinimumWidth(96);
    exporting::offer_image(this, QStringLiteral("heads"));
}

void HeadGrid::rebuild() {
    thumbs_.clear();
    const ivit::Comparison* c = scene_.shown.comparison();
    heads_ = 0;
    if (c && c->integer_trace) {
        const ivit::Trace* trace =
            scene_.flipped && c->float_trace ? c->float_trace.get() : c->integer_trace.get();
        for (const int layer : scene_.layers) {
            const int heads = trace->graph->nodes[static_cast<size_t>(layer)].heads;
            heads_ = std::max(heads_, heads);
            for (int h = 0; h < heads; ++h) {
                const std::vector<double> row = attention::row(*trace, layer, h, scene_.token);
                if (row.empty() || scene_.patches.side == 0 ||
                    attention::patch_grid(static_cast<int64_t>(row.size())).side != scene_.patches.side) {
                    thumbs_.push_back({});
                } else {
                    thumbs_.push_back(attention::heat(row, scene_.patches, 0,
                                                      attention::greatest(row, scene_.patches.first),
                                                      Colormap::viridis()));
                }
            }
        }
    }
    // Every thumbnail square, the grid as wide as that makes it.
    updateGeometry();
    update();
}

int HeadGrid::cell() const {
    if (heads_ == 0 || scene_.layers.empty()) return 0;
    const int rows = static_cast<int>(scene_.layers.size());
    const int by_height = (height() - 34) / rows;
    const int by_width = (parentWidget()->width() * 2 / 5 - 30) / heads_;
    return std::clamp(std::min(by_height, by_width), 8, 60);
}

void HeadGrid::fit() {
    const int wanted = heads_ == 0 ? 0 : std::max(96, cell() * heads_ + 34);
    setFixedWidth(std::max(1, wanted));
    update();
}

QRect HeadGrid::rect_of(int row, int head) const {
    return {28 + head * cell(), 24 + row * cell(), cell() - 2, cell() - 2};
}

bool HeadGrid::at(const QPoint& p, int* row, int* head) const {
    const int c = cell();
    if (c == 0 || p.x() < 28 || p.y() < 24) return false;
    *head = (p.x() - 28) / c;
    *row = (p.y() - 24) / c;
    return *head < heads_ && *row < static_cast<int>(scene_.layers.size());
}

void HeadGrid::paintEvent(QPaintEvent*) {
    const Theme& theme = Theme::instance();
    QPainter p(this);
    p.fillRect(rect(), palette().color(QPalette::Base));
    if (thumbs_.empty()) return;
    p.setFont(theme.figures(10));
    p.setPen(theme.muted());
    p.drawText(QRect(28, 4, width() - 28, 14), Qt::AlignLeft, QStringLiteral("head →"));
    const int c = cell();
    for (int row = 0; row < static_cast<int>(scene_.layers.size()); ++row) {
        const int block =
            scene_.shown.graph()->nodes[static_cast<size_t>(scene_.layers[static_cast<size_t>(row)])].block;
        p.setPen(theme.muted());
        if (c >= 12 || row % 2 == 0) {
            p.drawText(QRect(0, 24 + row * c, 22, c - 2), Qt::AlignRight | Qt::AlignVCenter,
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
    if (e->type() == QEvent::ToolTip) {
        int row = 0, head = 0;
        const auto* help = static_cast<QHelpEvent*>(e);
        if (at(help->pos(), &row, &head)) {
            const int node = scene_.layers[static_cast<size_t>(row)];
            QString text =
                QStringLiteral("%1, head %2")
                    .arg(QString::fromStdString(scene_.shown.graph()->nodes[static_cast<size_t>(node)].name))
                    .arg(head);
            const ivit::NodeError* error = Shown::cumulative(scene_.shown.comparison(), node);
            if (error && static_cast<size_t>(head) < error->kl_per_head.size()) {
                text += QStringLiteral("\nKL(softmax || Shiftmax), mean over rows: %1 nat")
                            .arg(numbers::significant(error->kl_per_head[static_cast<size_t>(head)]));
            }
            QToolTip::showText(help->globalPos(), text, this, rect_of(row, head));
        } else {
            QToolTip::hideText();
        }
        return true;
    }
    return QWidget::event(e);
}

void HeadGrid::resizeEvent(QResizeEvent* e) {
    QWidget::resizeEvent(e);
    if (e->oldSize().height() != e->size().height()) fit();
}
