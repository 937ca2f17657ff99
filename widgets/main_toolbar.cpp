// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/main_toolbar.h"

#include <QActionGroup>
#include <QComboBox>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QLabel>
#include <QLayout>
#include <QSettings>
#include <QToolButton>

#include "engine/error.h"
#include "engine/open_model.h"
#include "widgets/config_edit.h"
#include "widgets/exporting.h"
#include "widgets/workbench.h"

MainToolBar::MainToolBar(Workbench& bench, QWidget* window)
    : QToolBar(QStringLiteral("Main"), window), bench_(bench) {
    setObjectName("toolbar");
    setMovable(false);
    setToolButtonStyle(Qt::ToolButtonTextOnly);
    layout()->setContentsMargins(6, 3, 6, 3);
    layout()->setSpacing(4);
    add_open();
    addSeparator();
    add_model_box();
    add_backend_box();
    addSeparator();
    add_widths();
    addSeparator();
    add_undo_and_redo();
    add_pin();
    add_report();
    connect(&bench_, &Workbench::settings_changed, this, &MainToolBar::refresh_settings);
    connect(&bench_, &Workbench::model_changed, this, &MainToolBar::refresh_models);
    connect(&bench_, &Workbench::results_changed, this, &MainToolBar::refresh_results);
    refresh_models();
    refresh_settings();
    refresh_results();
}

void MainToolBar::add_labelled(const QString& text, QWidget* box) {
    auto* label = new QLabel(text);
    label->setBuddy(box);
    label->setMargin(4);
    addWidget(label);
    addWidget(box);
}

void MainToolBar::add_open() {
    open_ = addAction(QStringLiteral("Open …"));
    open_->setToolTip(QStringLiteral("Open pictures (Ctrl+O); or drop them anywhere on the window"));
    open_->setObjectName("open_pictures");
    connect(open_, &QAction::triggered, this, [this] {
        const QStringList files = QFileDialog::getOpenFileNames(
            window(), QStringLiteral("Open pictures"),
            QSettings().value("pictures/folder", QDir::homePath()).toString(),
            QStringLiteral("Pictures (*.jpg *.jpeg *.png *.webp *.bmp *.tif *.tiff);;All files (*)"));
        if (files.isEmpty()) return;
        QSettings().setValue("pictures/folder", QFileInfo(files.first()).absolutePath());
        bench_.open_pictures(files);
    });
}

void MainToolBar::add_model_box() {
    model_box_ = new QComboBox;
    model_box_->setAccessibleName(QStringLiteral("Model"));
    model_box_->setPlaceholderText(QStringLiteral("none open"));
    model_box_->setToolTip(QStringLiteral("The model; the last entry opens another"));
    model_box_->setMinimumContentsLength(14);
    model_box_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    add_labelled(QStringLiteral("Model"), model_box_);
    connect(model_box_, &QComboBox::activated, this, [this](int i) {
        const QString path = model_box_->itemData(i).toString();
        if (!path.isEmpty()) {
            emit model_wanted(path);
        } else {
            refresh_models();
            choose_model();
        }
    });
}

void MainToolBar::add_backend_box() {
    backend_box_ = new QComboBox;
    backend_box_->setAccessibleName(QStringLiteral("Backend"));
    backend_box_->setObjectName("backend");
    backend_box_->addItem(QStringLiteral("auto"));
    QStringList absent;
    for (const ivit::BackendEntry& b : ivit::backends()) {
        const QString name = QString::fromStdString(b.name);
        const std::string why = b.unavailable ? b.unavailable() : std::string();
        if (why.empty())
            backend_box_->addItem(name);
        else
            absent << QStringLiteral("%1: %2").arg(name, QString::fromStdString(why));
    }
    backend_box_->setToolTip(
        QStringLiteral("Who runs the integers. All of them give the same bits.%1")
            .arg(absent.isEmpty() ? QString()
                                  : QStringLiteral("\nNot here — ") + absent.join(QStringLiteral("; "))));
    add_labelled(QStringLiteral("Backend"), backend_box_);
    connect(backend_box_, &QComboBox::activated, this, [this] {
        Settings s = bench_.settings();
        s.backend = backend_box_->currentText().toStdString();
        bench_.change_settings(s, QStringLiteral("backend %1").arg(backend_box_->currentText()));
    });
}

void MainToolBar::add_widths() {
    presets_ = new QActionGroup(this);
    const auto add = [this](const char* name, const QString& tip) {
        QAction* a = addAction(name);
        a->setCheckable(true);
        a->setToolTip(tip);
        presets_->addAction(a);
        return a;
    };
    for (const char* name : {"W8A8", "W6A6", "W4A8", "W4A4"}) {
        QAction* a = add(name, QStringLiteral("%1-bit weights and %2-bit activations for the whole network; "
                                              "overrides stay")
                                   .arg(QChar(name[1]))
                                   .arg(QChar(name[3])));
        a->setObjectName(name);
        connect(a, &QAction::triggered, this, [this, name] {
            ivit::QuantConfig c = bench_.settings().config;
            config_edit::set_widths(c, name);
            bench_.change_config(c, name);
            refresh_settings();
        });
    }
    QAction* custom =
        add("custom", QStringLiteral("Your own bit-widths and operators, set under Quantization"));
    connect(custom, &QAction::triggered, this, [this] {
        emit custom_wanted();
        refresh_settings();
    });
}

void MainToolBar::add_undo_and_redo() {
    undo_ = bench_.undo_stack().createUndoAction(this, QStringLiteral("Undo"));
    undo_->setShortcut(QKeySequence::Undo);
    undo_->setObjectName("undo");
    redo_ = bench_.undo_stack().createRedoAction(this, QStringLiteral("Redo"));
    redo_->setShortcuts({QKeySequence::Redo, QKeySequence(QStringLiteral("Ctrl+Y"))});
    redo_->setObjectName("redo");
    window()->addActions({undo_, redo_});
    add_button(undo_, QStringLiteral("↶ Undo"));
    add_button(redo_, QStringLiteral("↷ Redo"));
}

// Not addAction(): these buttons keep one width, whatever the step is called.
void MainToolBar::add_button(QAction* a, const QString& text) {
    auto* b = new QToolButton;
    b->setText(text);
    b->setAccessibleName(text);
    b->setAutoRaise(true);
    const auto follow = [a, b] {
        b->setEnabled(a->isEnabled());
        b->setToolTip(a->text());
    };
    follow();
    connect(b, &QToolButton::clicked, a, &QAction::trigger);
    connect(a, &QAction::changed, b, follow);
    addWidget(b);
}

void MainToolBar::add_pin() {
    pin_ = addAction(QStringLiteral("Pin"));
    pin_->setCheckable(true);
    pin_->setObjectName("pin");
    pin_->setToolTip(
        QStringLiteral("Keep these results as the baseline: every view shows them as a ghost (P). Without a "
                       "pin it is the configuration before."));
    connect(pin_, &QAction::toggled, this, [this](bool on) { bench_.set_pinned(on); });
}

void MainToolBar::add_report() {
    report_ = addAction(QStringLiteral("Report …"));
    report_->setObjectName("report");
    report_->setToolTip(
        QStringLiteral("What is shown as one file: HTML, PDF, JSON, CSV or Markdown (Ctrl+E)"));
    connect(report_, &QAction::triggered, this, [this] {
        const QString file = exporting::ask_for_file(
            this, QStringLiteral("Write report"), QStringLiteral("ivit-report"),
            {QStringLiteral("HTML (*.html)"), QStringLiteral("PDF (*.pdf)"), QStringLiteral("JSON (*.json)"),
             QStringLiteral("CSV (*.csv)"), QStringLiteral("Markdown (*.md)")});
        if (!file.isEmpty()) bench_.write_report(file.toStdString());
    });
}

std::vector<QAction*> MainToolBar::width_presets() const {
    const QList<QAction*> all = presets_->actions();
    return {all.begin(), all.end() - 1};  // the last is "custom"
}

void MainToolBar::choose_model() {
    const QString chosen =
        QFileDialog::getOpenFileName(window(), QStringLiteral("Open model"),
                                     QSettings().value("models/folder", QDir::homePath()).toString(),
                                     QStringLiteral("Models (*.safetensors);;All files (*)"));
    if (chosen.isEmpty()) return;
    QSettings().setValue("models/folder", QFileInfo(chosen).absolutePath());
    emit model_wanted(chosen);
}

void MainToolBar::refresh_settings() {
    const Settings& s = bench_.settings();
    ivit::QuantConfig plain;
    config_edit::set_widths(plain, config_edit::widths(s.config));
    const bool custom = !(plain == s.config);
    const bool editable = bench_.quantized() == nullptr;
    QAction* last = presets_->actions().constLast();
    for (QAction* a : presets_->actions()) {
        a->setEnabled(editable);
        if (a != last) a->setChecked(!custom && a->text().toStdString() == config_edit::widths(s.config));
    }
    if (!presets_->checkedAction() || custom) last->setChecked(true);
    backend_box_->setCurrentText(QString::fromStdString(s.backend));
}

void MainToolBar::refresh_models() {
    model_box_->clear();
    QStringList paths;
    try {
        paths << QString::fromStdString(ivit::bundled_model().string());
    } catch (const ivit::Error&) {
        // An installation without assets still opens models.
    }
    for (const QString& p : QSettings().value("recent/models").toStringList()) {
        if (!paths.contains(p) && QFileInfo::exists(p)) paths << p;
    }
    const ivit::ModelInfo* info = bench_.info();
    const QString current = info ? QString::fromStdString(info->source) : QString();
    for (const QString& p : paths) model_box_->addItem(QFileInfo(p).completeBaseName(), p);
    int at = -1;
    for (int i = 0; i < paths.size(); ++i) {
        if (QFileInfo(paths[i]) == QFileInfo(current)) at = i;
    }
    if (at < 0 && info) {
        model_box_->insertItem(0, QString::fromStdString(info->name), QString::fromStdString(info->name));
        at = 0;
    }
    model_box_->insertSeparator(model_box_->count());
    model_box_->addItem(QStringLiteral("Open model …"), QString());
    model_box_->setCurrentIndex(at);
}

void MainToolBar::refresh_results() {
    const auto& current = bench_.shown().current;
    pin_->setEnabled(current != nullptr || bench_.pinned());
    report_->setEnabled(current && current->complete);
    const QSignalBlocker quiet(pin_);
    pin_->setChecked(bench_.pinned());
}
