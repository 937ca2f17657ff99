// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/workbench.h"

#include <QFileInfo>
#include <QUndoCommand>
#include <algorithm>

#include "engine/open_model.h"
#include "widgets/causes_finder.h"
#include "widgets/folder_calibrator.h"
#include "widgets/ghost.h"
#include "widgets/latency_sampler.h"
#include "widgets/picture_loader.h"
#include "widgets/shown_report.h"
#include "widgets/strip_classifier.h"
#include "widgets/workbench_parts.h"

namespace fs = std::filesystem;

namespace {

Picture picture_of(const fs::path& file) {
    Picture p;
    p.name = QString::fromStdString(file.filename().string());
    p.file = file;
    return p;
}

// A bare word that is no file names an architecture: vit_small_patch16_224, deit_tiny_patch16_64. Throws
// Error.
ivit::OpenedModel open_named(const fs::path& file) {
    const bool bare = !file.has_parent_path() && !file.has_extension();
    std::error_code unreadable;
    if (!bare || fs::exists(file, unreadable)) return ivit::open_model(file, ivit::KeepWeights::in_memory);
    try {
        ivit::OpenedModel random;
        random.model = ivit::random_model(file.string());
        return random;
    } catch (const ivit::Error& e) {
        throw ivit::Error("there is neither a file nor an architecture of this name", file.string(),
                          e.hint());
    }
}

}  // namespace

class SettingsCommand : public QUndoCommand {
  public:
    SettingsCommand(Workbench& bench, Settings from, Settings to, const QString& what, int merge)
        : QUndoCommand(what), bench_(bench), from_(std::move(from)), to_(std::move(to)), merge_(merge) {}
    void undo() override { bench_.apply(from_); }
    void redo() override { bench_.apply(to_); }
    int id() const override { return merge_; }
    bool mergeWith(const QUndoCommand* other) override {
        to_ = static_cast<const SettingsCommand*>(other)->to_;
        if (to_ == from_) setObsolete(true);
        return true;
    }

  private:
    Workbench& bench_;
    Settings from_, to_;
    int merge_;
};

Workbench::Workbench(QObject* parent) : QObject(parent), loader_(std::make_unique<PictureLoader>()) {
    session_ = std::make_unique<ivit::Session>([this](std::shared_ptr<const ivit::Result> result) {
        QMetaObject::invokeMethod(
            this, [this, result] { take_result(result); }, Qt::QueuedConnection);
    });
    latency_ = std::make_unique<LatencySampler>(*session_);
    connect(latency_.get(), &LatencySampler::changed, this, &Workbench::latency_changed);
    strip_ = std::make_unique<StripClassifier>(*session_, pictures_);
    connect_jobs();
    connect(loader_.get(), &PictureLoader::listed, this, &Workbench::take_listed);
    connect(loader_.get(), &PictureLoader::thumbnail_ready, &pictures_, &PictureListModel::set_thumbnail);
    connect(&pictures_, &PictureListModel::thumbnail_wanted, this, [this](int id) {
        if (const int row = pictures_.row_of(id); row >= 0)
            loader_->load_thumbnail(pictures_.picture(row), true);
    });
    connect(loader_.get(), &PictureLoader::failed, this, [this](int id, const QString& why) {
        const int row = pictures_.row_of(id);
        if (row < 0 || !pictures_.picture(row).error.isEmpty()) return;
        pictures_.set_error(id, why);
        emit message(pictures_.picture(row).name + QStringLiteral(": ") + why, true);
        if (row != selection_.picture()) return;
        for (int i = 0; i < pictures_.rowCount(); ++i) {  // show something that can be shown
            if (pictures_.picture(i).error.isEmpty()) return selection_.set_picture(i);
        }
        set_stale(false);
    });
    connect(loader_.get(), &PictureLoader::prepared, this,
            [this](int id, int size, const ivit::Pixels& pixels, const QImage& sharp) {
                if (const ivit::Graph* g = graph(); g && g->image_size == size)
                    picture_prepared(id, pixels, sharp);
            });
    connect(&selection_, &Selection::picture_changed, this, &Workbench::picture_selected);
}

void Workbench::connect_jobs() {
    ghost_ = std::make_unique<Ghost>(*session_);
    connect(ghost_.get(), &Ghost::came, this, [this] {
        update_ghost();
        emit results_changed();
    });
    calibrator_ = std::make_unique<FolderCalibrator>(*session_);
    connect(calibrator_.get(), &FolderCalibrator::progress, this, &Workbench::calibration_progress);
    connect(calibrator_.get(), &FolderCalibrator::ended, this, &Workbench::calibration_ended);
    connect(calibrator_.get(), &FolderCalibrator::problem, this,
            [this](const QString& sentence) { emit message(sentence, true); });
    connect(calibrator_.get(), &FolderCalibrator::calibrated, this,
            [this](const std::shared_ptr<const ivit::Model>& model,
                   const std::shared_ptr<const ivit::Calibration>& ranges, const QString& folder) {
                if (model != model_) return;
                Settings s = settings_;
                s.calibration = ranges;
                change_settings(s, QStringLiteral("calibrate on %1").arg(folder));
            });
    causes_ = std::make_unique<CausesFinder>(*session_);
    connect(causes_.get(), &CausesFinder::progress, this, &Workbench::causes_progress);
    connect(causes_.get(), &CausesFinder::changed, this, &Workbench::causes_changed);
    connect(causes_.get(), &CausesFinder::problem, this,
            [this](const QString& sentence) { emit message(sentence, true); });
}

Workbench::~Workbench() {
    calibrator_->cancel();
    strip_->stop();
    causes_->forget();
    ghost_->stop();
    session_.reset();  // joins the worker while everything it posts to is alive
}

const ivit::Graph* Workbench::graph() const {
    return model_ ? model_->graph.get() : quantized_ ? quantized_->graph.get() : nullptr;
}

const ivit::ModelInfo* Workbench::info() const {
    return model_ ? &model_->info : quantized_ ? &quantized_->info : nullptr;
}

const LatencySamples& Workbench::latency() const { return latency_->samples(); }

void Workbench::set_latency(bool keep_running, int batch) { latency_->set_mode(keep_running, batch); }

bool Workbench::idle() const {
    return opening_ == 0 && listing_ == 0 && !stale_ && !strip_->busy() && !ghost_->busy() &&
           !causes_->busy() && !calibrator_->busy() && (!latency_->busy() || latency_->keep_running()) &&
           (!shown_.current || shown_.current->complete || shown_.current->error);
}

// ---- model

void Workbench::open_model(const fs::path& file) {
    calibrator_->cancel();
    ++opening_;
    set_stale(true);
    emit message(QStringLiteral("Opening %1 …").arg(QString::fromStdString(file.filename().string())), false);
    session_->submit_idle([this, file](std::stop_token) {
        auto opened = std::make_shared<ivit::OpenedModel>();
        QString problem;
        try {
            *opened = open_named(file);
        } catch (const ivit::Error& e) {
            problem = sentence(e);
        } catch (const std::exception& e) {
            problem =
                QString::fromStdString(file.string()) + QStringLiteral(": ") + QString::fromUtf8(e.what());
        }
        const QString path = QString::fromStdString(file.string());
        QMetaObject::invokeMethod(
            this,
            [this, opened, problem, path] {
                --opening_;
                if (problem.isEmpty()) return take_model(*opened, path);
                emit message(problem, true);
                set_stale(false);
                picture_selected();  // with the model there was
                if (opening_ == 0) ranges_wanted_.clear();
            },
            Qt::QueuedConnection);
        return true;
    });
}

void Workbench::take_model(const ivit::OpenedModel& opened, const QString& path) {
    model_ = opened.model;
    quantized_ = opened.quantized;
    if (!opened.note.empty()) emit message(QString::fromStdString(opened.note), true);
    ghost_->forget();
    shown_ = {};
    shown_.model_open = true;
    pixels_.clear();
    prepared_id_ = -1;
    latency_->stop();
    causes_->forget();
    strip_->stop();
    pictures_.forget_predictions(true);
    undo_.clear();  // its steps speak of another network's nodes
    settings_.calibration = quantized_ ? nullptr : opened.calibration;
    if (quantized_) {
        settings_.config = quantized_->config;
    } else {
        try {
            ivit::resolve(settings_.config, *model_->graph);
        } catch (const ivit::Error& e) {
            settings_.config.rules.clear();  // rules for nodes this network does not have
            emit message(QStringLiteral("The overrides were left out: ") + sentence(e), true);
        }
    }
    for (const std::string& a : info()->assumptions) emit message(QString::fromStdString(a), false);
    emit message(QStringLiteral("Opened %1").arg(QFileInfo(path).fileName()), false);
    emit model_opened(path);
    emit model_changed();
    emit settings_changed();
    emit results_changed();
    // Something worth looking at first: the attention of the middle of the network.
    const auto& nodes = graph()->nodes;
    if (selection_.node() < 0 || static_cast<size_t>(selection_.node()) >= nodes.size()) {
        int softmax = -1;
        for (size_t i = 0; i < nodes.size(); ++i) {
            if (nodes[i].op == ivit::Op::softmax && nodes[i].block <= graph()->depth / 2)
                softmax = static_cast<int>(i);
        }
        selection_.set_node(std::max(softmax, 0));
    }
    if (opening_ == 0 && !ranges_wanted_.empty()) load_ranges(std::exchange(ranges_wanted_, {}));
    picture_selected();
}

// ---- pictures

void Workbench::open_pictures(const QStringList& paths) {
    std::vector<Picture> found;
    QStringList opened;
    bool first = true;  // what comes first is shown
    for (const QString& path : paths) {
        const fs::path file(path.toStdString());
        std::error_code error;
        if (fs::is_directory(file, error)) {
            ++listing_;
            loader_->list(path, std::exchange(first, false));
        } else if (!fs::exists(file, error)) {
            emit message(QStringLiteral("%1: there is no such file").arg(path), true);
        } else {
            found.push_back(picture_of(file));
            opened << path;
            first = false;
        }
    }
    add_pictures(std::move(found), opened, true);
}

void Workbench::add_pictures(std::vector<Picture> found, const QStringList& opened, bool select) {
    if (found.empty()) return;
    const size_t n = found.size();
    const int first = pictures_.add(std::move(found));
    for (int row = first; row < pictures_.rowCount(); ++row) loader_->load_thumbnail(pictures_.picture(row));
    if (n > 1) emit message(QStringLiteral("%1 pictures added").arg(n), false);
    emit pictures_opened(opened);
    if (select || selection_.picture() < 0) selection_.set_picture(first);
    if (shown_.current && shown_.current->complete) classify_strip();
}

void Workbench::take_listed(const QString& folder, const std::vector<fs::path>& files, bool select,
                            const QString& problem) {
    --listing_;
    if (!problem.isEmpty()) return emit message(problem, true);
    std::vector<Picture> found;
    for (const fs::path& p : files) found.push_back(picture_of(p));
    add_pictures(std::move(found), {folder}, select);
}

void Workbench::open_image(const QImage& image, const QString& name) {
    if (image.isNull()) return emit message(QStringLiteral("%1: there is no picture in it").arg(name), true);
    Picture p;
    p.name = name;
    p.image = std::make_shared<const ivit::Image>(to_image(image));
    std::vector<Picture> one;
    one.push_back(std::move(p));
    const int row = pictures_.add(std::move(one));
    loader_->load_thumbnail(pictures_.picture(row));
    selection_.set_picture(row);
}

void Workbench::remove_picture(int row) {
    if (row < 0 || row >= pictures_.rowCount()) return;
    const int selected = selection_.picture();
    pictures_.remove(row);
    if (row > selected) return;
    if (row < selected) {
        selection_.set_picture(selected - 1);  // the same picture; picture_selected() sees that
        return;
    }
    const int next = std::min(row, pictures_.rowCount() - 1);
    if (next == selected) {
        picture_selected();
    } else {
        selection_.set_picture(next);
    }
}

void Workbench::show_picture(int row) {
    if (row == selection_.picture()) return picture_selected();
    selection_.set_picture(row);
}

void Workbench::show_frame(const QImage& frame, const QString& name) {
    const ivit::Graph* g = graph();
    if (!g || frame.isNull() || stale_) return;  // a frame that finds the worker busy is dropped
    prepared_id_ = -1;
    picture_name_ = name;
    const ivit::Image image = to_image(frame);
    pixels_ = ivit::preprocess(image, g->image_size, info()->crop_pct);
    sharp_ = sharp_crop(image, g->image_size, info()->crop_pct);
    submit();
}

void Workbench::picture_selected() {
    const ivit::Graph* g = graph();
    const int row = selection_.picture();
    if (!g) return;
    if (row < 0 || row >= pictures_.rowCount()) {
        pixels_.clear();
        prepared_id_ = -1;
        shown_.current.reset();
        update_ghost();
        set_stale(false);
        emit results_changed();
        return;
    }
    const Picture& p = pictures_.picture(row);
    if (p.id == prepared_id_) return set_stale(!answered_);  // back from one that could not be read
    if (!p.error.isEmpty()) return;
    set_stale(true);
    loader_->prepare(p, g->image_size, info()->crop_pct);
}

void Workbench::picture_prepared(int id, ivit::Pixels pixels, const QImage& sharp) {
    const int row = pictures_.row_of(id);
    if (row < 0 || row != selection_.picture()) return;  // selected another one meanwhile
    prepared_id_ = id;
    picture_name_ = pictures_.picture(row).name;
    pixels_ = std::move(pixels);
    sharp_ = sharp;
    submit();
}

// ---- settings

void Workbench::change_settings(const Settings& to, const QString& what, int merge) {
    if (to == settings_) return;
    if (quantized_ && !(to.config == settings_.config)) {
        emit message(
            QStringLiteral(
                "A quantized model keeps the bit-widths it was made with — open its float checkpoint to "
                "change them"),
            true);
        emit settings_changed();  // controls go back to what is true
        return;
    }
    if (const ivit::Graph* g = graph()) {
        try {
            ivit::resolve(to.config, *g);
        } catch (const ivit::Error& e) {
            emit message(sentence(e), true);
            emit settings_changed();
            return;
        }
    }
    undo_.push(new SettingsCommand(*this, settings_, to, what, merge));
}

void Workbench::change_config(const ivit::QuantConfig& to, const QString& what, int merge) {
    Settings s = settings_;
    s.config = to;
    change_settings(s, what, merge);
}

void Workbench::apply(const Settings& s) {
    settings_ = s;
    emit settings_changed();
    submit();
}

// ---- results

void Workbench::submit() {
    if (!graph() || pixels_.empty()) return;
    ivit::Request request;
    request.model = model_;
    request.quantized = quantized_;
    request.calibration = settings_.calibration;
    request.config = settings_.config;
    request.pixels = pixels_;
    request.picture = picture_name_.toStdString();
    request.backend = settings_.backend;
    request.threads = settings_.threads;
    set_stale(true);
    causes_->forget();
    answered_ = false;
    awaited_ = session_->submit(std::move(request));
}

void Workbench::take_result(std::shared_ptr<const ivit::Result> result) {
    if (result->id != awaited_) return;
    if (result->request->model != model_ || result->request->quantized != quantized_) return;
    answered_ = true;
    if (result->error) {
        // What is shown stays, dimmed no longer, under its own name.
        emit message(sentence(*result->error), true);
        set_stale(false);
        return;
    }
    const auto& old = shown_.current;
    if (old && old->id != result->id) {
        const ivit::Request &a = *old->request, &b = *result->request;
        if (a.config != b.config || a.calibration != b.calibration) ghost_->remember(old);
    }
    shown_.current = result;
    shown_.picture = sharp_;
    update_ghost();
    if (const int row = pictures_.row_of(prepared_id_); row >= 0) {
        std::optional<Prediction> floats;
        if (result->comparison.float_trace)
            floats = prediction(*result->comparison.float_trace, info_of(*result));
        pictures_.set_predictions(prepared_id_, floats,
                                  prediction(*result->comparison.integer_trace, info_of(*result)));
    }
    set_stale(false);
    emit results_changed();
    if (result->complete) {
        run_ghost_again();
        latency_->start(result);
        emit latency_changed();
        classify_strip();
    }
}

void Workbench::update_ghost() {
    shown_.ghost_pinned = ghost_->pinned();
    shown_.ghost = ghost_->of(shown_.current);
}

void Workbench::run_ghost_again() {
    if (prepared_id_ < 0) return ghost_->stop();  // a webcam's frames have no ghost
    ghost_->run_again(shown_.current);
}

bool Workbench::pinned() const { return ghost_->pinned(); }

void Workbench::set_pinned(bool pinned) {
    ghost_->pin(pinned ? shown_.current : nullptr);
    update_ghost();
    emit results_changed();
    run_ghost_again();
}

void Workbench::set_stale(bool stale) {
    if (stale == stale_) return;
    stale_ = stale;
    emit stale_changed(stale);
}

// ---- in the background

void Workbench::classify_strip() {
    const auto& current = shown_.current;
    if (current && current->comparison.model) strip_->start(current, prepared_id_);
}

void Workbench::calibrate_on(const fs::path& folder, ivit::RangeMethod method) {
    if (model_ && !quantized_) return calibrator_->start(model_, folder, method, settings_.threads);
    say_no_calibration();
}

void Workbench::load_ranges(const fs::path& file) {
    if (opening_ > 0) {
        ranges_wanted_ = file;
        return;
    }
    if (!model_ || quantized_) return say_no_calibration();
    try {
        Settings s = settings_;
        s.calibration = std::make_shared<const ivit::Calibration>(ivit::read_calibration(file, *graph()));
        change_settings(s,
                        QStringLiteral("ranges of %1").arg(QString::fromStdString(file.filename().string())));
    } catch (const ivit::Error& e) {
        emit message(sentence(e), true);
    }
}

void Workbench::say_no_calibration() {
    emit message(
        quantized_
            ? QStringLiteral("Calibration needs a float checkpoint; this model's ranges are already in it")
            : QStringLiteral("Calibration needs a model; open one first"),
        true);
}

void Workbench::cancel_calibration() { calibrator_->cancel(); }

bool Workbench::calibrating() const { return calibrator_->busy(); }

void Workbench::find_causes() {
    const auto& result = shown_.current;
    if (result && result->complete && !stale_ && result->comparison.model &&
        result->comparison.model->source && result->comparison.float_trace)
        causes_->start(result);
}

std::shared_ptr<const ivit::Causes> Workbench::causes() const { return causes_->causes(); }

void Workbench::make_report(
    std::function<void(std::shared_ptr<const ivit::Json>, const QString& problem)> done,
    std::function<void(const ivit::Json&)> in_background) {
    const auto result = shown_.current;
    if (!result || !result->complete)
        return done(nullptr, QStringLiteral("A report needs complete results; they are not there yet"));
    if (!result->comparison.float_trace)
        return done(nullptr,
                    QStringLiteral("A report needs the float checkpoint beside the integers — keep it "
                                   "where it was when the model was quantized"));
    fs::path picture;
    if (const int row = pictures_.row_of(prepared_id_); row >= 0) picture = pictures_.picture(row).file;
    const ivit::ReportOptions options = report_options(*result->comparison.integer_trace->graph,
                                                       selection_.node(), selection_.head(), latency());
    session_->submit_idle([this, result, picture, options, done, in_background](std::stop_token stop) {
        std::shared_ptr<const ivit::Json> report;
        QString problem;
        try {
            report = std::make_shared<const ivit::Json>(report_of(*result, picture, options, stop));
            if (in_background) in_background(*report);
        } catch (const ivit::Cancelled&) {
            return false;  // a click came between: begin again after it
        } catch (const ivit::Error& e) {
            report.reset();
            problem = sentence(e);
        }
        QMetaObject::invokeMethod(
            this, [done, report, problem] { done(report, problem); }, Qt::QueuedConnection);
        return true;
    });
}

void Workbench::write_report(const fs::path& file) {
    make_report(
        [this, file](const std::shared_ptr<const ivit::Json>& report, const QString& problem) {
            emit message(report
                             ? QStringLiteral("Report written: %1").arg(QString::fromStdString(file.string()))
                             : problem,
                         !report);
        },
        [file](const ivit::Json& report) { ivit::write_report(report, file); });
}
