// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/quantization_view.h"

#include <QComboBox>
#include <QFileDialog>
#include <QGridLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QScrollBar>
#include <QSettings>
#include <QShortcut>
#include <QSlider>
#include <QVBoxLayout>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/safetensors.h"
#include "widgets/choice_delegate.h"
#include "widgets/config_edit.h"
#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/operator_controls.h"

namespace {

constexpr OperatorControls::Operator operators[] = {
    {ivit::Op::softmax, &ivit::QuantConfig::shiftmax, "Shiftmax", "shiftmax"},
    {ivit::Op::gelu, &ivit::QuantConfig::shiftgelu, "ShiftGELU", "shiftgelu"},
    {ivit::Op::layernorm, nullptr, "I-LayerNorm", ""}};

// The network's widths, two to a row.
struct Width {
    const char *label, *name;
    const char* object_name;
    const char* definition;  // in metrics.h
    const char* change;      // in the history
    int most, least;         // bits
    int ivit::QuantConfig::*bits;
};
constexpr Width widths[] = {{"Weights", "Weight bits of the network", "weight_bits", "weight",
                             "weights %1 bits", 8, 2, &ivit::QuantConfig::weight_bits},
                            {"Activations", "Activation bits of the network", "activation_bits", "activation",
                             "activations %1 bits", 8, 4, &ivit::QuantConfig::act_bits},
                            {"Residual", "Residual stream bits", "residual_bits", "residual",
                             "residual stream %1 bits", 16, 8, &ivit::QuantConfig::residual_bits},
                            {"Logits", "Attention logits bits", "logits_bits", "logits",
                             "attention logits %1 bits", 16, 4, &ivit::QuantConfig::logits_bits}};

const QStringList presets = {"refined", "paper"};

QLabel* heading(const QString& text) {
    auto* label = new QLabel(text);
    QFont f = label->font();
    f.setBold(true);
    label->setFont(f);
    return label;
}

QLayout* headed(const QString& text, QWidget* at_right) {
    auto* row = new QHBoxLayout;
    row->addWidget(heading(text));
    row->addStretch();
    row->addWidget(at_right);
    return row;
}

void choose(QComboBox* box, int value) { box->setCurrentIndex(box->findData(value)); }

}  // namespace

QuantizationView::QuantizationView(Workbench& bench, QWidget* parent)
    : QWidget(parent),
      bench_(bench),
      scroll_(new QScrollArea),
      tree_(new QTreeView),
      preset_(new QComboBox),
      clear_(new QPushButton(QStringLiteral("Clear overrides"))) {
    setAccessibleName(QStringLiteral("Quantization"));
    set_up_preset();
    set_up_clear();
    set_up_tree();
    auto* content = new QWidget;
    auto* column = new QVBoxLayout(content);
    column->setContentsMargins(12, 8, 12, 8);
    column->setSpacing(6);
    column->addWidget(heading(QStringLiteral("Network")));
    column->addLayout(make_widths());
    column->addLayout(headed(QStringLiteral("Operators"), preset_));
    for (const OperatorControls::Operator& o : operators) {
        operators_.push_back(new OperatorControls(bench_, o));
        column->addWidget(operators_.back());
    }
    column->addLayout(headed(QStringLiteral("Blocks and nodes"), clear_));
    column->addWidget(tree_, 1);
    scroll(content);
    follow_selection();
    connect(&bench, &Workbench::settings_changed, this, &QuantizationView::refresh);
    connect(&bench, &Workbench::model_changed, this, &QuantizationView::refresh);
    refresh();
}

QLayout* QuantizationView::make_widths() {
    auto* grid = new QGridLayout;
    grid->setHorizontalSpacing(8);
    grid->setVerticalSpacing(4);
    for (const Width& w : widths) {
        auto* box = new QComboBox;
        for (int b = w.most; b >= w.least; --b) box->addItem(QString::number(b), b);
        box->setObjectName(w.object_name);
        box->setAccessibleName(w.name);
        box->setToolTip(metrics::define(w.definition));
        auto* label = new QLabel(w.label);
        label->setBuddy(box);
        label->setToolTip(box->toolTip());
        const int i = static_cast<int>(widths_.size()), row = i / 2, column = i % 2 * 2;
        grid->addWidget(label, row, column);
        grid->addWidget(box, row, column + 1);
        widths_.push_back(box);
        connect(box, &QComboBox::activated, this, [this, box, w] {
            ivit::QuantConfig c = bench_.settings().config;
            c.*w.bits = box->currentData().toInt();
            bench_.change_config(c, QString(w.change).arg(box->currentText()));
        });
    }
    grid->setColumnStretch(1, 1);
    grid->setColumnStretch(3, 1);
    return grid;
}

void QuantizationView::set_up_preset() {
    preset_->addItems(presets);
    preset_->setObjectName("operator_preset");
    preset_->setAccessibleName(QStringLiteral("Operator preset"));
    preset_->setToolTip(QStringLiteral(
        "paper: as I-ViT publishes them. refined: the pre-shift, the wider division and the zero "
        "pivot that keep small values (engine/arithmetic.md, Presets)."));
    connect(preset_, &QComboBox::activated, this, [this](int i) {
        if (i >= presets.size()) return;  // "refined, changed": as it is
        ivit::QuantConfig c = bench_.settings().config;
        c.set_preset(preset_->currentText().toStdString());
        bench_.change_config(c, QStringLiteral("preset %1").arg(preset_->currentText()));
    });
}

void QuantizationView::set_up_clear() {
    clear_->setToolTip(QStringLiteral("Every block and node as the network says; can be undone"));
    clear_->setAccessibleName(clear_->text());
    connect(clear_, &QPushButton::clicked, this, [this] {
        ivit::QuantConfig c = bench_.settings().config;
        c.rules.clear();
        bench_.change_config(c, QStringLiteral("clear overrides"));
    });
}

void QuantizationView::set_up_tree() {
    tree_->setModel(&model_);
    tree_->setObjectName("quantization_tree");
    tree_->setAccessibleName(QStringLiteral("Bit-widths and operators by block and node"));
    tree_->setToolTip(
        QStringLiteral("A click on a bit-width or an operator changes it for that block or node; bold: it "
                       "differs from what is above it"));
    tree_->setUniformRowHeights(true);
    tree_->setAlternatingRowColors(true);
    tree_->setIndentation(14);
    tree_->setMinimumHeight(150);
    tree_->setFrameShape(QFrame::NoFrame);
    exporting::offer_csv(tree_, QStringLiteral("quantization"));

    tree_->setItemDelegate(new ChoiceDelegate(tree_));
    tree_->setEditTriggers(QAbstractItemView::SelectedClicked | QAbstractItemView::DoubleClicked |
                           QAbstractItemView::EditKeyPressed);
    auto* edit = new QShortcut(QKeySequence(Qt::Key_Return), tree_, nullptr, nullptr, Qt::WidgetShortcut);
    connect(edit, &QShortcut::activated, tree_, [this] {
        if (tree_->currentIndex().flags() & Qt::ItemIsEditable) tree_->edit(tree_->currentIndex());
    });
    connect(&model_, &QuantTreeModel::config_wanted, this,
            [this](const ivit::QuantConfig& c, const QString& what) { bench_.change_config(c, what); });

    QHeaderView* header = tree_->header();
    header->setStretchLastSection(false);
    header->setMinimumSectionSize(30);
    header->setSectionResizeMode(QHeaderView::Fixed);
    header->setSectionResizeMode(QuantTreeModel::name_column, QHeaderView::Stretch);
    // As narrow as their longest words: the names want the room.
    const auto width = [this](const char* word) { return tree_->fontMetrics().horizontalAdvance(word) + 12; };
    header->resizeSection(QuantTreeModel::weight_column, width("mixed"));
    header->resizeSection(QuantTreeModel::activation_column, width("mixed"));
    header->resizeSection(QuantTreeModel::mode_column, width("operator"));
}

void QuantizationView::scroll(QWidget* content) {
    scroll_->setWidget(content);
    scroll_->setWidgetResizable(true);
    scroll_->setFrameShape(QFrame::NoFrame);
    scroll_->setAccessibleName(QStringLiteral("Quantization"));
    scroll_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(scroll_);
    auto* no_wheel = new NoWheel(this);
    for (QWidget* w : content->findChildren<QWidget*>()) {
        if (!qobject_cast<QComboBox*>(w) && !qobject_cast<QSlider*>(w)) continue;
        w->setFocusPolicy(Qt::StrongFocus);
        w->installEventFilter(no_wheel);
    }
}

void QuantizationView::follow_selection() {
    connect(tree_->selectionModel(), &QItemSelectionModel::currentChanged, this,
            [this](const QModelIndex& now) {
                const int node = model_.node_of(now);
                if (node >= 0) bench_.selection().set_node(node);
            });
    connect(&bench_.selection(), &Selection::node_changed, this, [this] {
        const QModelIndex i = model_.index_of_node(bench_.selection().node());
        if (!i.isValid() || model_.node_of(tree_->currentIndex()) == bench_.selection().node()) return;
        // Marks the node; opens no block for it, since walking through the table would open them all.
        if (!i.parent().isValid() || tree_->isExpanded(i.parent())) tree_->setCurrentIndex(i);
    });
}

QSize QuantizationView::minimumSizeHint() const {
    const int bar = scroll_->verticalScrollBar()->sizeHint().width();
    return {scroll_->widget()->minimumSizeHint().width() + bar, QWidget::minimumSizeHint().height()};
}

void QuantizationView::refresh() {
    const ivit::QuantConfig& c = bench_.settings().config;
    const bool editable = bench_.model() && !bench_.quantized();
    model_.set_state(bench_.model()       ? bench_.model()->graph
                     : bench_.quantized() ? bench_.quantized()->graph
                                          : nullptr,
                     c, !editable);
    for (size_t i = 0; i < widths_.size(); ++i) {
        choose(widths_[i], c.*widths[i].bits);
        widths_[i]->setEnabled(editable);
    }
    show_preset(c);
    preset_->setEnabled(editable);
    for (OperatorControls* o : operators_) o->refresh(editable);
    clear_->setEnabled(editable && !c.rules.empty());
}

// A preset whose sliders have been moved is none any more, and says so.
void QuantizationView::show_preset(const ivit::QuantConfig& c) {
    ivit::QuantConfig pristine;
    pristine.set_preset(c.preset);
    pristine.shiftmax.k = c.shiftmax.k;  // a bit-width, which no preset changes
    const bool touched = !(pristine.shiftmax == c.shiftmax && pristine.shiftgelu == c.shiftgelu);
    while (preset_->count() > presets.size()) preset_->removeItem(preset_->count() - 1);
    if (touched) {
        preset_->addItem(QStringLiteral("%1, changed").arg(QString::fromStdString(c.preset)));
        preset_->setCurrentIndex(preset_->count() - 1);
    } else {
        preset_->setCurrentText(QString::fromStdString(c.preset));
    }
}

void QuantizationView::save_config() {
    const QString file = exporting::ask_for_file(
        this, QStringLiteral("Save configuration"),
        QString::fromStdString(config_edit::widths(bench_.settings().config)).replace('/', '_'),
        {QStringLiteral("JSON (*.json)")}, QStringLiteral("config/folder"));
    if (file.isEmpty()) return;
    try {
        const std::string text = bench_.settings().config.to_json().dump(2) + "\n";
        ivit::write_atomically(file.toStdString(), std::as_bytes(std::span(text.data(), text.size())));
        bench_.say(QStringLiteral("Saved %1").arg(QFileInfo(file).fileName()));
    } catch (const std::exception& e) {
        bench_.say(QString::fromUtf8(e.what()), true);
    }
}

void QuantizationView::load_config() {
    QSettings settings;
    const QString file = QFileDialog::getOpenFileName(
        window(), QStringLiteral("Load configuration"),
        settings.value("config/folder", QDir::homePath()).toString(), QStringLiteral("JSON (*.json)"));
    if (!file.isEmpty()) load_config(file);
}

bool QuantizationView::load_config(const QString& file) {
    try {
        const ivit::QuantConfig c = ivit::QuantConfig::from_spec(file.toStdString());
        bench_.change_config(c, QStringLiteral("load %1").arg(QFileInfo(file).fileName()));
        return true;
    } catch (const std::exception& e) {
        bench_.say(QString::fromUtf8(e.what()), true);
        return false;
    }
}
