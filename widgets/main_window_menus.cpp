// SPDX-License-Identifier: GPL-3.0-or-later
// The menus of the window: every command it has, with its key.
#include <QActionGroup>
#include <QCheckBox>
#include <QClipboard>
#include <QComboBox>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QGuiApplication>
#include <QMenuBar>
#include <QSettings>

#include "widgets/attention_view.h"
#include "widgets/docks.h"
#include "widgets/exporting.h"
#include "widgets/incoming.h"
#include "widgets/keys_dialog.h"
#include "widgets/latency_view.h"
#include "widgets/layers_view.h"
#include "widgets/main_toolbar.h"
#include "widgets/main_window.h"
#include "widgets/metrics.h"
#include "widgets/model_card.h"
#include "widgets/predictions_view.h"
#include "widgets/quantization_view.h"
#include "widgets/recent.h"
#include "widgets/report_comparison.h"
#include "widgets/tensor_view.h"
#include "widgets/theme.h"
#include "widgets/webcam.h"

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
           [this] { toolbar_->open_pictures()->trigger(); });
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
               if (!incoming_->take(QGuiApplication::clipboard()->mimeData()))
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
    recent::fill(file->addMenu(QStringLiteral("Recent pictures")), "recent/pictures",
                 [this](const QString& p) { bench_.open_pictures({p}); });
    file->addSeparator();
    action(file, "Open &model …", "A checkpoint or a quantized model", QKeySequence("Ctrl+M"),
           [this] { toolbar_->choose_model(); });
    recent::fill(file->addMenu(QStringLiteral("Recent models")), "recent/models",
                 [this](const QString& p) { open_model(p); });
    action(file, "&Calibrate on folder …", "Activation ranges from the pictures of a folder",
           QKeySequence("Ctrl+K"), [this] { model_card_->choose_calibration_folder(); });
    action(file, "&Save quantized model …", "The integers as one safetensors file",
           QKeySequence("Ctrl+Shift+S"), [this] { model_card_->save_quantized(); });
    file->addSeparator();
    action(file, "Export &report …", "What is shown as one file: HTML, PDF, JSON, CSV or Markdown",
           QKeySequence("Ctrl+E"), [this] { toolbar_->report()->trigger(); });
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
           [this] { QGuiApplication::clipboard()->setImage(picture()); });
    file->addSeparator();
    action(file, "&Quit", "", QKeySequence::Quit, [this] { close(); });

    QMenu* quantization = menuBar()->addMenu(QStringLiteral("&Quantization"));
    quantization->addAction(toolbar_->undo());
    quantization->addAction(toolbar_->redo());
    quantization->addSeparator();
    action(quantization, "&Load configuration …", "From a JSON file", QKeySequence("Ctrl+L"),
           [this] { quantization_->load_config(); });
    action(quantization, "&Save configuration …", "As a JSON file", QKeySequence::Save,
           [this] { quantization_->save_config(); });
    quantization->addSeparator();
    int key = 1;
    for (QAction* preset : toolbar_->width_presets()) {
        preset->setShortcut(QKeySequence(QStringLiteral("Ctrl+%1").arg(key++)));
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
    action(view, "Node that is worst alone", "The one that adds the most error by itself", QKeySequence("H"),
           [this] {
               if (predictions_->worst_alone() >= 0) bench_.selection().set_node(predictions_->worst_alone());
           });
    const auto picture = [this](int by) {
        const int n = bench_.pictures().rowCount();
        if (n > 0) bench_.selection().set_picture(std::clamp(bench_.selection().picture() + by, 0, n - 1));
    };
    action(view, "Next picture", "", QKeySequence(Qt::Key_Right), [picture] { picture(1); });
    action(view, "Previous picture", "", QKeySequence(Qt::Key_Left), [picture] { picture(-1); });
    const auto head = [this](int by) {
        const ivit::Graph* g = bench_.graph();
        if (g) bench_.selection().set_head(std::clamp(bench_.selection().head() + by, 0, g->heads - 1));
    };
    action(view, "Next head", "", QKeySequence("]"), [head] { head(1); });
    action(view, "Previous head", "", QKeySequence("["), [head] { head(-1); });
    // From the class token, which lies nowhere on the picture, to its middle.
    const auto patch = [this](int right, int down) {
        const ivit::Graph* g = bench_.graph();
        if (!g) return;
        const int side = g->image_size / g->patch_size, at = bench_.selection().token() - 1;
        const int x = at < 0 ? side / 2 : std::clamp(at % side + right, 0, side - 1);
        const int y = at < 0 ? side / 2 : std::clamp(at / side + down, 0, side - 1);
        bench_.selection().set_token(1 + y * side + x);
    };
    action(view, "Patch to the right", "", QKeySequence("Shift+Right"), [patch] { patch(1, 0); });
    action(view, "Patch to the left", "", QKeySequence("Shift+Left"), [patch] { patch(-1, 0); });
    action(view, "Patch below", "", QKeySequence("Shift+Down"), [patch] { patch(0, 1); });
    action(view, "Patch above", "", QKeySequence("Shift+Up"), [patch] { patch(0, -1); });
    action(view, "Flip float and integer", "", QKeySequence(Qt::Key_Space),
           [this] { current_tab()->flip(); });
    action(view, "Difference", "", QKeySequence("D"), [this] { current_tab()->show_difference(); });
    toolbar_->pin()->setShortcut(QKeySequence("P"));
    view->addAction(toolbar_->pin());
    action(view, "Worst layers first", "", QKeySequence("W"), [this] { layers_->sort_worst_first(); });
    action(view, "Execution order", "", QKeySequence("E"), [this] { layers_->sort_by_execution(); });
    view->addSeparator();
    const auto next_of = [](QComboBox* box) {
        if (box && box->isEnabled()) box->setCurrentIndex((box->currentIndex() + 1) % box->count());
    };
    action(view, "Class token", "The row of the class token, whichever patch is selected",
           QKeySequence(Qt::Key_Escape), [this] { bench_.selection().set_token(0); });
    action(view, "Attention rollout", metrics::define("rollout"), QKeySequence("R"),
           [this] { attention()->findChild<QCheckBox*>("rollout")->toggle(); });
    action(view, "Shiftmax against the same logits or the float network", "", QKeySequence("A"),
           [this, next_of] { next_of(attention()->findChild<QComboBox*>("against")); });
    action(view, "Tensor as matrix or picture", "", QKeySequence("M"),
           [this, next_of] { next_of(tensor()->findChild<QComboBox*>("tensor_layout")); });
    action(view, "Zoom in", "The tensor lens", QKeySequence("+"), [this] { tensor()->zoom(1.5); });
    action(view, "Zoom out", "The tensor lens", QKeySequence("-"), [this] { tensor()->zoom(1 / 1.5); });
    action(view, "Whole tensor", "The tensor lens", QKeySequence("F"), [this] { tensor()->zoom(0); });
    action(view, "Keep timing", "Go on timing both networks in the background", QKeySequence("K"),
           [this] { latency()->findChild<QCheckBox*>("keep_running")->toggle(); });
    view->addSeparator();
    QMenu* go = view->addMenu(QStringLiteral("Go to"));
    int function_key = Qt::Key_F2;
    for (QDockWidget* d : docks_->all()) {
        action(go, d->windowTitle(), "", QKeySequence(function_key++), [d] {
            Docks::reveal(d);
            d->widget()->setFocus();
        });
    }
    QMenu* docks = view->addMenu(QStringLiteral("Docks"));
    for (QDockWidget* d : docks_->all()) docks->addAction(d->toggleViewAction());
    action(view, "Reset layout", "", QKeySequence("Ctrl+0"), [this] { docks_->reset(); });
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
    action(help, "&Keys", "", QKeySequence::HelpContents, [this] { show_keys(*this); });
    for (QMenu* m : menuBar()->findChildren<QMenu*>()) m->setToolTipsVisible(true);
}
