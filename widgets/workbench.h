// SPDX-License-Identifier: GPL-3.0-or-later
// The document behind the window: the model, the pictures, the settings with their undo history, and the
// results. Lives on the GUI thread; the engine's session and the picture loader post to it, never the other
// way round.
#pragma once
#include <QImage>
#include <QObject>
#include <QStringList>
#include <QUndoStack>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "engine/session.h"
#include "widgets/models/picture_list_model.h"
#include "widgets/results.h"
#include "widgets/selection.h"

namespace ivit {
struct Causes;
struct OpenedModel;
}  // namespace ivit
class CausesFinder;
class FolderCalibrator;
class Ghost;
class LatencySampler;
class PictureLoader;
class StripClassifier;

// Everything a person can set that changes a result; what undo and redo walk over.
struct Settings {
    ivit::QuantConfig config;
    std::shared_ptr<const ivit::Calibration> calibration;  // null: calibrate on the picture at hand
    std::string backend = "auto";
    int threads = 0;
    bool operator==(const Settings&) const = default;
};

class Workbench : public QObject {
    Q_OBJECT
  public:
    explicit Workbench(QObject* parent = nullptr);
    ~Workbench() override;

    Selection& selection() { return selection_; }
    PictureListModel& pictures() { return pictures_; }
    QUndoStack& undo_stack() { return undo_; }
    const Settings& settings() const { return settings_; }
    const Shown& shown() const { return shown_; }
    bool stale() const { return stale_; }
    std::shared_ptr<const ivit::Model> model() const { return model_; }  // float; null: none at hand
    std::shared_ptr<const ivit::QuantizedModel> quantized() const { return quantized_; }  // loaded as such
    const ivit::Graph* graph() const;
    const ivit::ModelInfo* info() const;
    const LatencySamples& latency() const;

    // Loads a checkpoint, a quantized model or a named architecture (random weights) in the background; the
    // old one stays until the new one is there.
    void open_model(const std::filesystem::path& file);
    // Files at once, those of folders when they have been listed in the background; unreadable ones become
    // quiet marks in the strip. The first becomes the selection.
    void open_pictures(const QStringList& paths);
    void open_image(const QImage& image, const QString& name);
    void remove_picture(int row);
    // Shows the picture of this row, also when it is the selected one but a webcam's frame stands in its
    // place.
    void show_picture(int row);
    // A webcam's frame: shown and classified, without a place in the strip's history.
    void show_frame(const QImage& frame, const QString& name);

    // One undoable step. Steps with the same merge id (>= 0) in a row become one: a slider that is dragged.
    void change_settings(const Settings& to, const QString& what, int merge = -1);
    void change_config(const ivit::QuantConfig& to, const QString& what, int merge = -1);

    void set_pinned(bool pinned);
    bool pinned() const;

    void calibrate_on(const std::filesystem::path& folder, ivit::RangeMethod method);
    void cancel_calibration();
    // What `ivit calibrate` wrote, as a step of undo; while a model is being opened, of that one.
    void load_ranges(const std::filesystem::path& file);
    bool calibrating() const;

    void set_latency(bool keep_running, int batch);
    // What is shown as a report, made in the background. done, on this thread: the report, or null and why
    // there is none. in_background, on the worker: writes it, say; its Error becomes the problem.
    void make_report(
        std::function<void(std::shared_ptr<const nlohmann::ordered_json>, const QString& problem)> done,
        std::function<void(const nlohmann::ordered_json&)> in_background = {});
    // What is shown as a report: html, pdf, json, csv or md by the file's ending. Written in the background.
    void write_report(const std::filesystem::path& file);
    // What each single change to what is shown would bring (engine/report/causes.h), measured in the
    // background on the picture shown; any change of a setting or picture ends it. Asked for again, it is not
    // begun twice.
    void find_causes();
    std::shared_ptr<const ivit::Causes> causes() const;  // null: none, or not yet
    bool idle() const;  // nothing is on its way: results complete, strip classified, first latencies taken
    void say(const QString& sentence, bool warning = false) { emit message(sentence, warning); }

  signals:
    void model_changed();
    void settings_changed();
    void results_changed();  // shown()
    void stale_changed(bool stale);
    void latency_changed();
    void calibration_progress(qint64 done, qint64 total);
    void calibration_ended();
    void causes_changed();  // causes()
    void causes_progress(qint64 done, qint64 total);
    void message(const QString& sentence, bool warning);  // for the quiet status area
    void model_opened(const QString& path);
    void pictures_opened(const QStringList& paths);

  private:
    friend class SettingsCommand;
    void connect_jobs();
    void apply(const Settings& s);
    void submit();
    void take_result(std::shared_ptr<const ivit::Result> result);
    void take_model(const ivit::OpenedModel& opened, const QString& path);
    void picture_selected();
    void picture_prepared(int id, ivit::Pixels pixels, const QImage& sharp);
    void update_ghost();
    void run_ghost_again();
    void add_pictures(std::vector<Picture> found, const QStringList& opened, bool select);
    void take_listed(const QString& folder, const std::vector<std::filesystem::path>& files, bool select,
                     const QString& problem);
    void classify_strip();
    void say_no_calibration();
    void set_stale(bool stale);

    Selection selection_;
    PictureListModel pictures_;
    QUndoStack undo_;
    Settings settings_;
    std::shared_ptr<const ivit::Model> model_;
    std::shared_ptr<const ivit::QuantizedModel> quantized_;
    ivit::Pixels pixels_;  // of the selected picture, prepared for the model; empty until it is
    QString picture_name_;
    QImage sharp_;  // what pixels_ were made from
    int prepared_id_ = -1;

    Shown shown_;
    uint64_t awaited_ = 0;
    bool stale_ = false;
    int opening_ = 0;                      // models asked for and not here yet
    int listing_ = 0;                      // folders as well
    std::filesystem::path ranges_wanted_;  // for the model that is being opened
    bool answered_ = true;                 // the newest request has its result, or its error

    std::unique_ptr<PictureLoader> loader_;
    std::unique_ptr<LatencySampler> latency_;
    std::unique_ptr<Ghost> ghost_;
    std::unique_ptr<StripClassifier> strip_;
    std::unique_ptr<FolderCalibrator> calibrator_;
    std::unique_ptr<CausesFinder> causes_;
    // Last: it is joined first, so nothing posts to a half-destroyed object.
    std::unique_ptr<ivit::Session> session_;
};
