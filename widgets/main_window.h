// SPDX-License-Identifier: GPL-3.0-or-later
// The window: docks around a middle of tabs, one toolbar, the keys.
#pragma once
#include <QMainWindow>
#include <QTabWidget>
#include <initializer_list>
#include <memory>
#include <vector>

#include "widgets/workbench.h"

class AttentionView;
class DistributionView;
class Docks;
class Incoming;
class LatencyView;
class LayersView;
class MainToolBar;
class ModelCard;
class OperatorView;
class PicturesView;
class PredictionsView;
class QuantizationView;
class ReportComparison;
class StatusArea;
class TensorView;
class View;
class Webcam;

class MainWindow : public QMainWindow {
    Q_OBJECT
  public:
    MainWindow();
    ~MainWindow() override;

    Workbench& bench() { return bench_; }
    PredictionsView* predictions() { return predictions_; }
    LayersView* layers() { return layers_; }
    AttentionView* attention() const;
    TensorView* tensor() const;
    DistributionView* distribution() const;
    OperatorView* operators() const;
    LatencyView* latency() const;
    QuantizationView* quantization() { return quantization_; }
    ReportComparison* comparison() { return comparison_; }  // null until it is asked for
    PicturesView* pictures() { return pictures_; }
    ModelCard* model_card() { return model_card_; }
    StatusArea* status() { return status_; }
    QTabWidget* tabs() { return tabs_; }
    Webcam& webcam() { return *webcam_; }

    // A drop, a paste: pictures, folders, links, picture data. False when there is nothing in it for us.
    bool take(const QMimeData* data);
    void open_model(const QString& path);
    // A JSON file, by what it says it is: ranges, a report (beside the one that is open already), else a
    // configuration.
    void open_document(const QString& file);
    // That large, with docks of the sizes that go with it unless the user has a layout of their own.
    void take_size(const QSize& size);
    // Grabs the window into `file` once every result has arrived, then quits with 0; 1 when that cannot be
    // done.
    void screenshot_when_ready(const QString& file);
    QImage picture();  // of the whole window, with what the GPU draws in it

  protected:
    void showEvent(QShowEvent* e) override;
    void closeEvent(QCloseEvent* e) override;
    void dragEnterEvent(QDragEnterEvent* e) override;
    void dropEvent(QDropEvent* e) override;
    bool focusNextPrevChild(bool next) override;
    bool eventFilter(QObject* watched, QEvent* e) override;

  private:
    void add_tabs();
    void make_docks();
    void connect_commands();
    void connect_results();
    void restore();
    struct Command;
    void add(QMenu* menu, const Command& command);
    void add(QMenu* menu, std::initializer_list<Command> commands);
    void make_menus();
    void add_picture_commands(QMenu* file);
    void add_webcam(QMenu* file);
    void add_model_commands(QMenu* file);
    void add_export_commands(QMenu* file);
    void add_quantization_commands(QMenu* menu);
    void add_selection_commands(QMenu* view);
    void add_comparison_commands(QMenu* view);
    void add_tab_commands(QMenu* view);
    void add_layout_commands(QMenu* view);
    void add_themes(QMenu* menu);
    void open_folder();
    void compare_reports();
    void step_picture(int by);
    void step_head(int by);
    void step_patch(int right, int down);
    void refresh_results();
    View* current_tab() const;

    Workbench bench_;
    QTabWidget* tabs_;
    PredictionsView* predictions_;
    LayersView* layers_;
    QuantizationView* quantization_;
    PicturesView* pictures_;
    ModelCard* model_card_;
    StatusArea* status_;
    ReportComparison* comparison_ = nullptr;
    std::vector<View*> views_;  // all that take results
    Docks* docks_;
    Incoming* incoming_;
    MainToolBar* toolbar_ = nullptr;
    std::unique_ptr<Webcam> webcam_;
};
