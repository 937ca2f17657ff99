// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/main_window.h"

#include <QAbstractButton>
#include <QActionGroup>
#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QComboBox>
#include <QDesktopServices>
#include <QDialog>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QLineEdit>
#include <QMenuBar>
#include <QMimeData>
#include <QNetworkAccessManager>
#include <QNetworkReply>
#include <QOpenGLWidget>
#include <QPainter>
#include <QScreen>
#include <QSettings>
#include <QStatusBar>
#include <QTabBar>
#include <QTextBrowser>
#include <QTimer>
#include <QToolBar>
#include <QToolButton>
#include <QUndoView>
#include <QVBoxLayout>

#include "engine/error.h"
#include "engine/open_model.h"
#include "widgets/attention_view.h"
#include "widgets/config_edit.h"
#include "widgets/distribution_view.h"
#include "widgets/exporting.h"
#include "widgets/latency_view.h"
#include "widgets/layers_view.h"
#include "widgets/metrics.h"
#include "widgets/model_card.h"
#include "widgets/operator_view.h"
#include "widgets/pictures_view.h"
#include "widgets/predictions_view.h"
#include "widgets/quantization_view.h"
#include "widgets/report_comparison.h"
#include "widgets/status_area.h"
#include "widgets/tensor_view.h"
#include "widgets/theme.h"
#include "widgets/webcam.h"

namespace {

const char* const width_presets[] = {"W8A8", "W6A6", "W4A8", "W4A4"};
constexpr qint64 most_download = 64 << 20;

// Keys belong to whoever is typing.
bool typing() {
    QWidget* w = QApplication::focusWidget();
    return qobject_cast<QLineEdit*>(w) || qobject_cast<QAbstractSpinBox*>(w) || qobject_cast<QComboBox*>(w);
}

}  // namespace

MainWindow::MainWindow()
    : tabs_(new QTabWidget),
      predictions_(new PredictionsView(bench_.selection())),
      layers_(new LayersView(bench_.selection())),
      attention_(new AttentionView(bench_.selection())),
      tensor_(new TensorView(bench_.selection())),
      distribution_(new DistributionView(bench_.selection())),
      operators_(new OperatorView(bench_.selection())),
      latency_(new LatencyView(bench_)),
      quantization_(new QuantizationView(bench_)),
      pictures_(new PicturesView(bench_)),
      model_card_(new ModelCard(bench_)),
      status_(new StatusArea),
      network_(new QNetworkAccessManager(this)) {
    setWindowTitle(QStringLiteral("I-ViT Explorer"));
    setObjectName("main_window");
    setAcceptDrops(true);
    setDockNestingEnabled(true);
    views_ = {predictions_, layers_, attention_, tensor_, distribution_, operators_, latency_};

    tabs_->setDocumentMode(true);
    tabs_->setAccessibleName(QStringLiteral("Views"));
    tabs_->addTab(attention_, QStringLiteral("Attention"));
    tabs_->addTab(tensor_, QStringLiteral("Tensor"));
    tabs_->addTab(distribution_, QStringLiteral("Distribution"));
    tabs_->addTab(latency_, QStringLiteral("Latency"));
    tabs_->addTab(operators_, QStringLiteral("Operator"));
    for (int i = 0; i < tabs_->count(); ++i)
        tabs_->setTabToolTip(i, QStringLiteral("%1 (key %2)").arg(tabs_->tabText(i)).arg(i + 1));
    setCentralWidget(tabs_);
    make_docks();
    make_toolbar();
    make_menus();
    statusBar()->addWidget(status_, 1);
    statusBar()->setSizeGripEnabled(false);

    connect(&bench_, &Workbench::message, status_, &StatusArea::say);
    connect(&bench_, &Workbench::results_changed, this, &MainWindow::refresh_results);
    connect(&bench_, &Workbench::settings_changed, this, &MainWindow::refresh_settings);
    connect(&bench_, &Workbench::model_changed, this, &MainWindow::refresh_models);
    connect(&bench_, &Workbench::stale_changed, this, [this](bool stale) {
        for (View* v : views_) v->set_stale(stale);
    });
    connect(&bench_, &Workbench::latency_changed, this, [this] {
        latency_->set_latency(bench_.latency());
        layers_->set_latency(bench_.latency());
        status_->set_results(bench_.shown(), bench_.latency());
    });
    connect(&bench_, &Workbench::model_opened, this,
            [this](const QString& path) { remember("recent/models", path); });
    connect(&bench_, &Workbench::pictures_opened, this, [this](const QStringList& paths) {
        for (const QString& p : paths.mid(0, 10)) remember("recent/pictures", p);
    });
    qApp->installEventFilter(this);

    // What fits the screen there is; then as it was left.
    const QRect screen = QGuiApplication::primaryScreen()->availableGeometry();
    resize(std::min(1600, screen.width() * 9 / 10), std::min(1000, screen.height() * 9 / 10));
    first_layout_ = saveState();
    QSettings settings;
    Theme::instance().set_choice(static_cast<Theme::Choice>(settings.value("theme", 0).toInt()));
    restoreGeometry(settings.value("window/geometry").toByteArray());
    if (!restoreState(settings.value("window/state").toByteArray())) reset_layout();
    tabs_->setCurrentIndex(settings.value("window/tab", 0).toInt());
    name_tab_bars();
    for (QDockWidget* d : docks_)
        connect(d, &QDockWidget::dockLocationChanged, this, &MainWindow::name_tab_bars, Qt::QueuedConnection);
    refresh_models();
    refresh_settings();
    refresh_results();
}

MainWindow::~MainWindow() {
    qApp->removeEventFilter(this);
    webcam_->stop();
    bench_.disconnect(this);
    bench_.disconnect(status_);
}

// ---- the parts

void MainWindow::make_docks() {
    setCorner(Qt::BottomLeftCorner, Qt::LeftDockWidgetArea);
    setCorner(Qt::BottomRightCorner, Qt::RightDockWidgetArea);
    setTabPosition(Qt::AllDockWidgetAreas, QTabWidget::North);
    const auto add = [this](const QString& title, const char* name, QWidget* content,
                            Qt::DockWidgetArea area) {
        auto* dock = new QDockWidget(title);
        dock->setObjectName(name);
        dock->setAccessibleName(title);
        dock->setWidget(content);
        for (QAbstractButton* b :
             dock->findChildren<QAbstractButton*>(QString(), Qt::FindDirectChildrenOnly)) {
            b->setToolTip(b->objectName() == "qt_dockwidget_closebutton"
                              ? QStringLiteral("Hide %1; View > Docks brings it back").arg(title)
                              : QStringLiteral("Take %1 out of the window, or put it back").arg(title));
            b->setAccessibleName(b->toolTip());
        }
        addDockWidget(area, dock);
        docks_.push_back(dock);
        return dock;
    };
    add(QStringLiteral("Pictures"), "dock_pictures", pictures_, Qt::LeftDockWidgetArea);
    QDockWidget* prediction =
        add(QStringLiteral("Prediction"), "dock_prediction", predictions_, Qt::RightDockWidgetArea);
    QDockWidget* quantization =
        add(QStringLiteral("Quantization"), "dock_quantization", quantization_, Qt::RightDockWidgetArea);
    QDockWidget* model = add(QStringLiteral("Model"), "dock_model", model_card_, Qt::RightDockWidgetArea);
    add(QStringLiteral("Layers"), "dock_layers", layers_, Qt::BottomDockWidgetArea);
    splitDockWidget(prediction, quantization, Qt::Vertical);
    tabifyDockWidget(quantization, model);
    auto* history = new QUndoView(&bench_.undo_stack());
    history->setEmptyLabel(QStringLiteral("as opened"));
    history->setAccessibleName(QStringLiteral("History of changes"));
    history->setToolTip(
        QStringLiteral("Every change since the model was opened; click one to go back to it"));
    history->setFrameShape(QFrame::NoFrame);
    QDockWidget* changes = add(QStringLiteral("History"), "dock_history", history, Qt::RightDockWidgetArea);
    tabifyDockWidget(model, changes);
    quantization->raise();
}

// Qt makes a tab bar for docks that lie on each other, and names neither the bar nor its tabs.
void MainWindow::name_tab_bars() {
    for (QTabBar* bar : findChildren<QTabBar*>()) {
        if (bar->accessibleName().isEmpty())
            bar->setAccessibleName(bar->parentWidget() == this ? QStringLiteral("Docks")
                                                               : QStringLiteral("Views"));
        for (int i = 0; i < bar->count(); ++i) {
            if (bar->tabToolTip(i).isEmpty())
                bar->setTabToolTip(i, QStringLiteral("Show %1").arg(bar->tabText(i)));
        }
    }
}

void MainWindow::reset_layout() {
    restoreState(first_layout_);
    for (QDockWidget* d : docks_) {
        d->setFloating(false);
        d->show();
    }
    QDockWidget* layers = findChild<QDockWidget*>("dock_layers");
    resizeDocks({layers}, {std::max(220, height() * 34 / 100)}, Qt::Vertical);
    resizeDocks({findChild<QDockWidget*>("dock_pictures"), findChild<QDockWidget*>("dock_prediction")},
                {196, 316}, Qt::Horizontal);
    resizeDocks({findChild<QDockWidget*>("dock_prediction"), findChild<QDockWidget*>("dock_quantization")},
                {345, height() - 345}, Qt::Vertical);
    findChild<QDockWidget*>("dock_quantization")->raise();
}

void MainWindow::make_toolbar() {
    auto* bar = addToolBar(QStringLiteral("Main"));
    bar->setObjectName("toolbar");
    bar->setMovable(false);
    bar->setToolButtonStyle(Qt::ToolButtonTextOnly);
    bar->layout()->setContentsMargins(6, 3, 6, 3);
    bar->layout()->setSpacing(4);
    const auto label = [bar](const QString& text, QWidget* buddy) {
        auto* l = new QLabel(text);
        l->setBuddy(buddy);
        l->setMargin(4);
        bar->addWidget(l);
    };
    QAction* open = bar->addAction(QStringLiteral("Open …"));
    open->setToolTip(QStringLiteral("Open pictures (Ctrl+O); or drop them anywhere on the window"));
    connect(open, &QAction::triggered, this, [this] {
        const QStringList files = QFileDialog::getOpenFileNames(
            this, QStringLiteral("Open pictures"),
            QSettings().value("pictures/folder", QDir::homePath()).toString(),
            QStringLiteral("Pictures (*.jpg *.jpeg *.png *.webp *.bmp *.tif *.tiff);;All files (*)"));
        if (files.isEmpty()) return;
        QSettings().setValue("pictures/folder", QFileInfo(files.first()).absolutePath());
        bench_.open_pictures(files);
    });
    open->setObjectName("open_pictures");
    bar->addSeparator();
    model_box_ = new QComboBox;
    model_box_->setAccessibleName(QStringLiteral("Model"));
    model_box_->setToolTip(QStringLiteral("The model; the last entry opens another"));
    model_box_->setMinimumContentsLength(17);
    model_box_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    label(QStringLiteral("Model"), model_box_);
    bar->addWidget(model_box_);
    connect(model_box_, &QComboBox::activated, this, [this](int i) {
        const QString path = model_box_->itemData(i).toString();
        if (!path.isEmpty()) return open_model(path);
        refresh_models();
        const QString chosen =
            QFileDialog::getOpenFileName(this, QStringLiteral("Open model"),
                                         QSettings().value("models/folder", QDir::homePath()).toString(),
                                         QStringLiteral("Models (*.safetensors);;All files (*)"));
        if (chosen.isEmpty()) return;
        QSettings().setValue("models/folder", QFileInfo(chosen).absolutePath());
        open_model(chosen);
    });
    backend_box_ = new QComboBox;
    backend_box_->setAccessibleName(QStringLiteral("Backend"));
    backend_box_->setObjectName("backend");
    backend_box_->addItem(QStringLiteral("auto"));
    QStringList absent;
    for (const ivit::BackendEntry& b : ivit::backends()) {
        const std::string why = b.unavailable ? b.unavailable() : std::string();
        if (why.empty()) {
            backend_box_->addItem(QString::fromStdString(b.name));
        } else {
            absent << QStringLiteral("%1: %2").arg(QString::fromStdString(b.name),
                                                   QString::fromStdString(why));
        }
    }
    backend_box_->setToolTip(
        QStringLiteral("Who runs the integers. All of them give the same bits.%1")
            .arg(absent.isEmpty() ? QString()
                                  : QStringLiteral("\nNot here — ") + absent.join(QStringLiteral("; "))));
    label(QStringLiteral("Backend"), backend_box_);
    bar->addWidget(backend_box_);
    connect(backend_box_, &QComboBox::activated, this, [this] {
        Settings s = bench_.settings();
        s.backend = backend_box_->currentText().toStdString();
        bench_.change_settings(s, QStringLiteral("backend %1").arg(backend_box_->currentText()));
    });
    bar->addSeparator();
    presets_ = new QActionGroup(this);
    presets_->setExclusionPolicy(QActionGroup::ExclusionPolicy::Exclusive);
    for (const char* name : width_presets) {
        QAction* a = bar->addAction(name);
        a->setCheckable(true);
        a->setObjectName(name);
        a->setToolTip(
            QStringLiteral("%1-bit weights and %2-bit activations for the whole network; overrides stay")
                .arg(QChar(name[1]))
                .arg(QChar(name[3])));
        presets_->addAction(a);
        connect(a, &QAction::triggered, this, [this, name] {
            ivit::QuantConfig c = bench_.settings().config;
            config_edit::set_widths(c, name);
            bench_.change_config(c, name);
            refresh_settings();
        });
    }
    QAction* custom = bar->addAction(QStringLiteral("custom"));
    custom->setCheckable(true);
    custom->setToolTip(QStringLiteral("Your own bit-widths and operators, set under Quantization"));
    presets_->addAction(custom);
    connect(custom, &QAction::triggered, this, [this] {
        findChild<QDockWidget*>("dock_quantization")->show();
        findChild<QDockWidget*>("dock_quantization")->raise();
        refresh_settings();
    });
    bar->addSeparator();
    QAction* undo = bench_.undo_stack().createUndoAction(this, QStringLiteral("Undo"));
    undo->setShortcut(QKeySequence::Undo);
    undo->setObjectName("undo");
    QAction* redo = bench_.undo_stack().createRedoAction(this, QStringLiteral("Redo"));
    redo->setShortcuts({QKeySequence::Redo, QKeySequence(QStringLiteral("Ctrl+Y"))});
    redo->setObjectName("redo");
    // The toolbar's buttons keep one width, whatever the step is called.
    const auto button = [bar](QAction* a, const QString& text) {
        auto* b = new QToolButton;
        b->setText(text);
        b->setAccessibleName(text);
        b->setAutoRaise(true);
        b->setEnabled(a->isEnabled());
        b->setToolTip(a->text());
        connect(b, &QToolButton::clicked, a, &QAction::trigger);
        connect(a, &QAction::changed, b, [a, b] {
            b->setEnabled(a->isEnabled());
            b->setToolTip(a->text());
        });
        bar->addWidget(b);
    };
    button(undo, QStringLiteral("↶ Undo"));
    button(redo, QStringLiteral("↷ Redo"));
    addActions({undo, redo});
    pin_ = bar->addAction(QStringLiteral("Pin"));
    pin_->setCheckable(true);
    pin_->setObjectName("pin");
    pin_->setToolTip(
        QStringLiteral("Keep these results as the baseline: every view shows them as a ghost (P). Without a "
                       "pin it is the configuration before."));
    connect(pin_, &QAction::toggled, this, [this](bool on) { bench_.set_pinned(on); });
}

QAction* MainWindow::action(QMenu* menu, const QString& text, const QString& tip, const QKeySequence& key,
                            std::function<void()> run) {
    QAction* a = menu->addAction(text);
    a->setShortcut(key);
    a->setToolTip(tip);
    a->setStatusTip({});
    connect(a, &QAction::triggered, this, [run = std::move(run)] { run(); });
    return a;
}

void MainWindow::make_menus() {
    QMenu* file = menuBar()->addMenu(QStringLiteral("&File"));
    action(file, "Open &pictures …", "Pictures into the strip", QKeySequence::Open,
           [this] { findChild<QAction*>("open_pictures")->trigger(); });
    action(file, "Open &folder …", "All pictures of a folder", QKeySequence("Ctrl+Shift+O"), [this] {
        const QString folder = QFileDialog::getExistingDirectory(
            this, QStringLiteral("Open the pictures of"),
            QSettings().value("pictures/folder", QDir::homePath()).toString());
        if (folder.isEmpty()) return;
        QSettings().setValue("pictures/folder", folder);
        bench_.open_pictures({folder});
    });
    action(file, "P&aste picture", "From the clipboard: a picture, files or a link", QKeySequence::Paste,
           [this] {
               if (!take(QGuiApplication::clipboard()->mimeData()))
                   bench_.say(QStringLiteral("There is no picture on the clipboard"), true);
           });
    webcam_action_ =
        action(file, "&Webcam", "Classify what the first webcam sees", QKeySequence("Ctrl+W"), [] {});
    webcam_action_->setCheckable(true);
    webcam_action_->setObjectName("webcam");
    connect(webcam_action_, &QAction::toggled, this, &MainWindow::set_webcam);
    webcam_ = std::make_unique<Webcam>();
    connect(webcam_.get(), &Webcam::frame, this, [this](const QImage& f) {
        if (webcam_action_->isChecked()) bench_.show_frame(f, QStringLiteral("webcam"));
    });
    connect(webcam_.get(), &Webcam::ended, this, [this](const QString& why) {
        webcam_action_->setChecked(false);
        bench_.say(why, true);
    });
    fill_recent(file->addMenu(QStringLiteral("Recent pictures")), "recent/pictures",
                [this](const QString& p) { bench_.open_pictures({p}); });
    file->addSeparator();
    action(file, "Open &model …", "A checkpoint or a quantized model", QKeySequence("Ctrl+M"),
           [this] { emit model_box_->activated(model_box_->count() - 1); });
    fill_recent(file->addMenu(QStringLiteral("Recent models")), "recent/models",
                [this](const QString& p) { open_model(p); });
    action(file, "&Calibrate on folder …", "Activation ranges from the pictures of a folder",
           QKeySequence("Ctrl+K"), [this] { model_card_->choose_calibration_folder(); });
    action(file, "&Save quantized model …", "The integers as one safetensors file",
           QKeySequence("Ctrl+Shift+S"), [this] { model_card_->save_quantized(); });
    file->addSeparator();
    action(file, "Export &report …", "What is shown as one file: HTML, PDF, JSON, CSV or Markdown",
           QKeySequence("Ctrl+E"), [this] {
               const QString folder = QSettings().value("export/folder", QDir::homePath()).toString();
               QString file = QFileDialog::getSaveFileName(
                   this, QStringLiteral("Write report"), folder + QStringLiteral("/ivit-report.html"),
                   QStringLiteral("HTML (*.html);;PDF (*.pdf);;JSON (*.json);;CSV (*.csv);;Markdown (*.md)"));
               if (file.isEmpty()) return;
               if (QFileInfo(file).suffix().isEmpty()) file += QStringLiteral(".html");
               QSettings().setValue("export/folder", QFileInfo(file).absolutePath());
               bench_.write_report(file.toStdString());
           });
    action(file, "Compare re&ports …", "Two reports side by side, or what is shown against one",
           QKeySequence("Ctrl+Shift+R"), [this] {
               if (!comparison_) comparison_ = new ReportComparison(bench_, this);
               comparison_->show();
               comparison_->raise();
           });
    action(file, "E&xport view …", "The view in the middle as PNG, SVG or PDF", QKeySequence("Ctrl+Shift+E"),
           [this] {
               View* v = current_tab();
               exporting::ask_and_save(v->canvas(), v->name().toLower());
           });
    action(file, "Export SQNR &plot …", "As PNG, SVG or PDF", QKeySequence("Ctrl+Alt+E"),
           [this] { exporting::ask_and_save(layers_->canvas(), "sqnr"); });
    action(file, "Copy window as picture", "The whole window to the clipboard", QKeySequence("Ctrl+Shift+C"),
           [this] { QGuiApplication::clipboard()->setPixmap(grab()); });
    file->addSeparator();
    action(file, "&Quit", "", QKeySequence::Quit, [this] { close(); });

    QMenu* quantization = menuBar()->addMenu(QStringLiteral("&Quantization"));
    quantization->addAction(findChild<QAction*>("undo"));
    quantization->addAction(findChild<QAction*>("redo"));
    quantization->addSeparator();
    action(quantization, "&Load configuration …", "From a JSON file", QKeySequence("Ctrl+L"),
           [this] { quantization_->load_config(); });
    action(quantization, "&Save configuration …", "As a JSON file", QKeySequence::Save,
           [this] { quantization_->save_config(); });
    quantization->addSeparator();
    for (int i = 0; i < 4; ++i) {
        QAction* preset = findChild<QAction*>(width_presets[i]);
        preset->setShortcut(QKeySequence(QStringLiteral("Ctrl+%1").arg(i + 1)));
        quantization->addAction(preset);
    }

    QMenu* view = menuBar()->addMenu(QStringLiteral("&View"));
    for (int i = 0; i < tabs_->count(); ++i) {
        action(view, tabs_->tabText(i), "", QKeySequence(QString::number(i + 1)),
               [this, i] { tabs_->setCurrentIndex(i); });
    }
    view->addSeparator();
    action(view, "Next node", "", QKeySequence(Qt::Key_Down), [this] { layers_->step(1); });
    action(view, "Previous node", "", QKeySequence(Qt::Key_Up), [this] { layers_->step(-1); });
    const auto picture = [this](int by) {
        const int n = bench_.pictures().rowCount();
        if (n > 0) bench_.selection().set_picture(std::clamp(bench_.selection().picture() + by, 0, n - 1));
    };
    action(view, "Next picture", "", QKeySequence(Qt::Key_Right), [picture] { picture(1); });
    action(view, "Previous picture", "", QKeySequence(Qt::Key_Left), [picture] { picture(-1); });
    action(view, "Next head", "", QKeySequence("]"),
           [this] { bench_.selection().set_head(bench_.selection().head() + 1); });
    action(view, "Previous head", "", QKeySequence("["),
           [this] { bench_.selection().set_head(bench_.selection().head() - 1); });
    action(view, "Flip float and integer", "", QKeySequence(Qt::Key_Space), [this] {
        if (current_tab() == tensor_) tensor_->flip();
        if (current_tab() == attention_) attention_->flip();
    });
    action(view, "Difference", "", QKeySequence("D"), [this] {
        if (current_tab() == tensor_) tensor_->show_difference();
        if (current_tab() == attention_) attention_->show_difference();
    });
    pin_->setShortcut(QKeySequence("P"));
    view->addAction(pin_);
    action(view, "Worst layers first", "", QKeySequence("W"), [this] { layers_->sort_worst_first(); });
    action(view, "Execution order", "", QKeySequence("E"), [this] { layers_->sort_by_execution(); });
    view->addSeparator();
    const auto next_of = [](QComboBox* box) {
        if (box && box->isEnabled()) box->setCurrentIndex((box->currentIndex() + 1) % box->count());
    };
    action(view, "Class token", "The row of the class token, whichever patch is selected",
           QKeySequence(Qt::Key_Escape), [this] { bench_.selection().set_token(0); });
    action(view, "Attention rollout", metrics::define("rollout"), QKeySequence("R"),
           [this] { attention_->findChild<QCheckBox*>("rollout")->toggle(); });
    action(view, "Shiftmax against the same logits or the float network", "", QKeySequence("A"),
           [this, next_of] { next_of(attention_->findChild<QComboBox*>("against")); });
    action(view, "Tensor as matrix or picture", "", QKeySequence("M"),
           [this, next_of] { next_of(tensor_->findChild<QComboBox*>("tensor_layout")); });
    action(view, "Zoom in", "The tensor lens", QKeySequence("+"), [this] { tensor_->zoom(1.5); });
    action(view, "Zoom out", "The tensor lens", QKeySequence("-"), [this] { tensor_->zoom(1 / 1.5); });
    action(view, "Whole tensor", "The tensor lens", QKeySequence("F"), [this] { tensor_->zoom(0); });
    action(view, "Keep timing", "Go on timing both networks in the background", QKeySequence("K"),
           [this] { latency_->findChild<QCheckBox*>("keep_running")->toggle(); });
    view->addSeparator();
    QMenu* go = view->addMenu(QStringLiteral("Go to"));
    for (size_t i = 0; i < docks_.size(); ++i) {
        QDockWidget* d = docks_[i];
        action(go, d->windowTitle(), "", QKeySequence(Qt::Key_F2 + static_cast<int>(i)), [d] {
            d->show();
            d->raise();
            d->widget()->setFocus();
        });
    }
    QMenu* docks = view->addMenu(QStringLiteral("Docks"));
    for (QDockWidget* d : docks_) docks->addAction(d->toggleViewAction());
    action(view, "Reset layout", "", QKeySequence("Ctrl+0"), [this] { reset_layout(); });
    QMenu* theme = view->addMenu(QStringLiteral("Theme"));
    auto* themes = new QActionGroup(this);
    const char* names[] = {"As the system", "Light", "Dark"};
    for (int i = 0; i < 3; ++i) {
        QAction* a = theme->addAction(names[i]);
        a->setCheckable(true);
        a->setChecked(QSettings().value("theme", 0).toInt() == i);
        themes->addAction(a);
        connect(a, &QAction::triggered, this, [i] {
            QSettings().setValue("theme", i);
            Theme::instance().set_choice(static_cast<Theme::Choice>(i));
        });
    }
    action(view, "Full screen", "", QKeySequence(Qt::Key_F11),
           [this] { isFullScreen() ? showNormal() : showFullScreen(); });

    QMenu* help = menuBar()->addMenu(QStringLiteral("&Help"));
    action(help, "&Keys", "", QKeySequence::HelpContents, [this] { show_keys(); });
    for (QMenu* m : menuBar()->findChildren<QMenu*>()) m->setToolTipsVisible(true);
}

void MainWindow::show_keys() {
    if (auto* open = findChild<QDialog*>("keys")) {
        open->raise();
        return;
    }
    auto* dialog = new QDialog(this);
    dialog->setObjectName("keys");
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setWindowTitle(QStringLiteral("Keys"));
    QString html = QStringLiteral("<table cellspacing=0 cellpadding=4>");
    const auto rows = [&html](const QMenu* menu, const auto& self) -> void {
        for (const QAction* a : menu->actions()) {
            if (a->menu()) self(a->menu(), self);
            if (a->shortcut().isEmpty()) continue;
            html += QStringLiteral("<tr><td>%1&nbsp;&nbsp;&nbsp;</td><td>%2</td></tr>")
                        .arg(a->shortcut().toString(QKeySequence::NativeText).toHtmlEscaped(),
                             a->text().remove('&').toHtmlEscaped());
        }
    };
    for (const QAction* menu : menuBar()->actions()) {
        html += QStringLiteral("<tr><td colspan=2><b>%1</b></td></tr>").arg(menu->text().remove('&'));
        rows(menu->menu(), rows);
    }
    html += QStringLiteral(
        "<tr><td colspan=2><b>In a list or table</b></td></tr>"
        "<tr><td>Ctrl+C</td><td>copy as CSV</td></tr>"
        "<tr><td>Delete</td><td>take the picture out of the strip</td></tr>"
        "<tr><td colspan=2><b>Mouse</b></td></tr>"
        "<tr><td>Click</td><td>a point of a plot, a row, a thumbnail or a patch: the same selection "
        "everywhere</td></tr>"
        "<tr><td>Wheel, drag, double click</td><td>in the tensor lens: zoom, move, fit</td></tr>"
        "<tr><td>Right click</td><td>export or copy what is under it</td></tr></table>");
    auto* text = new QTextBrowser;
    text->setHtml(html);
    text->setFrameShape(QFrame::NoFrame);
    text->setAccessibleName(QStringLiteral("Keys"));
    auto* layout = new QVBoxLayout(dialog);
    layout->addWidget(text);
    dialog->resize(460, 640);
    dialog->show();  // not modal: it may stay beside the window while one learns
}

// ---- what comes in

void MainWindow::open_model(const QString& path) { bench_.open_model(path.toStdString()); }

bool MainWindow::take(const QMimeData* data) {
    if (!data) return false;
    QStringList files;
    QList<QUrl> links;
    for (const QUrl& url : data->urls()) {
        if (url.isLocalFile()) {
            files << url.toLocalFile();
        } else if (url.scheme() == "http" || url.scheme() == "https") {
            links << url;
        }
    }
    // A model among the files is opened as one.
    QStringList pictures;
    for (const QString& f : files) {
        if (f.endsWith(QStringLiteral(".safetensors"), Qt::CaseInsensitive)) {
            open_model(f);
        } else if (f.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive)) {
            quantization_->load_config(f);
        } else {
            pictures << f;
        }
    }
    if (!pictures.isEmpty()) bench_.open_pictures(pictures);
    if (!files.isEmpty()) return true;
    // A browser gives the picture itself, or a link to it, or both: the picture is at hand, the link may be a
    // page.
    if (data->hasImage()) {
        bench_.open_image(qvariant_cast<QImage>(data->imageData()),
                          links.isEmpty() ? QStringLiteral("pasted picture") : links.first().fileName());
        return true;
    }
    for (const QUrl& url : links) download(url);
    if (!links.isEmpty()) return true;
    if (data->hasText()) {
        const QString text = data->text().trimmed();
        if (QFileInfo::exists(text)) {
            bench_.open_pictures({text});
            return true;
        }
        const QUrl url(text, QUrl::StrictMode);
        if (url.scheme() == "http" || url.scheme() == "https") {
            download(url);
            return true;
        }
    }
    return false;
}

void MainWindow::download(const QUrl& url) {
    QNetworkRequest request(url);
    request.setTransferTimeout(20000);
    QNetworkReply* reply = network_->get(request);
    bench_.say(QStringLiteral("Fetching %1 …").arg(url.host()));
    connect(reply, &QNetworkReply::downloadProgress, reply, [reply](qint64 got, qint64 total) {
        if (got > most_download || total > most_download) reply->abort();
    });
    connect(reply, &QNetworkReply::finished, this, [this, reply, url] {
        reply->deleteLater();
        if (reply->error() != QNetworkReply::NoError) {
            bench_.say(QStringLiteral("%1: %2").arg(url.toDisplayString(), reply->errorString()), true);
            return;
        }
        const QByteArray bytes = reply->readAll();
        try {
            const ivit::Image image =
                ivit::decode_image(std::span(reinterpret_cast<const uint8_t*>(bytes.constData()),
                                             static_cast<size_t>(bytes.size())),
                                   url.fileName().toStdString());
            QImage q(image.rgb.data(), image.width, image.height, image.width * 3, QImage::Format_RGB888);
            bench_.open_image(q.copy(), url.fileName().isEmpty() ? url.host() : url.fileName());
        } catch (const ivit::Error& e) {
            bench_.say(QString::fromUtf8(e.what()), true);
        }
    });
}

void MainWindow::dragEnterEvent(QDragEnterEvent* e) {
    if (e->mimeData()->hasUrls() || e->mimeData()->hasImage() || e->mimeData()->hasText())
        e->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* e) {
    if (take(e->mimeData())) {
        e->acceptProposedAction();
    } else {
        bench_.say(QStringLiteral("There is no picture in what was dropped"), true);
    }
}

void MainWindow::set_webcam(bool on) {
    if (!on) {
        webcam_->stop();
        return;
    }
    webcam_->start();
}

// ---- what goes out to the views

View* MainWindow::current_tab() const { return static_cast<View*>(tabs_->currentWidget()); }

void MainWindow::refresh_results() {
    if (const ivit::ModelInfo* info = bench_.info()) predictions_->set_labels(info->labels);
    for (View* v : views_) v->set_results(bench_.shown());
    status_->set_results(bench_.shown(), bench_.latency());
    pin_->setEnabled(bench_.shown().current != nullptr || bench_.pinned());
    const QSignalBlocker quiet(pin_);
    pin_->setChecked(bench_.pinned());
    const ivit::ModelInfo* info = bench_.info();
    setWindowTitle(info ? QStringLiteral("%1 — I-ViT Explorer").arg(QString::fromStdString(info->name))
                        : QStringLiteral("I-ViT Explorer"));
}

void MainWindow::refresh_settings() {
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

void MainWindow::refresh_models() {
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

void MainWindow::remember(const QString& list, const QString& path) {
    QSettings settings;
    QStringList known = settings.value(list).toStringList();
    const QString full = QFileInfo(path).absoluteFilePath();
    if (!QFileInfo::exists(full)) return;
    known.removeAll(full);
    known.prepend(full);
    settings.setValue(list, known.mid(0, 12));
}

void MainWindow::fill_recent(QMenu* menu, const QString& list, std::function<void(const QString&)> open) {
    connect(menu, &QMenu::aboutToShow, menu, [this, menu, list, open = std::move(open)] {
        menu->clear();
        for (const QString& path : QSettings().value(list).toStringList()) {
            if (!QFileInfo::exists(path)) continue;
            QAction* a = menu->addAction(menu->fontMetrics()
                                             .elidedText(QFileInfo(path).fileName(), Qt::ElideMiddle, 340)
                                             .replace(QLatin1Char('&'), QLatin1String("&&")));
            a->setToolTip(path);
            connect(a, &QAction::triggered, this, [open, path] { open(path); });
        }
        if (menu->isEmpty()) menu->addAction(QStringLiteral("Nothing yet"))->setEnabled(false);
    });
}

// ---- the window itself

void MainWindow::closeEvent(QCloseEvent* e) {
    QSettings settings;
    settings.setValue("window/geometry", saveGeometry());
    settings.setValue("window/state", saveState());
    settings.setValue("window/tab", tabs_->currentIndex());
    set_webcam(false);
    QMainWindow::closeEvent(e);
}

// Arrows, Space, digits and letters are the window's, unless somebody types into a field or opens a list.
bool MainWindow::eventFilter(QObject* watched, QEvent* e) {
    if (e->type() == QEvent::ShortcutOverride && typing()) {
        const auto* key = static_cast<QKeyEvent*>(e);
        if (!(key->modifiers() & (Qt::ControlModifier | Qt::AltModifier)) && key->key() < Qt::Key_F1) {
            e->accept();
            return true;
        }
    }
    return QMainWindow::eventFilter(watched, e);
}

void MainWindow::screenshot_when_ready(const QString& file) {
    auto* timer = new QTimer(this);
    connect(timer, &QTimer::timeout, this, [this, timer, file, ticks = 0, quiet = 0]() mutable {
        quiet = bench_.idle() ? quiet + 1 : 0;
        if (++ticks > 1200) {  // two minutes
            fprintf(stderr, "ivit-explorer: no complete result within two minutes\n");
            return QCoreApplication::exit(1);
        }
        if (quiet < 5) return;
        timer->stop();
        // grab() leaves out what the GPU composes.
        QImage image = grab().toImage();
        if (auto* gl = qobject_cast<QOpenGLWidget*>(current_tab()->canvas()); gl && gl->isVisible()) {
            QPainter p(&image);
            p.drawImage(QRect(gl->mapTo(this, QPoint(0, 0)), gl->size()), gl->grabFramebuffer());
        }
        const bool saved = image.save(file);
        if (!saved) fprintf(stderr, "ivit-explorer: %s cannot be written\n", qPrintable(file));
        QCoreApplication::exit(saved ? 0 : 1);
    });
    timer->start(100);
}
