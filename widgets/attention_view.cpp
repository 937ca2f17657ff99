// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/attention_view.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QStandardItemModel>
#include <QVBoxLayout>

#include "engine/describe.h"
#include "widgets/attention_panels.h"
#include "widgets/head_grid.h"
#include "widgets/metrics.h"
#include "widgets/picture_loader.h"

AttentionView::AttentionView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Attention"), selection, parent),
      grid_(new HeadGrid(scene_, this)),
      panels_(new AttentionPanels(scene_, this)),
      against_(new QComboBox),
      fusion_(new QComboBox),
      rollout_(new QCheckBox(QStringLiteral("Rollout"))),
      discard_(new QSlider(Qt::Horizontal)),
      discard_value_(new QLabel),
      title_(new ElidedLabel(Qt::ElideMiddle)) {
    auto* body = new QHBoxLayout;
    body->setSpacing(0);
    body->addWidget(grid_);
    body->addWidget(panels_, 1);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    layout->addLayout(make_bar());
    layout->addLayout(body, 1);
    connect(grid_, &HeadGrid::picked, this, [this](int node, int head) {
        this->selection().set_head(head);
        this->selection().set_node(node);
    });
    connect(panels_, &AttentionPanels::hovered, this, &AttentionView::set_hovered);
    // A second click on the same patch goes back to the class token.
    connect(panels_, &AttentionPanels::picked, this, [this](int token) {
        this->selection().set_token(token == this->selection().token() ? 0 : token);
        set_hovered(-1);
    });
    auto* copy = new QAction(QStringLiteral("Copy row as CSV"), this);
    connect(copy, &QAction::triggered, this, [this] { QGuiApplication::clipboard()->setText(to_csv()); });
    panels_->addAction(copy);
    refresh_bar();
    refresh_row();
}

QLayout* AttentionView::make_bar() {
    set_up_choices();
    auto* label = new QLabel(QStringLiteral("against"));
    label->setBuddy(against_);
    QHBoxLayout* const bar = new_bar();
    bar->addWidget(title_);
    bar->addStretch();
    bar->addWidget(label);
    bar->addWidget(against_);
    bar->addSpacing(4);
    bar->addWidget(rollout_);
    bar->addWidget(fusion_);
    bar->addWidget(discard_);
    bar->addWidget(discard_value_);
    bar->setStretchFactor(title_, 1);
    const auto again = [this] {
        refresh_bar();
        refresh_row();
    };
    connect(against_, &QComboBox::currentIndexChanged, this, again);
    connect(fusion_, &QComboBox::currentIndexChanged, this, again);
    connect(rollout_, &QCheckBox::toggled, this, again);
    connect(discard_, &QSlider::valueChanged, this, again);
    return bar;
}

void AttentionView::set_up_choices() {
    against_->addItems({QStringLiteral("softmax of the same logits"), QStringLiteral("the float network")});
    against_->setObjectName("against");
    against_->setAccessibleName(QStringLiteral("Compare Shiftmax with"));
    against_->setToolTip(QStringLiteral(
        "The same integer logits through the true softmax shows the operator's error alone; the "
        "float network's attention also shows what came before it."));
    rollout_->setObjectName("rollout");
    rollout_->setAccessibleName(rollout_->text());
    rollout_->setToolTip(metrics::define("rollout"));
    fusion_->addItems({QStringLiteral("mean"), QStringLiteral("max"), QStringLiteral("min")});
    fusion_->setAccessibleName(QStringLiteral("Rollout: how heads are fused"));
    fusion_->setToolTip(QStringLiteral("How the heads of a layer become one"));
    discard_->setRange(0, 95);
    discard_->setFixedWidth(80);
    discard_->setAccessibleName(QStringLiteral("Rollout: discard ratio"));
    discard_->setToolTip(QStringLiteral("Share of each layer's weakest attentions that are dropped"));
    discard_value_->setMinimumWidth(discard_value_->fontMetrics().horizontalAdvance("drop 95 %"));
}

void AttentionView::refresh_bar() {
    const bool on = rollout_->isChecked();
    fusion_->setVisible(on);
    discard_->setVisible(on);
    discard_value_->setVisible(on);
    against_->setEnabled(!on);
    discard_value_->setText(QStringLiteral("drop %1 %").arg(discard_->value()));
}

QWidget* AttentionView::canvas() { return panels_; }

void AttentionView::set_hovered(int token) {
    if (token == hovered_) return;
    hovered_ = token;
    refresh_row();
}

void AttentionView::flip() {
    scene_.flipped = !scene_.flipped;
    grid_->rebuild();
    panels_->update();
}

void AttentionView::show_difference() {
    scene_.difference_first = !scene_.difference_first;
    panels_->update();
}

void AttentionView::refresh() {
    scene_.shown = shown();
    const ivit::Graph* g = shown().graph();
    scene_.layers = g ? attention::layers(*g) : std::vector<int>();
    scene_.picture = {};
    scene_.patches = {};
    if (scene_.layers.empty()) {
        scene_.layer = -1;
    } else {
        scene_.picture = shown().picture.isNull() ? to_qimage(shown().current->request->pixels, g->image_size)
                                                  : shown().picture;
        // The selected node's block; a node outside of blocks keeps the layer there was.
        if (const ivit::Node* n = node(); n && n->block >= 0) {
            for (const int layer : scene_.layers) {
                if (g->nodes[static_cast<size_t>(layer)].block == n->block) scene_.layer = layer;
            }
        }
        if (std::find(scene_.layers.begin(), scene_.layers.end(), scene_.layer) == scene_.layers.end())
            scene_.layer = scene_.layers[scene_.layers.size() / 2];
        scene_.patches = attention::patch_grid(g->nodes[static_cast<size_t>(scene_.layer)].cols());
        const int heads = g->nodes[static_cast<size_t>(scene_.layer)].heads;
        if (selection().head() >= heads) return selection().set_head(heads - 1);
    }
    refresh_row();
    grid_->rebuild();
    grid_->fit();
}

void AttentionView::refresh_row() {
    scene_.head = selection().head();
    scene_.token = selection().token();
    scene_.shown_token = hovered_ >= 0 ? hovered_ : scene_.token;
    scene_.rollout = rollout_->isChecked();
    const bool float_network = shown().comparison() && shown().comparison()->float_trace;
    // Without it there is the softmax of the same logits alone.
    qobject_cast<QStandardItemModel*>(against_->model())->item(1)->setEnabled(float_network);
    scene_.same_logits = against_->currentIndex() == 0 || !float_network;
    scene_.integer_row.clear();
    scene_.float_row.clear();
    scene_.row_kl = 0;
    title_->set_text({});
    const ivit::Comparison* c = shown().comparison();
    if (c && c->integer_trace && scene_.layer >= 0) {
        const ivit::Node& layer = c->integer_trace->graph->nodes[static_cast<size_t>(scene_.layer)];
        const int token = static_cast<int>(std::min<int64_t>(scene_.shown_token, layer.cols() - 1));
        fill_rows(*c, token);
        // An integer of 0 stands for less than half a step.
        const ivit::Tap* tap = c->integer_trace->tap(scene_.layer);
        const double step = tap && !tap->integers.grid.scale.empty() ? tap->integers.grid.scale[0] : 1e-9;
        scene_.row_kl = attention::kl(scene_.float_row, scene_.integer_row, step / 2);
        const QString who = token < scene_.patches.first
                                ? QStringLiteral("class token")
                                : QStringLiteral("patch %1").arg(token - scene_.patches.first);
        const QString of_head = QStringLiteral("head %1, %2").arg(scene_.head).arg(who);
        if (scene_.rollout)
            title_->set_text(QStringLiteral("Rollout to the last layer, %1").arg(who), who);
        else
            title_->set_text(QString::fromStdString(layer.name) + QStringLiteral(", ") + of_head, of_head);
    }
    panels_->update();
}

// The row of `token`, of both networks: of one head, or of all layers rolled out.
void AttentionView::fill_rows(const ivit::Comparison& c, int token) {
    const ivit::Trace& integers = *c.integer_trace;
    if (scene_.rollout) {
        const auto fusion = static_cast<attention::Fusion>(fusion_->currentIndex());
        const double discard = discard_->value() / 100.0;
        scene_.integer_row = attention::rollout(integers, token, fusion, discard);
        if (c.float_trace) scene_.float_row = attention::rollout(*c.float_trace, token, fusion, discard);
        return;
    }
    scene_.integer_row = attention::row(integers, scene_.layer, scene_.head, token);
    if (c.model)
        scene_.integer_name = QString::fromLatin1(
            ivit::softmax_name(c.model->nodes[static_cast<size_t>(scene_.layer)]->quant.mode));
    if (scene_.same_logits)
        scene_.float_row = attention::softmax_of_logits(integers, scene_.layer, scene_.head, token);
    else if (c.float_trace)
        scene_.float_row = attention::row(*c.float_trace, scene_.layer, scene_.head, token);
}

QString AttentionView::to_csv() const {
    QString csv = QStringLiteral("token,integer,float\r\n");
    for (size_t i = 0; i < scene_.integer_row.size(); ++i) {
        csv +=
            QStringLiteral("%1,%2,%3\r\n")
                .arg(i)
                .arg(scene_.integer_row[i], 0, 'g', 9)
                .arg(i < scene_.float_row.size() ? QString::number(scene_.float_row[i], 'g', 9) : QString());
    }
    return csv;
}
