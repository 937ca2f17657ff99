// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/main_window.h"

#include <QApplication>
#include <QCloseEvent>
#include <QMimeData>
#include <QOpenGLWidget>
#include <QPainter>
#include <QScreen>
#include <QSettings>
#include <QStatusBar>
#include <QTimer>
#include <QUndoView>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/report/report.h"
#include "widgets/attention_view.h"
#include "widgets/distribution_view.h"
#include "widgets/docks.h"
#include "widgets/incoming.h"
#include "widgets/key_owner.h"
#include "widgets/latency_view.h"
#include "widgets/layers_view.h"
#include "widgets/main_toolbar.h"
#include "widgets/model_card.h"
#include "widgets/operator_view.h"
#include "widgets/pictures_view.h"
#include "widgets/predictions_view.h"
#include "widgets/quantization_view.h"
#include "widgets/recent.h"
#include "widgets/report_comparison.h"
#include "widgets/status_area.h"
#include "widgets/tabs.h"
#include "widgets/tensor_view.h"
#include "widgets/theme.h"
#include "widgets/webcam.h"

namespace {

// The view of that kind in the middle.
template <typename T>
T* tab_of(const std::vector<View*>& views) {
    for (View* v : views) {
        if (auto* wanted = qobject_cast<T*>(v)) return wanted;
    }
    return nullptr;
}

}  // namespace

MainWindow::MainWindow()
    : tabs_(new QTabWidget),
      predictions_(new PredictionsView(bench_.selection())),
      layers_(new LayersView(bench_.selection())),
      quantization_(new QuantizationView(bench_)),
      pictures_(new PicturesView(bench_)),
      model_card_(new ModelCard(bench_)),
      status_(new StatusArea),
      docks_(new Docks(*this)),
      incoming_(new Incoming(bench_, this)),
      webcam_(std::make_unique<Webcam>()) {
    setWindowTitle(QStringLiteral("I-ViT Explorer"));
    setObjectName("main_window");
    setAcceptDrops(true);
    add_tabs();
    make_docks();
    toolbar_ = new MainToolBar(bench_, this);
    addToolBar(toolbar_);
    make_menus();
    statusBar()->addWidget(status_, 1);
    statusBar()->setSizeGripEnabled(false);
    connect_commands();
    connect_results();
    qApp->installEventFilter(this);
    restore();
    refresh_results();
    focus_by_tab_only(*this);
    tabs_->setFocus();  // not a field that would take the keys
}

MainWindow::~MainWindow() {
    qApp->removeEventFilter(this);
    webcam_->stop();
    bench_.disconnect(this);
    bench_.disconnect(status_);
}

AttentionView* MainWindow::attention() const { return tab_of<AttentionView>(views_); }
TensorView* MainWindow::tensor() const { return tab_of<TensorView>(views_); }
DistributionView* MainWindow::distribution() const { return tab_of<DistributionView>(views_); }
OperatorView* MainWindow::operators() const { return tab_of<OperatorView>(views_); }
LatencyView* MainWindow::latency() const { return tab_of<LatencyView>(views_); }

void MainWindow::add_tabs() {
    tabs_->setDocumentMode(true);
    tabs_->setAccessibleName(QStringLiteral("Views"));
    views_ = {predictions_, layers_};
    for (View* v : make_tabs(bench_)) {
        const int i = tabs_->addTab(v, v->name());
        tabs_->setTabToolTip(i, QStringLiteral("%1 (key %2)").arg(v->name()).arg(i + 1));
        views_.push_back(v);
    }
    setCentralWidget(tabs_);
}

void MainWindow::make_docks() {
    docks_->add(QStringLiteral("Pictures"), "dock_pictures", pictures_, Qt::LeftDockWidgetArea);
    QDockWidget* prediction =
        docks_->add(QStringLiteral("Prediction"), "dock_prediction", predictions_, Qt::RightDockWidgetArea);
    QDockWidget* quantization = docks_->add(QStringLiteral("Quantization"), "dock_quantization",
                                            quantization_, Qt::RightDockWidgetArea);
    QDockWidget* model =
        docks_->add(QStringLiteral("Model"), "dock_model", model_card_, Qt::RightDockWidgetArea);
    docks_->add(QStringLiteral("Layers"), "dock_layers", layers_, Qt::BottomDockWidgetArea);
    splitDockWidget(prediction, quantization, Qt::Vertical);
    tabifyDockWidget(quantization, model);
    auto* history = new QUndoView(&bench_.undo_stack());
    history->setEmptyLabel(QStringLiteral("as opened"));
    history->setAccessibleName(QStringLiteral("History of changes"));
    history->setToolTip(
        QStringLiteral("Every change since the model was opened; click one to go back to it"));
    history->setFrameShape(QFrame::NoFrame);
    history->setSpacing(3);
    QDockWidget* changes =
        docks_->add(QStringLiteral("History"), "dock_history", history, Qt::RightDockWidgetArea);
    tabifyDockWidget(model, changes);
    quantization->raise();
}

// What is asked for in one place and done in another.
void MainWindow::connect_commands() {
    connect(toolbar_, &MainToolBar::model_wanted, this, &MainWindow::open_model);
    connect(toolbar_, &MainToolBar::custom_wanted, this,
            [this] { Docks::reveal(findChild<QDockWidget*>("dock_quantization")); });
    connect(incoming_, &Incoming::model_wanted, this, &MainWindow::open_model);
    connect(incoming_, &Incoming::document_wanted, this, &MainWindow::open_document);
    connect(&bench_, &Workbench::model_opened, this,
            [](const QString& path) { recent::remember("recent/models", path); });
    connect(&bench_, &Workbench::pictures_opened, this, [](const QStringList& paths) {
        for (const QString& p : paths.mid(0, 10)) recent::remember("recent/pictures", p);
    });
}

void MainWindow::connect_results() {
    connect(&bench_, &Workbench::message, status_, &StatusArea::say);
    connect(&bench_, &Workbench::results_changed, this, &MainWindow::refresh_results);
    connect(&bench_, &Workbench::stale_changed, this, [this](bool stale) {
        for (View* v : views_) v->set_stale(stale);
    });
    connect(&bench_, &Workbench::latency_changed, this, [this] {
        latency()->set_latency(bench_.latency());
        layers_->set_latency(bench_.latency());
        status_->set_results(bench_.shown(), bench_.latency());
    });
}

// What fits the screen there is; then as it was left.
void MainWindow::restore() {
    const QRect screen = QGuiApplication::primaryScreen()->availableGeometry();
    resize(std::min(1600, screen.width() * 9 / 10), std::min(1000, screen.height() * 9 / 10));
    docks_->keep_first_layout();
    QSettings settings;
    Theme::instance().set_choice(static_cast<Theme::Choice>(settings.value("theme", 0).toInt()));
    restoreGeometry(settings.value("window/geometry").toByteArray());
    if (!restoreState(settings.value("window/state").toByteArray())) docks_->reset();
    tabs_->setCurrentIndex(settings.value("window/tab", 0).toInt());
    docks_->name_tab_bars();
}

// ---- what comes in

void MainWindow::open_model(const QString& path) { bench_.open_model(path.toStdString()); }

void MainWindow::open_document(const QString& file) {
    std::string format;
    try {
        const ivit::Json document = ivit::read_json(file.toStdString(), "the document");
        if (document.is_object() && document.contains("format") && document["format"].is_string())
            format = document["format"].get<std::string>();
    } catch (const ivit::Error& e) {
        return bench_.say(QString::fromUtf8(e.what()), true);
    }
    if (format == "ivit-report") {
        compare_reports();
        comparison_->open(comparison_->report(0) ? 1 : 0, file);
    } else if (format == "ivit-calibration") {
        bench_.load_ranges(file.toStdString());
    } else {
        quantization_->load_config(file);
    }
}

bool MainWindow::take(const QMimeData* data) { return incoming_->take(data); }

void MainWindow::dragEnterEvent(QDragEnterEvent* e) {
    if (e->mimeData()->hasUrls() || e->mimeData()->hasImage() || e->mimeData()->hasText())
        e->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* e) {
    if (incoming_->take(e->mimeData())) {
        e->acceptProposedAction();
    } else {
        bench_.say(QStringLiteral("There is no picture in what was dropped"), true);
    }
}

// ---- what goes out to the views

View* MainWindow::current_tab() const { return static_cast<View*>(tabs_->currentWidget()); }

void MainWindow::refresh_results() {
    if (const ivit::ModelInfo* info = bench_.info()) predictions_->set_labels(info->labels);
    for (View* v : views_) v->set_results(bench_.shown());
    status_->set_results(bench_.shown(), bench_.latency());
    const ivit::ModelInfo* info = bench_.info();
    setWindowTitle(info ? QStringLiteral("%1 — I-ViT Explorer").arg(QString::fromStdString(info->name))
                        : QStringLiteral("I-ViT Explorer"));
}

// ---- the window itself

void MainWindow::take_size(const QSize& size) {
    resize(size);
    if (!QSettings().contains("window/state")) docks_->reset();
}

void MainWindow::showEvent(QShowEvent* e) {
    QMainWindow::showEvent(e);
    if (!e->spontaneous()) QTimer::singleShot(0, docks_, &Docks::lift_floating);
}

void MainWindow::closeEvent(QCloseEvent* e) {
    QSettings settings;
    settings.setValue("window/geometry", saveGeometry());
    settings.setValue("window/state", saveState());
    settings.setValue("window/tab", tabs_->currentIndex());
    webcam_->stop();
    QMainWindow::closeEvent(e);
}

bool MainWindow::eventFilter(QObject* watched, QEvent* e) {
    if (e->type() == QEvent::ShortcutOverride) {
        const auto* key = static_cast<QKeyEvent*>(e);
        if (!(key->modifiers() & (Qt::ControlModifier | Qt::AltModifier)) &&
            keeps_key(QApplication::focusWidget(), key->key())) {
            e->accept();
            return true;
        }
    }
    return QMainWindow::eventFilter(watched, e);
}

// A dock that lies behind another is moved out of the window, not hidden: Tab passes over what is in it.
bool MainWindow::focusNextPrevChild(bool next) {
    const QWidget* first = nullptr;
    while (QMainWindow::focusNextPrevChild(next)) {
        const QWidget* now = focusWidget();
        const bool in_sight = !now || rect().intersects(QRect(now->mapTo(this, QPoint(0, 0)), now->size()));
        if (in_sight || now == first) return true;
        if (!first) first = now;
    }
    return false;
}

QImage MainWindow::picture() {
    QImage image = grab().toImage();
    // grab() leaves out what the GPU composes.
    if (auto* gl = qobject_cast<QOpenGLWidget*>(current_tab()->canvas()); gl && gl->isVisible()) {
        QPainter p(&image);
        p.drawImage(QRect(gl->mapTo(this, QPoint(0, 0)), gl->size()), gl->grabFramebuffer());
    }
    return image;
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
        const bool saved = picture().save(file);
        if (!saved) fprintf(stderr, "ivit-explorer: %s cannot be written\n", qPrintable(file));
        QCoreApplication::exit(saved ? 0 : 1);
    });
    timer->start(100);
}
