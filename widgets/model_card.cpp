// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/model_card.h"

#include <QFileDialog>
#include <QRegularExpression>
#include <QScrollArea>
#include <QScrollBar>
#include <QSettings>
#include <QVBoxLayout>

#include "engine/error.h"
#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

QLabel* ModelCard::add(const QString& name, const QString& definition) {
    auto* value = new QLabel;
    value->setTextInteractionFlags(Qt::TextSelectableByMouse);
    value->setWordWrap(true);
    value->setToolTip(definition);
    value->setAccessibleName(name);
    auto* label = new QLabel(name);
    label->setToolTip(definition);
    label->setForegroundRole(QPalette::PlaceholderText);
    form_->addRow(label, value);
    return value;
}

ModelCard::ModelCard(Workbench& bench, QWidget* parent)
    : QWidget(parent),
      bench_(bench),
      form_(new QFormLayout),
      calibrate_(new QPushButton(QStringLiteral("Calibrate on folder …"))),
      save_(new QPushButton(QStringLiteral("Save quantized …"))),
      cancel_(new QPushButton(QStringLiteral("Cancel"))),
      progress_(new QProgressBar),
      method_(new QComboBox) {
    setAccessibleName(QStringLiteral("Model"));
    name_ = new QLabel;
    name_->setFont(Theme::instance().figures(17, true));
    name_->setWordWrap(true);
    name_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    fill_form();
    auto* content = new QWidget;
    auto* column = new QVBoxLayout(content);
    column->setContentsMargins(12, 8, 12, 8);
    column->addWidget(name_);
    column->addLayout(form_);
    column->addLayout(make_progress());
    column->addLayout(make_buttons());
    column->addStretch();
    auto* scroll = new QScrollArea;
    scroll->setWidget(content);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setAccessibleName(QStringLiteral("Model card"));
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    scroll->setMinimumWidth(content->minimumSizeHint().width() +
                            scroll->verticalScrollBar()->sizeHint().width());
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(scroll);
    connect(&bench, &Workbench::calibration_ended, this, &ModelCard::refresh);
    connect(&bench, &Workbench::model_changed, this, &ModelCard::refresh);
    connect(&bench, &Workbench::results_changed, this, &ModelCard::refresh);
    connect(&bench, &Workbench::settings_changed, this, &ModelCard::refresh);
    refresh();
}

void ModelCard::fill_form() {
    form_->setContentsMargins(0, 0, 0, 0);
    form_->setVerticalSpacing(5);
    form_->setHorizontalSpacing(10);
    form_->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
    architecture_ =
        add(QStringLiteral("Network"), QStringLiteral("Blocks, width and heads, as the checkpoint says"));
    parameters_ = add(QStringLiteral("Parameters"),
                      QStringLiteral("Weights and biases; and multiply-accumulates for one picture"));
    size_ =
        add(QStringLiteral("Size"),
            QStringLiteral("Of all weights in FP32, and of the integer weights at the present bit-widths"));
    calibration_ =
        add(QStringLiteral("Calibration"),
            QStringLiteral("Where the activation ranges come from, and by which method they are chosen"));
    add_method();
    input_ =
        add(QStringLiteral("Input"),
            QStringLiteral("Picture size, centre crop and normalization that the network was trained with"));
    file_ = add(QStringLiteral("File"), QStringLiteral("Path and SHA-256 of the checkpoint"));
    file_->setTextFormat(Qt::RichText);
    notes_ = add(QStringLiteral("Assumed"),
                 QStringLiteral("What the file does not tell and was taken for granted"));
}

void ModelCard::add_method() {
    for (const ivit::RangeMethod m :
         {ivit::RangeMethod::mse, ivit::RangeMethod::percentile, ivit::RangeMethod::minmax}) {
        method_->addItem(QString(ivit::to_string(m)), static_cast<int>(m));
    }
    method_->setObjectName("range_method");
    method_->setAccessibleName(QStringLiteral("How activation ranges are chosen"));
    method_->setToolTip(
        QStringLiteral("mse: the clip with the least squared rounding and clipping error. percentile: the "
                       "99.99th percentile of magnitudes. minmax: the greatest magnitude. All three are "
                       "gathered at once: a change needs no new calibration."));
    auto* label = new QLabel(QStringLiteral("Ranges by"));
    label->setForegroundRole(QPalette::PlaceholderText);
    label->setBuddy(method_);
    form_->addRow(label, method_);
    connect(method_, &QComboBox::activated, this, [this] {
        Settings s = bench_.settings();
        if (!s.calibration) return;  // it counts from the next calibration on
        auto other = std::make_shared<ivit::Calibration>(*s.calibration);
        other->method = static_cast<ivit::RangeMethod>(method_->currentData().toInt());
        s.calibration = std::move(other);
        bench_.change_settings(s, QStringLiteral("ranges by %1").arg(method_->currentText()));
    });
}

QLayout* ModelCard::make_progress() {
    progress_->setAccessibleName(QStringLiteral("Calibration progress"));
    progress_->setFormat(QStringLiteral("%v of %m pictures"));
    cancel_->setToolTip(QStringLiteral("Stop calibrating; the ranges there were stay"));
    cancel_->setAccessibleName(cancel_->text());
    auto* row = new QHBoxLayout;
    row->addWidget(progress_, 1);
    row->addWidget(cancel_);
    connect(cancel_, &QPushButton::clicked, &bench_, &Workbench::cancel_calibration);
    connect(&bench_, &Workbench::calibration_progress, this, [this](qint64 done, qint64 total) {
        progress_->setRange(0, static_cast<int>(total));
        progress_->setValue(static_cast<int>(done));
        refresh();
    });
    return row;
}

QLayout* ModelCard::make_buttons() {
    calibrate_->setToolTip(QStringLiteral(
        "Gather activation ranges on up to 256 pictures of a folder (engine/arithmetic.md, Widths)"));
    save_->setToolTip(
        QStringLiteral("The integer network at the present bit-widths as one safetensors file"));
    auto* row = new QHBoxLayout;
    for (QPushButton* b : {calibrate_, save_}) {
        b->setAccessibleName(b->text());
        row->addWidget(b);
    }
    row->addStretch();
    connect(calibrate_, &QPushButton::clicked, this, &ModelCard::choose_calibration_folder);
    connect(save_, &QPushButton::clicked, this, &ModelCard::save_quantized);
    return row;
}

void ModelCard::refresh() {
    const bool busy = bench_.calibrating();
    progress_->setVisible(busy);
    cancel_->setVisible(busy);
    calibrate_->setEnabled(bench_.model() && !bench_.quantized() && !busy);
    method_->setEnabled(calibrate_->isEnabled());
    if (const auto& c = bench_.settings().calibration)
        method_->setCurrentIndex(method_->findData(static_cast<int>(c->method)));
    const auto& current = bench_.shown().current;
    const auto quantized = current ? current->comparison.model : nullptr;
    save_->setEnabled(quantized && !bench_.quantized());
    const ivit::ModelInfo* info = bench_.info();
    const ivit::Graph* g = bench_.graph();
    if (!info || !g) {
        for (QLabel* l : {parameters_, size_, calibration_, input_, file_, notes_}) l->clear();
        name_->setText(QStringLiteral("No model is open"));
        architecture_->setText(QStringLiteral(
            "Open a checkpoint (safetensors, timm or Hugging Face names) or a quantized model."));
        return;
    }
    show_network(*g, *info);
    QString size = QStringLiteral("%1 in FP32").arg(numbers::bytes(info->parameters * 4));
    if (quantized)
        size += QStringLiteral(", %1 at %2")
                    .arg(numbers::bytes(quantized->weight_bytes()),
                         QString::fromStdString(quantized->config.label()));
    size_->setText(size);
    calibration_->setText(calibration(quantized.get()));
    show_file(*info);
}

void ModelCard::show_network(const ivit::Graph& g, const ivit::ModelInfo& info) {
    name_->setText(QString::fromStdString(info.name));
    architecture_->setText(QStringLiteral("%1, %2 blocks, width %3, %4 heads, MLP %5, %6 classes")
                               .arg(QString::fromStdString(info.family))
                               .arg(g.depth)
                               .arg(g.width)
                               .arg(g.heads)
                               .arg(g.hidden)
                               .arg(g.classes));
    int64_t macs = 0;
    for (size_t i = 0; i < g.nodes.size(); ++i) macs += g.macs(static_cast<int>(i));
    parameters_->setText(
        QStringLiteral("%1 · %2 GMAC")
            .arg(numbers::count(info.parameters), numbers::significant(static_cast<double>(macs) / 1e9)));
    const auto triple = [](const std::array<double, 3>& v) {
        return QStringLiteral("%1 %2 %3")
            .arg(numbers::significant(v[0]), numbers::significant(v[1]), numbers::significant(v[2]));
    };
    input_->setText(QStringLiteral("%1 × %1, patches of %2, crop %3\nmean %4, std %5")
                        .arg(g.image_size)
                        .arg(g.patch_size)
                        .arg(numbers::significant(info.crop_pct), triple(info.mean), triple(info.std)));
}

// quantized: what is shown; null while there is none.
QString ModelCard::calibration(const ivit::QuantizedModel* quantized) const {
    if (quantized)
        return QString::fromStdString(quantized->calibration.summary()) +
               (quantized->calibration.from_input ? QStringLiteral(" (this very picture)") : QString());
    if (const auto& c = bench_.settings().calibration) return QString::fromStdString(c->summary());
    return QStringLiteral("none yet: the picture at hand is used");
}

void ModelCard::show_file(const ivit::ModelInfo& info) {
    // A path has no spaces to break at: it may break after every slash.
    QString path = QString::fromStdString(info.source)
                       .toHtmlEscaped()
                       .replace(QLatin1String("/"), QLatin1String("/&#8203;"));
    if (!info.sha256.empty())
        path += QStringLiteral("<br>sha256 %1…").arg(QString::fromStdString(info.sha256).left(16));
    file_->setText(path);
    QStringList notes;
    for (const std::string& a : info.assumptions) notes << QString::fromStdString(a);
    notes_->setText(notes.isEmpty() ? QStringLiteral("nothing") : notes.join(QLatin1Char('\n')));
}

QString ModelCard::text() const {
    QString t = name_->text();
    for (int r = 0; r < form_->rowCount(); ++r) {
        const auto* label = qobject_cast<QLabel*>(form_->itemAt(r, QFormLayout::LabelRole)->widget());
        const auto* field = qobject_cast<QLabel*>(form_->itemAt(r, QFormLayout::FieldRole)->widget());
        if (label && field) t += QLatin1Char('\n') + label->text() + QStringLiteral(": ") + field->text();
    }
    return t;
}

void ModelCard::choose_calibration_folder() {
    QSettings settings;
    const QString folder =
        QFileDialog::getExistingDirectory(window(), QStringLiteral("Calibrate on the pictures of"),
                                          settings.value("calibration/folder", QDir::homePath()).toString());
    if (folder.isEmpty()) return;
    settings.setValue("calibration/folder", folder);
    bench_.calibrate_on(folder.toStdString(), static_cast<ivit::RangeMethod>(method_->currentData().toInt()));
}

void ModelCard::save_quantized() {
    const auto& current = bench_.shown().current;
    if (!current || !current->comparison.model) return;
    const ivit::QuantizedModel& q = *current->comparison.model;
    const QString width =
        QString::fromStdString(q.config.label()).section(QRegularExpression("[ ,]"), 0, 0).toLower();
    const QString file = exporting::ask_for_file(
        this, QStringLiteral("Save quantized model"),
        QString::fromStdString(q.info.name) + QLatin1Char('_') + QString(width).replace('/', '_'),
        {QStringLiteral("safetensors (*.safetensors)")}, QStringLiteral("quantized/folder"));
    if (file.isEmpty()) return;
    try {
        ivit::save(q, file.toStdString());
        bench_.say(QStringLiteral("Saved %1").arg(QFileInfo(file).fileName()));
    } catch (const std::exception& e) {
        bench_.say(QString::fromUtf8(e.what()), true);
    }
}
