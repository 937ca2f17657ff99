// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_view.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/colormap.h"
#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/picture_loader.h"
#include "widgets/theme.h"

namespace {

const Colormap& signed_map() {
    return Theme::instance().dark() ? Colormap::diverging_dark() : Colormap::diverging();
}

// The patches' share of a row, as a side x side image.
QImage heat(const std::vector<double>& row, const attention::PatchGrid& g, double low, double high,
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

}  // namespace

// All layers by all heads, small: where the selected token looks.
class HeadGrid : public QWidget {
  public:
    explicit HeadGrid(AttentionView& view) : view_(view) {
        setObjectName("head_grid");
        setAccessibleName(QStringLiteral("Attention of every layer and head"));
        setMouseTracking(true);
        setMinimumWidth(96);
        exporting::offer_image(this, QStringLiteral("heads"));
    }
    void rebuild() {
        thumbs_.clear();
        const ivit::Comparison* c = view_.shown().comparison();
        heads_ = 0;
        if (c && c->integer_trace) {
            const ivit::Trace* trace =
                view_.flipped_ && c->float_trace ? c->float_trace.get() : c->integer_trace.get();
            for (const int layer : view_.layers_) {
                const int heads = trace->graph->nodes[static_cast<size_t>(layer)].heads;
                heads_ = std::max(heads_, heads);
                for (int h = 0; h < heads; ++h) {
                    const std::vector<double> row =
                        attention::row(*trace, layer, h, view_.selection().token());
                    if (row.empty() || view_.patches_.side == 0 ||
                        attention::patch_grid(static_cast<int64_t>(row.size())).side != view_.patches_.side) {
                        thumbs_.push_back({});
                    } else {
                        thumbs_.push_back(heat(row, view_.patches_, 0, greatest(row, view_.patches_.first),
                                               Colormap::viridis()));
                    }
                }
            }
        }
        // Every thumbnail square, the grid as wide as that makes it.
        updateGeometry();
        update();
    }
    int cell() const {
        if (heads_ == 0 || view_.layers_.empty()) return 0;
        const int rows = static_cast<int>(view_.layers_.size());
        const int by_height = (height() - 34) / rows;
        const int by_width = (view_.width() * 2 / 5 - 30) / heads_;
        return std::clamp(std::min(by_height, by_width), 8, 60);
    }
    void fit() {
        const int wanted = heads_ == 0 ? 0 : std::max(96, cell() * heads_ + 34);
        setFixedWidth(std::max(1, wanted));
        update();
    }

  protected:
    QRect rect_of(int row, int head) const {
        return {28 + head * cell(), 24 + row * cell(), cell() - 2, cell() - 2};
    }
    bool at(const QPoint& p, int* row, int* head) const {
        const int c = cell();
        if (c == 0 || p.x() < 28 || p.y() < 24) return false;
        *head = (p.x() - 28) / c;
        *row = (p.y() - 24) / c;
        return *head < heads_ && *row < static_cast<int>(view_.layers_.size());
    }
    void paintEvent(QPaintEvent*) override {
        const Theme& theme = Theme::instance();
        QPainter p(this);
        p.fillRect(rect(), palette().color(QPalette::Base));
        if (thumbs_.empty()) return;
        p.setFont(theme.figures(10));
        p.setPen(theme.muted());
        p.drawText(QRect(28, 4, width() - 28, 14), Qt::AlignLeft, QStringLiteral("head →"));
        const int c = cell();
        for (int row = 0; row < static_cast<int>(view_.layers_.size()); ++row) {
            const int block = view_.shown()
                                  .graph()
                                  ->nodes[static_cast<size_t>(view_.layers_[static_cast<size_t>(row)])]
                                  .block;
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
                if (view_.layers_[static_cast<size_t>(row)] == view_.layer_ &&
                    h == view_.selection().head()) {
                    p.setPen(QPen(theme.integer_colour(), 2));
                    p.setBrush(Qt::NoBrush);
                    p.drawRect(r.adjusted(-1, -1, 0, 0));
                }
            }
        }
    }
    void mousePressEvent(QMouseEvent* e) override {
        int row = 0, head = 0;
        if (e->button() != Qt::LeftButton || !at(e->pos(), &row, &head)) return;
        view_.selection().set_head(head);
        view_.selection().set_node(view_.layers_[static_cast<size_t>(row)]);
    }
    bool event(QEvent* e) override {
        if (e->type() == QEvent::ToolTip) {
            int row = 0, head = 0;
            const auto* help = static_cast<QHelpEvent*>(e);
            if (at(help->pos(), &row, &head)) {
                const int node = view_.layers_[static_cast<size_t>(row)];
                QString text = QStringLiteral("%1, head %2")
                                   .arg(QString::fromStdString(
                                       view_.shown().graph()->nodes[static_cast<size_t>(node)].name))
                                   .arg(head);
                const ivit::NodeError* error = Shown::cumulative(view_.shown().comparison(), node);
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
    void resizeEvent(QResizeEvent* e) override {
        QWidget::resizeEvent(e);
        if (e->oldSize().height() != e->size().height()) fit();
    }

  private:
    AttentionView& view_;
    std::vector<QImage> thumbs_;
    int heads_ = 0;
};

// Shiftmax, softmax and their signed difference over the picture, on one colour scale.
class AttentionPanels : public QWidget {
  public:
    explicit AttentionPanels(AttentionView& view) : view_(view) {
        setObjectName("attention_panels");
        setAccessibleName(QStringLiteral("Attention over the picture: integer, float, difference"));
        setMouseTracking(true);
        setMinimumSize(260, 160);
        exporting::offer_image(this, QStringLiteral("attention"));
    }

  protected:
    // Its name stands above a panel, its figures under it.
    static constexpr int heading = 19, figures = 19, caption = heading + figures, gap = 12, legend = 34;

    struct Panel {
        QRect picture;
        int kind;  // 0 integer, 1 float, 2 difference
    };
    // Side by side, or one large and two small: whichever shows more.
    std::vector<Panel> panels() const {
        int order[3] = {0, 1, 2};
        if (view_.flipped_) std::swap(order[0], order[1]);
        if (view_.difference_first_) {
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
    int token_at(const QPoint& p) const {
        if (view_.patches_.side == 0) return -1;
        for (const Panel& panel : panels()) {
            if (!panel.picture.contains(p)) continue;
            const int x = (p.x() - panel.picture.x()) * view_.patches_.side / panel.picture.width();
            const int y = (p.y() - panel.picture.y()) * view_.patches_.side / panel.picture.height();
            return view_.patches_.first + y * view_.patches_.side + x;
        }
        return -1;
    }
    void paintEvent(QPaintEvent*) override {
        const Theme& theme = Theme::instance();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.fillRect(rect(), palette().color(QPalette::Base));
        const std::vector<double>&a = view_.integer_row_, &b = view_.float_row_;
        if (a.empty() || view_.patches_.side == 0) {
            p.setPen(theme.muted());
            p.drawText(rect().adjusted(20, 0, -20, 0), Qt::AlignCenter | Qt::TextWordWrap,
                       view_.shown().graph()
                           ? QStringLiteral("This network has no square of patches to lay over the picture.")
                           : view_.shown().invitation(QStringLiteral("to see where each head looks.")));
            return;
        }
        const attention::PatchGrid& g = view_.patches_;
        std::vector<double> difference(a.size(), 0.0);
        if (!b.empty()) {
            for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
        }
        // One scale for both; the difference's own beside it, symmetric about zero.
        const double most = std::max({greatest(a, g.first), b.empty() ? 0 : greatest(b, g.first), 1e-12});
        const double most_difference = std::max(greatest(difference, g.first), 1e-12);
        const bool rollout = view_.rollout_->isChecked();
        const int token = view_.shown_token();
        for (const Panel& panel : panels()) {
            if (panel.kind != 0 && b.empty()) continue;
            const std::vector<double>& row = panel.kind == 0 ? a : panel.kind == 1 ? b : difference;
            const QRect r = panel.picture;
            p.drawImage(r, view_.picture_);
            QImage map = panel.kind == 2 ? heat(row, g, -most_difference, most_difference, signed_map())
                                         : heat(row, g, 0, most, Colormap::viridis());
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
            const bool same_logits = view_.against_->currentIndex() == 0;
            const QString title =
                panel.kind == 0   ? (rollout ? QStringLiteral("integer rollout") : QStringLiteral("Shiftmax"))
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
                under << (panel.kind == 1
                              ? QStringLiteral("KL 0")
                              : QStringLiteral("KL %1 nat").arg(numbers::significant(view_.row_kl_)));
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
            while (under.size() > 1 &&
                   fm.horizontalAdvance(under.join(QStringLiteral(" · "))) > r.width() + gap - 4)
                under.removeLast();
            p.setPen(theme.muted());
            p.drawText(QRect(r.x(), r.bottom() + 4, r.width() + gap, 16), Qt::AlignLeft | Qt::AlignVCenter,
                       under.join(QStringLiteral(" · ")));
        }
        draw_legend(p, most, most_difference);
    }
    void draw_legend(QPainter& p, double most, double most_difference) {
        const Theme& theme = Theme::instance();
        p.setFont(theme.figures(11));
        const QFontMetrics fm(p.font());
        const int y = height() - legend + 12, bar = std::clamp(width() / 5, 50, 160);
        int x = gap;
        const auto scale = [&](const Colormap& map, const QString& low, const QString& high,
                               const QString& unit) {
            p.setPen(theme.muted());
            p.drawText(x, y + 9, low);
            x += fm.horizontalAdvance(low) + 5;
            QImage line(Colormap::size, 1, QImage::Format_RGB32);
            for (int i = 0; i < Colormap::size; ++i) line.setPixel(i, 0, map.at(i / (Colormap::size - 1.0)));
            p.drawImage(QRect(x, y, bar, 10), line);
            x += bar + 5;
            p.drawText(x, y + 9, high + unit);
            x += fm.horizontalAdvance(high + unit) + 24;
        };
        scale(Colormap::viridis(), QStringLiteral("0"), numbers::significant(most),
              QStringLiteral(" attention"));
        if (!view_.float_row_.empty()) {
            scale(signed_map(), QChar(0x2212) + numbers::significant(most_difference),
                  QStringLiteral("+") + numbers::significant(most_difference),
                  QStringLiteral(" integer − float"));
        }
    }
    void mouseMoveEvent(QMouseEvent* e) override { view_.set_hovered(token_at(e->pos())); }
    void leaveEvent(QEvent*) override { view_.set_hovered(-1); }
    void mousePressEvent(QMouseEvent* e) override {
        const int token = token_at(e->pos());
        // A second click on the same patch goes back to the class token.
        if (e->button() == Qt::LeftButton && token >= 0) {
            view_.selection().set_token(token == view_.selection().token() ? 0 : token);
            view_.set_hovered(-1);
        }
    }
    bool event(QEvent* e) override {
        if (e->type() == QEvent::ToolTip) {
            const auto* help = static_cast<QHelpEvent*>(e);
            const int token = token_at(help->pos());
            if (token < 0 || view_.integer_row_.empty()) {
                QToolTip::hideText();
            } else {
                QToolTip::showText(
                    help->globalPos(),
                    QStringLiteral(
                        "Patch %1: hover or click for its row; click again for the class token.\nKL: %2\nRow "
                        "sum: %3\nTop-5: %4")
                        .arg(token - view_.patches_.first)
                        .arg(metrics::define("kl_attention"), metrics::define("row_sum"),
                             metrics::define("top_overlap")),
                    this);
            }
            return true;
        }
        return QWidget::event(e);
    }

  private:
    AttentionView& view_;
};

AttentionView::AttentionView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Attention"), selection, parent),
      grid_(new HeadGrid(*this)),
      panels_(new AttentionPanels(*this)),
      against_(new QComboBox),
      fusion_(new QComboBox),
      rollout_(new QCheckBox(QStringLiteral("Rollout"))),
      discard_(new QSlider(Qt::Horizontal)),
      discard_value_(new QLabel),
      title_(new ElidedLabel(Qt::ElideMiddle)) {
    against_->addItem(QStringLiteral("softmax of the same logits"));
    against_->addItem(QStringLiteral("the float network"));
    against_->setAccessibleName(QStringLiteral("Compare Shiftmax with"));
    against_->setToolTip(QStringLiteral(
        "The same integer logits through the true softmax shows the operator's error alone; the "
        "float network's attention also shows what came before it."));
    rollout_->setToolTip(metrics::define("rollout"));
    rollout_->setAccessibleName(rollout_->text());
    rollout_->setObjectName("rollout");
    against_->setObjectName("against");
    fusion_->addItems({QStringLiteral("mean"), QStringLiteral("max"), QStringLiteral("min")});
    fusion_->setAccessibleName(QStringLiteral("Rollout: how heads are fused"));
    fusion_->setToolTip(QStringLiteral("How the heads of a layer become one"));
    discard_->setRange(0, 95);
    discard_->setFixedWidth(80);
    discard_->setAccessibleName(QStringLiteral("Rollout: discard ratio"));
    discard_->setToolTip(QStringLiteral("Share of each layer's weakest attentions that are dropped"));
    auto* bar = new QHBoxLayout;
    bar->setContentsMargins(8, 4, 8, 4);
    bar->addWidget(title_);
    bar->addStretch();
    auto* label = new QLabel(QStringLiteral("against"));
    label->setBuddy(against_);
    bar->addWidget(label);
    bar->addWidget(against_);
    bar->addSpacing(8);
    bar->addWidget(rollout_);
    bar->addWidget(fusion_);
    bar->addWidget(discard_);
    bar->addWidget(discard_value_);
    discard_value_->setMinimumWidth(discard_value_->fontMetrics().horizontalAdvance("drop 95 %"));
    bar->setStretchFactor(title_, 1);
    auto* body = new QHBoxLayout;
    body->setSpacing(0);
    body->addWidget(grid_);
    body->addWidget(panels_, 1);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    layout->addLayout(bar);
    layout->addLayout(body, 1);
    const auto again = [this] {
        const bool on = rollout_->isChecked();
        fusion_->setVisible(on);
        discard_->setVisible(on);
        discard_value_->setVisible(on);
        against_->setEnabled(!on);
        discard_value_->setText(QStringLiteral("drop %1 %").arg(discard_->value()));
        refresh_row();
    };
    connect(against_, &QComboBox::currentIndexChanged, this, again);
    connect(fusion_, &QComboBox::currentIndexChanged, this, again);
    connect(rollout_, &QCheckBox::toggled, this, again);
    connect(discard_, &QSlider::valueChanged, this, again);
    again();
    auto* copy = new QAction(QStringLiteral("Copy row as CSV"), this);
    connect(copy, &QAction::triggered, this, [this] { QGuiApplication::clipboard()->setText(to_csv()); });
    panels_->addAction(copy);
}

QWidget* AttentionView::canvas() { return panels_; }

int AttentionView::shown_token() const {
    return hovered_ >= 0 ? hovered_ : const_cast<AttentionView*>(this)->selection().token();
}

void AttentionView::set_hovered(int token) {
    if (token == hovered_) return;
    hovered_ = token;
    refresh_row();
}

void AttentionView::flip() {
    flipped_ = !flipped_;
    grid_->rebuild();
    panels_->update();
}

void AttentionView::show_difference() {
    difference_first_ = !difference_first_;
    panels_->update();
}

void AttentionView::refresh() {
    const ivit::Graph* g = shown().graph();
    layers_ = g ? attention::layers(*g) : std::vector<int>();
    picture_ = {};
    patches_ = {};
    if (layers_.empty()) {
        layer_ = -1;
    } else {
        picture_ = shown().picture.isNull() ? to_qimage(shown().current->request->pixels, g->image_size)
                                            : shown().picture;
        // The selected node's block; a node outside of blocks keeps the layer there was.
        if (const ivit::Node* n = node(); n && n->block >= 0) {
            for (const int layer : layers_) {
                if (g->nodes[static_cast<size_t>(layer)].block == n->block) layer_ = layer;
            }
        }
        if (std::find(layers_.begin(), layers_.end(), layer_) == layers_.end())
            layer_ = layers_[layers_.size() / 2];
        patches_ = attention::patch_grid(g->nodes[static_cast<size_t>(layer_)].cols());
        const int heads = g->nodes[static_cast<size_t>(layer_)].heads;
        if (selection().head() >= heads) return selection().set_head(heads - 1);
    }
    grid_->rebuild();
    grid_->fit();
    refresh_row();
}

void AttentionView::refresh_row() {
    integer_row_.clear();
    float_row_.clear();
    row_kl_ = 0;
    title_->set_text({});
    const ivit::Comparison* c = shown().comparison();
    if (c && c->integer_trace && layer_ >= 0) {
        const int head = selection().head();
        const int64_t tokens = c->integer_trace->graph->nodes[static_cast<size_t>(layer_)].cols();
        const int token = static_cast<int>(std::min<int64_t>(shown_token(), tokens - 1));
        if (rollout_->isChecked()) {
            const auto fusion = static_cast<attention::Fusion>(fusion_->currentIndex());
            integer_row_ = attention::rollout(*c->integer_trace, token, fusion, discard_->value() / 100.0);
            if (c->float_trace)
                float_row_ = attention::rollout(*c->float_trace, token, fusion, discard_->value() / 100.0);
        } else {
            integer_row_ = attention::row(*c->integer_trace, layer_, head, token);
            if (against_->currentIndex() == 0) {
                float_row_ = attention::softmax_of_logits(*c->integer_trace, layer_, head, token);
            } else if (c->float_trace) {
                float_row_ = attention::row(*c->float_trace, layer_, head, token);
            }
        }
        const ivit::Tap* tap = c->integer_trace->tap(layer_);
        const double step = tap && !tap->integers.grid.scale.empty() ? tap->integers.grid.scale[0] : 1e-9;
        row_kl_ = attention::kl(float_row_, integer_row_, step / 2);
        const QString who = token < patches_.first ? QStringLiteral("class token")
                                                   : QStringLiteral("patch %1").arg(token - patches_.first);
        title_->set_text(rollout_->isChecked()
                             ? QStringLiteral("Rollout to the last layer, %1").arg(who)
                             : QStringLiteral("%1, head %2, %3")
                                   .arg(QString::fromStdString(
                                       c->integer_trace->graph->nodes[static_cast<size_t>(layer_)].name))
                                   .arg(head)
                                   .arg(who));
    }
    panels_->update();
}

QString AttentionView::to_csv() const {
    QString csv = QStringLiteral("token,integer,float\r\n");
    for (size_t i = 0; i < integer_row_.size(); ++i) {
        csv += QStringLiteral("%1,%2,%3\r\n")
                   .arg(i)
                   .arg(integer_row_[i], 0, 'g', 9)
                   .arg(i < float_row_.size() ? float_row_[i] : 0.0, 0, 'g', 9);
    }
    return csv;
}
