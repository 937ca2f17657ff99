// SPDX-License-Identifier: GPL-3.0-or-later
// The window: docks around a middle of tabs, one toolbar, the keys.
#pragma once
#include <QMainWindow>
#include <QTabWidget>
#include <vector>

#include "widgets/workbench.h"

class AttentionView;
class DistributionView;
class LatencyView;
class LayersView;
class ModelCard;
class OperatorView;
class PicturesView;
class PredictionsView;
class QActionGroup;
class QComboBox;
class QNetworkAccessManager;
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
    AttentionView* attention() { return attention_; }
    TensorView* tensor() { return tensor_; }
    DistributionView* distribution() { return distribution_; }
    OperatorView* operators() { return operators_; }
    LatencyView* latency() { return latency_; }
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
    // Grabs the window into `file` once every result has arrived, then quits with 0; 1 when that cannot be
    // done.
    void screenshot_when_ready(const QString& file);
    void show_keys();

  protected:
    void closeEvent(QCloseEvent* e) override;
    void dragEnterEvent(QDragEnterEvent* e) override;
    void dropEvent(QDropEvent* e) override;
    bool eventFilter(QObject* watched, QEvent* e) override;

  private:
    void make_docks();
    void make_toolbar();
    void make_menus();
    void reset_layout();
    void name_tab_bars();
    QAction* action(QMenu* menu, const QString& text, const QString& tip, const QKeySequence& key,
                    std::function<void()> run);
    void refresh_results();
    void refresh_settings();
    void refresh_models();
    void remember(const QString& list, const QString& path);
    void fill_recent(QMenu* menu, const QString& list, std::function<void(const QString&)> open);
    void download(const QUrl& url);
    void set_webcam(bool on);
    View* current_tab() const;

    Workbench bench_;
    QTabWidget* tabs_;
    PredictionsView* predictions_;
    LayersView* layers_;
    AttentionView* attention_;
    TensorView* tensor_;
    DistributionView* distribution_;
    OperatorView* operators_;
    LatencyView* latency_;
    QuantizationView* quantization_;
    PicturesView* pictures_;
    ModelCard* model_card_;
    StatusArea* status_;
    ReportComparison* comparison_ = nullptr;
    std::vector<View*> views_;
    std::vector<QDockWidget*> docks_;
    QComboBox *model_box_ = nullptr, *backend_box_ = nullptr;
    QActionGroup* presets_ = nullptr;
    QAction *pin_ = nullptr, *webcam_action_ = nullptr;
    QNetworkAccessManager* network_ = nullptr;
    std::unique_ptr<Webcam> webcam_;
    QByteArray first_layout_;
};
