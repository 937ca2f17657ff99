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
#include <algorithm>

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

// One line of a menu.
struct MainWindow::Command {
    QString text, tip;
    QKeySequence key;
    std::function<void()> run;
};

void MainWindow::add(QMenu* menu, const Command& command) {
    QAction* a = menu->addAction(command.text);
    a->setShortcut(command.key);
    a->setToolTip(command.tip);
    connect(a, &QAction::triggered, this, [run = command.run] { run(); });
}

void MainWindow::add(QMenu* menu, std::initializer_list<Command> commands) {
    for (const Command& c : commands) add(menu, c);
}

void MainWindow::make_menus() {
    QMenu* file = menuBar()->addMenu(QStringLiteral("&File"));
    add_picture_commands(file);
    file->addSeparator();
    add_model_commands(file);
    file->addSeparator();
    add_export_commands(file);
    file->addSeparator();
    add(file, {"&Quit", "", QKeySequence::Quit, [this] { close(); }});

    add_quantization_commands(menuBar()->addMenu(QStringLiteral("&Quantization")));

    QMenu* view = menuBar()->addMenu(QStringLiteral("&View"));
    for (int i = 0; i < tabs_->count(); ++i) {
        add(view, {tabs_->tabText(i), "", QKeySequence(QString::number(i + 1)),
                   [this, i] { tabs_->setCurrentIndex(i); }});
    }
    view->addSeparator();
    add_selection_commands(view);
    add_comparison_commands(view);
    view->addSeparator();
    add_tab_commands(view);
    view->addSeparator();
    add_layout_commands(view);

    QMenu* help = menuBar()->addMenu(QStringLiteral("&Help"));
    add(help, {"&Keys", "", QKeySequence::HelpContents, [this] { show_keys(*this); }});
    for (QMenu* m : menuBar()->findChildren<QMenu*>()) m->setToolTipsVisible(true);
}

// ---- File

void MainWindow::add_picture_commands(QMenu* file) {
    add(file,
        {{"Open &pictures …", "Pictures into the strip", QKeySequence::Open,
          [this] { toolbar_->open_pictures()->trigger(); }},
         {"Open &folder …", "All pictures of a folder", QKeySequence("Ctrl+Shift+O"),
          [this] { open_folder(); }},
         {"P&aste picture", "From the clipboard: a picture, files or a link", QKeySequence::Paste, [this] {
              if (!incoming_->take(QGuiApplication::clipboard()->mimeData()))
                  bench_.say(QStringLiteral("There is no picture on the clipboard"), true);
          }}});
    add_webcam(file);
    recent::fill(file->addMenu(QStringLiteral("Recent pictures")), "recent/pictures",
                 [this](const QString& p) { bench_.open_pictures({p}); });
}

void MainWindow::open_folder() {
    const QString folder =
        QFileDialog::getExistingDirectory(this, QStringLiteral("Open the pictures of"),
                                          QSettings().value("pictures/folder", QDir::homePath()).toString());
    if (folder.isEmpty()) return;
    QSettings().setValue("pictures/folder", folder);
    bench_.open_pictures({folder});
}

// A switch, which a camera that fails turns off again.
void MainWindow::add_webcam(QMenu* file) {
    QAction* on = file->addAction(QStringLiteral("&Webcam"));
    on->setObjectName("webcam");
    on->setCheckable(true);
    on->setShortcut(QKeySequence("Ctrl+W"));
    on->setToolTip(QStringLiteral("Classify what the first webcam sees"));
    connect(on, &QAction::toggled, webcam_.get(),
            [this](bool start) { start ? webcam_->start() : webcam_->stop(); });
    connect(webcam_.get(), &Webcam::frame, this, [this, on](const QImage& f) {
        if (on->isChecked()) bench_.show_frame(f, QStringLiteral("webcam"));
    });
    connect(webcam_.get(), &Webcam::ended, this, [this, on](const QString& why) {
        on->setChecked(false);
        bench_.say(why, true);
    });
}

void MainWindow::add_model_commands(QMenu* file) {
    add(file, {{"Open &model …", "A checkpoint or a quantized model", QKeySequence("Ctrl+M"),
                [this] { toolbar_->choose_model(); }}});
    recent::fill(file->addMenu(QStringLiteral("Recent models")), "recent/models",
                 [this](const QString& p) { open_model(p); });
    add(file, {{"&Calibrate on folder …", "Activation ranges from the pictures of a folder",
                QKeySequence("Ctrl+K"), [this] { model_card_->choose_calibration_folder(); }},
               {"&Save quantized model …", "The integers as one safetensors file",
                QKeySequence("Ctrl+Shift+S"), [this] { model_card_->save_quantized(); }}});
}

void MainWindow::add_export_commands(QMenu* file) {
    add(file,
        {{"Export &report …", "What is shown as one file: HTML, PDF, JSON, CSV or Markdown",
          QKeySequence("Ctrl+E"), [this] { toolbar_->report()->trigger(); }},
         {"Compare re&ports …", "Two reports side by side, or what is shown against one",
          QKeySequence("Ctrl+Shift+R"), [this] { compare_reports(); }},
         {"E&xport view …", "The view in the middle as PNG, SVG, PDF or CSV", QKeySequence("Ctrl+Shift+E"),
          [this] { exporting::ask_and_save(current_tab()->canvas(), current_tab()->name().toLower()); }},
         {"Export SQNR &plot …", "As PNG, SVG, PDF or CSV", QKeySequence("Ctrl+Alt+E"),
          [this] { exporting::ask_and_save(layers_->canvas(), "sqnr"); }},
         {"Copy window as picture", "The whole window to the clipboard", QKeySequence("Ctrl+Shift+C"),
          [this] { QGuiApplication::clipboard()->setImage(picture()); }}});
}

void MainWindow::compare_reports() {
    if (!comparison_) comparison_ = new ReportComparison(bench_, this);
    comparison_->show();
    comparison_->raise();
}

// ---- Quantization

void MainWindow::add_quantization_commands(QMenu* menu) {
    menu->addActions({toolbar_->undo(), toolbar_->redo()});
    menu->addSeparator();
    add(menu, {{"&Load configuration …", "From a JSON file", QKeySequence("Ctrl+L"),
                [this] { quantization_->load_config(); }},
               {"&Save configuration …", "As a JSON file", QKeySequence::Save,
                [this] { quantization_->save_config(); }}});
    menu->addSeparator();
    int key = 1;
    for (QAction* preset : toolbar_->width_presets()) {
        preset->setShortcut(QKeySequence(QStringLiteral("Ctrl+%1").arg(key++)));
        menu->addAction(preset);
    }
}

// ---- View

void MainWindow::add_selection_commands(QMenu* view) {
    add(view, {{"Next node", "", QKeySequence(Qt::Key_Down), [this] { layers_->step(1); }},
               {"Previous node", "", QKeySequence(Qt::Key_Up), [this] { layers_->step(-1); }},
               {"Node that is worst alone", "The one that adds the most error by itself", QKeySequence("H"),
                [this] {
                    const int node = predictions_->worst_alone();
                    if (node >= 0) bench_.selection().set_node(node);
                }},
               {"Next picture", "", QKeySequence(Qt::Key_Right), [this] { step_picture(1); }},
               {"Previous picture", "", QKeySequence(Qt::Key_Left), [this] { step_picture(-1); }},
               {"Next head", "", QKeySequence("]"), [this] { step_head(1); }},
               {"Previous head", "", QKeySequence("["), [this] { step_head(-1); }},
               {"Patch to the right", "", QKeySequence("Shift+Right"), [this] { step_patch(1, 0); }},
               {"Patch to the left", "", QKeySequence("Shift+Left"), [this] { step_patch(-1, 0); }},
               {"Patch below", "", QKeySequence("Shift+Down"), [this] { step_patch(0, 1); }},
               {"Patch above", "", QKeySequence("Shift+Up"), [this] { step_patch(0, -1); }}});
}

void MainWindow::step_picture(int by) {
    const int n = bench_.pictures().rowCount();
    if (n > 0) bench_.selection().set_picture(std::clamp(bench_.selection().picture() + by, 0, n - 1));
}

void MainWindow::step_head(int by) {
    const ivit::Graph* g = bench_.graph();
    if (g) bench_.selection().set_head(std::clamp(bench_.selection().head() + by, 0, g->heads - 1));
}

// From the class token, which lies nowhere on the picture, to its middle.
void MainWindow::step_patch(int right, int down) {
    const ivit::Graph* g = bench_.graph();
    if (!g) return;
    const int side = g->image_size / g->patch_size, at = bench_.selection().token() - 1;
    const int x = at < 0 ? side / 2 : std::clamp(at % side + right, 0, side - 1);
    const int y = at < 0 ? side / 2 : std::clamp(at / side + down, 0, side - 1);
    bench_.selection().set_token(1 + y * side + x);
}

void MainWindow::add_comparison_commands(QMenu* view) {
    add(view, {{"Flip float and integer", "", QKeySequence(Qt::Key_Space), [this] { current_tab()->flip(); }},
               {"Difference", "", QKeySequence("D"), [this] { current_tab()->show_difference(); }}});
    toolbar_->pin()->setShortcut(QKeySequence("P"));
    view->addAction(toolbar_->pin());
    add(view, {{"Worst layers first", "", QKeySequence("W"), [this] { layers_->sort_worst_first(); }},
               {"Execution order", "", QKeySequence("E"), [this] { layers_->sort_by_execution(); }}});
}

// What the tabs have switches for, by key from anywhere.
void MainWindow::add_tab_commands(QMenu* view) {
    const auto next_of = [](QComboBox* box) {
        if (box->isEnabled()) box->setCurrentIndex((box->currentIndex() + 1) % box->count());
    };
    add(view, {{"Class token", "The row of the class token, whichever patch is selected",
                QKeySequence(Qt::Key_Escape), [this] { bench_.selection().set_token(0); }},
               {"Attention rollout", metrics::define("rollout"), QKeySequence("R"),
                [this] { attention()->findChild<QCheckBox*>("rollout")->toggle(); }},
               {"Shiftmax against the same logits or the float network", "", QKeySequence("A"),
                [this, next_of] { next_of(attention()->findChild<QComboBox*>("against")); }},
               {"Tensor as matrix or picture", "", QKeySequence("M"),
                [this, next_of] { next_of(tensor()->findChild<QComboBox*>("tensor_layout")); }},
               {"Zoom in", "The tensor lens", QKeySequence("+"), [this] { tensor()->zoom(1.5); }},
               {"Zoom out", "The tensor lens", QKeySequence("-"), [this] { tensor()->zoom(1 / 1.5); }},
               {"Whole tensor", "The tensor lens", QKeySequence("F"), [this] { tensor()->zoom(0); }},
               {"Keep timing", "Go on timing both networks in the background", QKeySequence("K"),
                [this] { latency()->findChild<QCheckBox*>("keep_running")->toggle(); }}});
}

void MainWindow::add_layout_commands(QMenu* view) {
    QMenu* go = view->addMenu(QStringLiteral("Go to"));
    int function_key = Qt::Key_F2;
    for (QDockWidget* d : docks_->all()) {
        add(go, {d->windowTitle(), "", QKeySequence(function_key++), [d] {
                     Docks::reveal(d);
                     d->widget()->setFocus();
                 }});
    }
    QMenu* docks = view->addMenu(QStringLiteral("Docks"));
    for (QDockWidget* d : docks_->all()) docks->addAction(d->toggleViewAction());
    add(view, {"Reset layout", "", QKeySequence("Ctrl+0"), [this] { docks_->reset(); }});
    add_themes(view->addMenu(QStringLiteral("Theme")));
    add(view, {"Full screen", "", QKeySequence(Qt::Key_F11),
               [this] { isFullScreen() ? showNormal() : showFullScreen(); }});
}

void MainWindow::add_themes(QMenu* menu) {
    auto* themes = new QActionGroup(this);
    const char* names[] = {"As the system", "Light", "Dark"};  // by Theme::Choice
    for (int i = 0; i < 3; ++i) {
        QAction* a = menu->addAction(names[i]);
        a->setCheckable(true);
        a->setChecked(QSettings().value("theme", 0).toInt() == i);
        themes->addAction(a);
        connect(a, &QAction::triggered, this, [i] {
            QSettings().setValue("theme", i);
            Theme::instance().set_choice(static_cast<Theme::Choice>(i));
        });
    }
}
