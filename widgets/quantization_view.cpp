// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/quantization_view.h"

#include <QFileDialog>
#include <QGridLayout>
#include <QHeaderView>
#include <QScrollArea>
#include <QScrollBar>
#include <QSettings>
#include <QShortcut>
#include <QToolButton>
#include <QVBoxLayout>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/safetensors.h"
#include "widgets/choice_delegate.h"
#include "widgets/config_edit.h"
#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/theme.h"

namespace {

QComboBox* widths(int from, int to, const QString& name, const char* definition) {
    auto* box = new QComboBox;
    for (int b = from; b >= to; --b) box->addItem(QString::number(b), b);
    box->setAccessibleName(name);
    box->setToolTip(metrics::define(definition));
    return box;
}

QLabel* heading(const QString& text) {
    auto* label = new QLabel(text);
    QFont f = label->font();
    f.setBold(true);
    label->setFont(f);
    return label;
}

}  // namespace

QuantizationView::QuantizationView(Workbench& bench, QWidget* parent)
    : QWidget(parent),
      bench_(bench),
      tree_(new QTreeView),
      weights_(widths(8, 2, "Weight bits of the network", "weight")),
      activations_(widths(8, 4, "Activation bits of the network", "activation")),
      residual_(widths(16, 8, "Residual stream bits", "residual")),
      logits_(new QComboBox),
      preset_(new QComboBox),
      clear_(new QPushButton(QStringLiteral("Clear overrides"))) {
    setAccessibleName(QStringLiteral("Quantization"));
    weights_->setObjectName("weight_bits");
    activations_->setObjectName("activation_bits");

    auto* content = new QWidget;
    auto* column = new QVBoxLayout(content);
    column->setContentsMargins(12, 8, 12, 8);
    column->setSpacing(6);

    column->addWidget(heading(QStringLiteral("Network")));
    auto* network = new QGridLayout;
    network->setHorizontalSpacing(8);
    network->setVerticalSpacing(4);
    const auto put = [&](int row, int col, const QString& text, QWidget* box) {
        auto* label = new QLabel(text);
        label->setBuddy(box);
        label->setToolTip(box->toolTip());
        network->addWidget(label, row, col * 2);
        network->addWidget(box, row, col * 2 + 1);
    };
    for (int b = 16; b >= 4; --b) logits_->addItem(QString::number(b), b);
    logits_->setAccessibleName(QStringLiteral("Attention logits bits"));
    logits_->setToolTip(
        QStringLiteral("Bits of the attention logits that Shiftmax reads, 4 to 16. 8 by default, whatever "
                       "the activations have."));
    logits_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    logits_->setMinimumContentsLength(2);
    put(0, 0, QStringLiteral("Weights"), weights_);
    put(0, 1, QStringLiteral("Activations"), activations_);
    put(1, 0, QStringLiteral("Residual"), residual_);
    put(1, 1, QStringLiteral("Logits"), logits_);
    network->setColumnStretch(1, 1);
    network->setColumnStretch(3, 1);
    column->addLayout(network);

    auto* operators_row = new QHBoxLayout;
    operators_row->addWidget(heading(QStringLiteral("Operators")));
    operators_row->addStretch();
    preset_->addItem(QStringLiteral("refined"));
    preset_->addItem(QStringLiteral("paper"));
    preset_->setAccessibleName(QStringLiteral("Operator preset"));
    preset_->setToolTip(QStringLiteral(
        "paper: as I-ViT publishes them. refined: the pre-shift, the wider division and the zero "
        "pivot that keep small values (engine/arithmetic.md, Presets)."));
    operators_row->addWidget(preset_);
    column->addLayout(operators_row);
    operators_ = {
        {ivit::Op::softmax, &ivit::QuantConfig::shiftmax, "Shiftmax", nullptr, nullptr, {}, nullptr},
        {ivit::Op::gelu, &ivit::QuantConfig::shiftgelu, "ShiftGELU", nullptr, nullptr, {}, nullptr},
        {ivit::Op::layernorm, nullptr, "I-LayerNorm", nullptr, nullptr, {}, nullptr}};
    const char* keys[] = {"shiftmax", "shiftgelu", ""};
    for (size_t i = 0; i < operators_.size(); ++i) column->addWidget(make_operator(operators_[i], keys[i]));

    auto* overrides_row = new QHBoxLayout;
    overrides_row->addWidget(heading(QStringLiteral("Blocks and nodes")));
    overrides_row->addStretch();
    clear_->setToolTip(QStringLiteral("Every block and node as the network says; can be undone"));
    clear_->setAccessibleName(clear_->text());
    overrides_row->addWidget(clear_);
    column->addLayout(overrides_row);
    tree_->setModel(&model_);
    tree_->setObjectName("quantization_tree");
    tree_->setAccessibleName(QStringLiteral("Bit-widths and operators by block and node"));
    tree_->setItemDelegate(new ChoiceDelegate(tree_));
    tree_->setEditTriggers(QAbstractItemView::SelectedClicked | QAbstractItemView::DoubleClicked |
                           QAbstractItemView::EditKeyPressed);
    tree_->setToolTip(
        QStringLiteral("A click on a bit-width or an operator changes it for that block or node; bold: it "
                       "differs from what is above it"));
    auto* edit = new QShortcut(QKeySequence(Qt::Key_Return), tree_, nullptr, nullptr, Qt::WidgetShortcut);
    connect(edit, &QShortcut::activated, tree_, [this] {
        if (tree_->currentIndex().flags() & Qt::ItemIsEditable) tree_->edit(tree_->currentIndex());
    });
    tree_->setUniformRowHeights(true);
    tree_->setAlternatingRowColors(true);
    tree_->setIndentation(14);
    tree_->setMinimumHeight(150);
    tree_->setFrameShape(QFrame::NoFrame);
    exporting::offer_csv(tree_, QStringLiteral("quantization"));
    tree_->header()->setStretchLastSection(false);
    tree_->header()->setSectionResizeMode(QuantTreeModel::name_column, QHeaderView::Stretch);
    tree_->header()->setMinimumSectionSize(30);
    for (const int c : {QuantTreeModel::weight_column, QuantTreeModel::activation_column}) {
        tree_->header()->setSectionResizeMode(c, QHeaderView::Fixed);
        tree_->header()->resizeSection(c, 50);
    }
    tree_->header()->setSectionResizeMode(QuantTreeModel::mode_column, QHeaderView::Fixed);
    tree_->header()->resizeSection(QuantTreeModel::mode_column, 66);
    column->addWidget(tree_, 1);

    auto* scroll = scroll_ = new QScrollArea;
    scroll->setWidget(content);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setAccessibleName(QStringLiteral("Quantization"));
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(scroll);

    auto* no_wheel = new NoWheel(this);
    for (QWidget* w : content->findChildren<QWidget*>()) {
        if (qobject_cast<QComboBox*>(w) || qobject_cast<QSlider*>(w)) {
            w->setFocusPolicy(Qt::StrongFocus);
            w->installEventFilter(no_wheel);
        }
    }

    const auto config_combo = [this](QComboBox* box, const QString& what, auto set) {
        connect(box, &QComboBox::activated, this, [this, box, what, set] {
            ivit::QuantConfig c = bench_.settings().config;
            set(c, box->currentData().toInt());
            bench_.change_config(c, what.arg(box->currentText()));
        });
    };
    config_combo(weights_, "weights %1 bits", [](ivit::QuantConfig& c, int b) { c.weight_bits = b; });
    config_combo(activations_, "activations %1 bits", [](ivit::QuantConfig& c, int b) { c.act_bits = b; });
    config_combo(residual_, "residual stream %1 bits",
                 [](ivit::QuantConfig& c, int b) { c.residual_bits = b; });
    config_combo(logits_, "attention logits %1 bits", [](ivit::QuantConfig& c, int b) { c.logits_bits = b; });
    connect(preset_, &QComboBox::activated, this, [this] {
        ivit::QuantConfig c = bench_.settings().config;
        c.set_preset(preset_->currentText().toStdString());
        bench_.change_config(c, QStringLiteral("preset %1").arg(preset_->currentText()));
    });
    connect(clear_, &QPushButton::clicked, this, [this] {
        ivit::QuantConfig c = bench_.settings().config;
        c.rules.clear();
        bench_.change_config(c, QStringLiteral("clear overrides"));
    });
    connect(&model_, &QuantTreeModel::config_wanted, this,
            [this](const ivit::QuantConfig& c, const QString& what) { bench_.change_config(c, what); });
    connect(tree_->selectionModel(), &QItemSelectionModel::currentChanged, this,
            [this](const QModelIndex& now) {
                const int node = model_.node_of(now);
                if (node >= 0) bench_.selection().set_node(node);
            });
    connect(&bench.selection(), &Selection::node_changed, this, [this] {
        const QModelIndex i = model_.index_of_node(bench_.selection().node());
        if (!i.isValid() || model_.node_of(tree_->currentIndex()) == bench_.selection().node()) return;
        // Marks the node; opens no block for it, since walking through the table would open them all.
        if (!i.parent().isValid() || tree_->isExpanded(i.parent())) tree_->setCurrentIndex(i);
    });
    connect(&bench, &Workbench::settings_changed, this, &QuantizationView::refresh);
    connect(&bench, &Workbench::model_changed, this, &QuantizationView::refresh);
    refresh();
}

QWidget* QuantizationView::make_operator(Operator& o, const char* key) {
    auto* box = new QWidget;
    auto* column = new QVBoxLayout(box);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(2);
    auto* row = new QHBoxLayout;
    auto* more = new QToolButton;
    more->setArrowType(Qt::RightArrow);
    more->setAutoRaise(true);
    more->setCheckable(true);
    more->setToolTip(QStringLiteral("Show the parameters of %1").arg(o.name));
    more->setAccessibleName(QStringLiteral("Parameters of %1").arg(o.name));
    more->setObjectName(QStringLiteral("more_%1").arg(key));
    o.mode = new QComboBox;
    o.mode->addItem(QStringLiteral("integer"), static_cast<int>(ivit::Mode::integer));
    o.mode->addItem(QStringLiteral("exact"), static_cast<int>(ivit::Mode::exact));
    o.mode->addItem(QStringLiteral("float"), static_cast<int>(ivit::Mode::float_ops));
    o.mode->setAccessibleName(QStringLiteral("%1: integer, exact or float").arg(o.name));
    o.mode->setToolTip(metrics::define("mode"));
    auto* label = new QLabel(o.name);
    label->setBuddy(o.mode);
    row->addWidget(more);
    row->addWidget(label);
    row->addStretch();
    row->addWidget(o.mode);
    column->addLayout(row);
    const ivit::Op op = o.op;
    const QString name = o.name;
    connect(o.mode, &QComboBox::activated, this, [this, op, name, mode = o.mode] {
        const ivit::Graph* g = bench_.graph();
        if (!g) return;
        ivit::QuantConfig c = bench_.settings().config;
        config_edit::set_operator_mode(c, *g, op, static_cast<ivit::Mode>(mode->currentData().toInt()));
        bench_.change_config(c, QStringLiteral("%1 %2").arg(name, mode->currentText()));
    });
    if (!o.params) {
        more->setArrowType(Qt::NoArrow);
        more->setEnabled(false);  // I-LayerNorm has no parameters; the button keeps the names in line
        more->setToolTip(
            QStringLiteral("%1 has no parameters: its integer square root is exact").arg(o.name));
        return box;
    }
    o.details = new QWidget;
    auto* grid = new QGridLayout(o.details);
    grid->setContentsMargins(22, 0, 0, 4);
    grid->setVerticalSpacing(1);
    const struct {
        const char* name;
        int ivit::ShiftParams::*field;
        int low, high;
    } fields[] = {{"n", &ivit::ShiftParams::n, 1, 30},
                  {"k", &ivit::ShiftParams::k, 4, 16},
                  {"M", &ivit::ShiftParams::M, 16, 62},
                  {"t", &ivit::ShiftParams::t, 0, 8}};
    int line = 0;
    const auto params = o.params;
    for (const auto& f : fields) {
        auto* slider = new QSlider(Qt::Horizontal);
        slider->setRange(f.low, f.high);
        slider->setPageStep(1);
        slider->setObjectName(QStringLiteral("%1_%2").arg(key, f.name));
        slider->setAccessibleName(QStringLiteral("%1 %2").arg(name, f.name));
        const QString tip = metrics::define(QStringLiteral("%1.%2").arg(key, f.name).toUtf8().constData());
        slider->setToolTip(tip);
        auto* symbol = new QLabel(f.name);
        symbol->setToolTip(tip);
        symbol->setBuddy(slider);
        auto* value = new QLabel;
        value->setMinimumWidth(value->fontMetrics().horizontalAdvance("00") + 2);
        value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
        grid->addWidget(symbol, line, 0);
        grid->addWidget(slider, line, 1);
        grid->addWidget(value, line++, 2);
        o.sliders.push_back({slider, value, f.field, f.name});
        // A drag is one step of undo, from where it began to where it ended.
        const int merge = static_cast<int>(op) * 16 + line + 100;
        connect(slider, &QSlider::valueChanged, this,
                [this, params, field = f.field, name, n = f.name, merge](int v) {
                    if (refreshing_) return;
                    ivit::QuantConfig c = bench_.settings().config;
                    (c.*params).*field = v;
                    bench_.change_config(c, QStringLiteral("%1 %2 = %3").arg(name, n).arg(v), merge);
                });
    }
    if (o.op == ivit::Op::gelu) {
        o.pivot = new QComboBox;
        o.pivot->addItem(QStringLiteral("zero"), false);
        o.pivot->addItem(QStringLiteral("row"), true);
        o.pivot->setToolTip(metrics::define("shiftgelu.pivot"));
        o.pivot->setAccessibleName(QStringLiteral("ShiftGELU pivot"));
        auto* symbol = new QLabel(QStringLiteral("pivot"));
        symbol->setBuddy(o.pivot);
        auto* cell = new QHBoxLayout;
        cell->addWidget(symbol);
        cell->addWidget(o.pivot);
        cell->addStretch();
        grid->addLayout(cell, line, 0, 1, 3);
        connect(o.pivot, &QComboBox::activated, this, [this, params, pivot = o.pivot] {
            ivit::QuantConfig c = bench_.settings().config;
            (c.*params).row_pivot = pivot->currentData().toBool();
            bench_.change_config(c, QStringLiteral("ShiftGELU pivot %1").arg(pivot->currentText()));
        });
    }
    o.details->hide();
    column->addWidget(o.details);
    connect(more, &QToolButton::toggled, o.details, [more, details = o.details](bool on) {
        more->setArrowType(on ? Qt::DownArrow : Qt::RightArrow);
        details->setVisible(on);
    });
    return box;
}

QSize QuantizationView::minimumSizeHint() const {
    const int bar = scroll_->verticalScrollBar()->sizeHint().width();
    return {scroll_->widget()->minimumSizeHint().width() + bar, QWidget::minimumSizeHint().height()};
}

void QuantizationView::refresh() {
    refreshing_ = true;
    const ivit::QuantConfig& c = bench_.settings().config;
    const ivit::Graph* g = bench_.graph();
    const bool editable = bench_.model() && !bench_.quantized();
    model_.set_state(bench_.model()       ? bench_.model()->graph
                     : bench_.quantized() ? bench_.quantized()->graph
                                          : nullptr,
                     c, !editable);
    const auto choose = [](QComboBox* box, int value) { box->setCurrentIndex(box->findData(value)); };
    choose(weights_, c.weight_bits);
    choose(activations_, c.act_bits);
    choose(residual_, c.residual_bits);
    choose(logits_, c.logits_bits);
    // A preset whose sliders have been moved is none any more, and says so.
    ivit::QuantConfig pristine;
    pristine.set_preset(c.preset);
    pristine.shiftmax.k = c.shiftmax.k;  // a bit-width, which no preset changes
    const bool touched = !(pristine.shiftmax == c.shiftmax && pristine.shiftgelu == c.shiftgelu);
    while (preset_->count() > 2) preset_->removeItem(2);
    if (touched) {
        preset_->addItem(QStringLiteral("%1, changed").arg(QString::fromStdString(c.preset)));
        preset_->setCurrentIndex(2);
    } else {
        preset_->setCurrentText(QString::fromStdString(c.preset));
    }
    for (const Operator& o : operators_) {
        if (g) choose(o.mode, static_cast<int>(config_edit::operator_mode(c, *g, o.op)));
        if (!o.params) continue;
        for (const Slider& s : o.sliders) {
            s.slider->setValue((c.*o.params).*s.field);
            s.value->setText(QString::number((c.*o.params).*s.field));
        }
        if (o.pivot) o.pivot->setCurrentIndex((c.*o.params).row_pivot ? 1 : 0);
    }
    clear_->setEnabled(editable && !c.rules.empty());
    for (QWidget* w :
         {static_cast<QWidget*>(weights_), static_cast<QWidget*>(activations_),
          static_cast<QWidget*>(residual_), static_cast<QWidget*>(logits_), static_cast<QWidget*>(preset_)}) {
        w->setEnabled(editable);
    }
    for (const Operator& o : operators_) {
        o.mode->setEnabled(editable);
        if (o.details) o.details->setEnabled(editable);
    }
    refreshing_ = false;
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
