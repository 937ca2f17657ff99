// SPDX-License-Identifier: GPL-3.0-or-later
// What the workbench has done in the background: the strip classified, a folder calibrated on, a report made.
#include "engine/bench.h"
#include "engine/report/causes.h"
#include "engine/report/report.h"
#include "engine/safetensors.h"
#include "widgets/latency_sampler.h"
#include "widgets/run_again.h"
#include "widgets/workbench.h"
#include "widgets/workbench_parts.h"

namespace fs = std::filesystem;

// Classifies, with the present configuration, every picture of the strip that has no predictions of it yet.
struct Workbench::PictureJob {
    struct Item {
        int id;
        fs::path file;
        std::shared_ptr<const ivit::Image> image;
    };
    std::vector<Item> items;
    size_t next = 0;
    std::shared_ptr<const ivit::Result> result;
    ivit::Networks networks;

    void prepare(ivit::Session& session) {
        networks =
            session.networks(*result->request, ranges_of_input(*result) ? nullptr : result->comparison.model);
    }
    // Without a calibration every picture has ranges of its own: what a person sees on selecting it. A loaded
    // quantized model keeps those it has.
    static bool ranges_of_input(const ivit::Result& r) {
        return !r.request->quantized && r.comparison.model->calibration.from_input;
    }
    void quantize_on(const ivit::Pixels& pixels, std::stop_token stop) {
        const ivit::Request& request = *result->request;
        const auto own =
            ivit::quantize(request.model,
                           own_calibration(*request.model, *networks.floats, pixels,
                                           result->comparison.model->calibration, request.threads, stop),
                           request.config);
        networks.integers = networks.backend->load(own, networks.integers.get());
    }
};

void Workbench::classify_strip() {
    const auto& current = shown_.current;
    if (!current || !current->comparison.model) return;
    const ivit::Request& request = *current->request;
    // What was classified by other bits or ranges is forgotten. Ranges of a picture's own belong to no model.
    const bool of_input = PictureJob::ranges_of_input(*current);
    const bool same = of_input ? classified_by_config_ == request.config
                               : classified_with_.lock() == current->comparison.model;
    if (!same) {
        for (const Picture& p : pictures_.pictures()) {
            if (p.id != prepared_id_) pictures_.set_predictions(p.id, p.float_top, std::nullopt);
        }
    }
    classified_with_ = current->comparison.model;
    classified_by_config_ = of_input ? std::optional(request.config) : std::nullopt;
    if (strip_job_) *strip_job_ = true;
    strip_busy_ = false;
    auto job = std::make_shared<PictureJob>();
    job->result = current;
    for (const Picture& p : pictures_.pictures()) {
        const bool has_float = p.float_top || !model_, has_integer = p.integer_top.has_value();
        if (p.error.isEmpty() && !(has_float && has_integer)) job->items.push_back({p.id, p.file, p.image});
    }
    if (job->items.empty()) return;
    strip_busy_ = true;
    strip_job_ = std::make_shared<std::atomic<bool>>(false);
    session_->submit_idle([this, job, superseded = strip_job_](std::stop_token stop) {
        if (*superseded) return true;
        std::optional<Prediction> floats, integers;
        const PictureJob::Item& item = job->items[job->next];
        try {
            if (!job->networks.backend) job->prepare(*session_);
            const ivit::ModelInfo& info = info_of(*job->result);
            const int size = job->result->comparison.model->graph->image_size;
            const ivit::Pixels pixels =
                ivit::preprocess(item.image ? *item.image : ivit::read_image(item.file), size, info.crop_pct);
            ivit::RunOptions options;
            options.stop = stop;
            ivit::Networks& networks = job->networks;
            if (networks.floats) floats = prediction(*networks.floats->run(pixels, 1, options), info);
            if (PictureJob::ranges_of_input(*job->result)) job->quantize_on(pixels, stop);
            integers = prediction(*networks.integers->run(pixels, 1, options), info);
        } catch (const ivit::Error&) {
            // The thumbnail's loader says what is wrong with the file.
        }
        ++job->next;
        const bool done = job->next == job->items.size();
        QMetaObject::invokeMethod(
            this,
            [this, id = item.id, floats, integers, done, superseded] {
                if (*superseded) return;
                const int row = pictures_.row_of(id);
                if (row >= 0 && (floats || integers)) {
                    const Picture& p = pictures_.picture(row);
                    pictures_.set_predictions(id, floats ? floats : p.float_top,
                                              integers ? integers : p.integer_top);
                }
                if (done) strip_busy_ = false;
            },
            Qt::QueuedConnection);
        return done;
    });
}

void Workbench::calibrate_on(const fs::path& folder, ivit::RangeMethod method) {
    if (!model_ || quantized_) {
        emit message(
            QStringLiteral("Calibration needs a float checkpoint; this model's ranges are already in it"),
            true);
        return;
    }
    cancel_calibration();
    calibration_job_ = std::make_shared<std::atomic<bool>>(false);
    emit calibration_progress(0, 0);
    session_->submit_idle([this, folder, method, cancelled = calibration_job_, model = model_,
                           threads = settings_.threads](std::stop_token stop) {
        std::shared_ptr<ivit::Calibration> calibration;
        QString problem;
        int unreadable = 0;
        try {
            if (*cancelled) throw ivit::Cancelled();
            constexpr size_t most = 256;  // ranges hardly move after a few dozen
            std::vector<fs::path> files = ivit::list_pictures(folder);
            const size_t step = std::max<size_t>(1, (files.size() + most - 1) / most);
            std::vector<fs::path> chosen;
            for (size_t i = 0; i < files.size(); i += step) chosen.push_back(files[i]);
            const auto next = [&](int64_t i) {
                try {
                    return ivit::preprocess(ivit::read_image(chosen[static_cast<size_t>(i)]),
                                            model->graph->image_size, model->info.crop_pct);
                } catch (const ivit::Error& e) {
                    if (unreadable++ == 0) problem = sentence(e);
                    return ivit::Pixels();
                }
            };
            const auto progress = [&](int64_t done, int64_t total) {
                QMetaObject::invokeMethod(
                    this,
                    [=, this] {
                        if (cancelled == calibration_job_) emit calibration_progress(done, total);
                    },
                    Qt::QueuedConnection);
                return !stop.stop_requested() && !*cancelled;
            };
            calibration = std::make_shared<ivit::Calibration>(ivit::calibrate(
                *model, static_cast<int64_t>(chosen.size()), next, method, threads, progress));
            calibration->source += " of " + folder.filename().string();
            if (unreadable > 1)
                problem = QStringLiteral("%1 pictures were left out of the calibration, the first: %2")
                              .arg(unreadable)
                              .arg(problem);
        } catch (const ivit::Cancelled&) {
            if (!*cancelled) return false;  // a click came between: begin again after it
        } catch (const ivit::Error& e) {
            problem = sentence(e);
        }
        QMetaObject::invokeMethod(
            this,
            [=, this] {
                if (cancelled != calibration_job_) return;  // another one has begun, or the model has changed
                calibration_job_.reset();
                emit calibration_ended();
                if (!problem.isEmpty()) emit message(problem, true);
                if (!calibration || model != model_) return;
                Settings s = settings_;
                s.calibration = calibration;
                change_settings(s, QStringLiteral("calibrate on %1")
                                       .arg(QString::fromStdString(folder.filename().string())));
            },
            Qt::QueuedConnection);
        return true;
    });
}

void Workbench::cancel_calibration() {
    if (!calibration_job_) return;
    *calibration_job_ = true;
    calibration_job_.reset();
    emit calibration_ended();
}

void Workbench::find_causes() {
    const auto result = shown_.current;
    if (!result || !result->complete || stale_ || causes_of_ == result || !result->comparison.model ||
        !result->comparison.model->source || !result->comparison.float_trace)
        return;
    forget_causes();
    causes_of_ = result;
    causes_job_ = std::make_shared<std::atomic<bool>>(false);
    session_->submit_idle([this, result, superseded = causes_job_](std::stop_token stop) {
        if (*superseded) return true;
        std::shared_ptr<const ivit::Causes> causes;
        QString problem;
        try {
            std::vector<ivit::ReportInput> inputs(1);
            inputs[0].pixels = result->request->pixels;
            inputs[0].comparison = result->comparison;
            const auto backend = ivit::make_backend(result->request->backend, result->request->threads);
            causes = std::make_shared<const ivit::Causes>(
                ivit::find_causes(*backend, inputs, stop, [this, superseded](int64_t done, int64_t total) {
                    QMetaObject::invokeMethod(
                        this,
                        [this, superseded, done, total] {
                            if (superseded == causes_job_) emit causes_progress(done, total);
                        },
                        Qt::QueuedConnection);
                }));
        } catch (const ivit::Cancelled&) {
            return superseded->load();  // a click came between: begin again after it, unless that changed it
        } catch (const ivit::Error& e) {
            problem = sentence(e);
        }
        QMetaObject::invokeMethod(
            this,
            [this, superseded, causes, problem] {
                if (superseded != causes_job_) return;
                causes_job_.reset();
                causes_ = causes;
                if (!problem.isEmpty()) emit message(problem, true);
                emit causes_changed();
            },
            Qt::QueuedConnection);
        return true;
    });
}

void Workbench::forget_causes() {
    if (causes_job_) *causes_job_ = true;
    causes_job_.reset();
    causes_of_.reset();
    causes_.reset();
}

void Workbench::make_report(
    std::function<void(std::shared_ptr<const ivit::Json>, const QString& problem)> done,
    std::function<void(const ivit::Json&)> in_background) {
    const auto result = shown_.current;
    if (!result || !result->complete || !result->comparison.float_trace) {
        return done(nullptr,
                    QStringLiteral("A report needs both networks' complete results; they are not there yet"));
    }
    fs::path picture;
    if (const int row = pictures_.row_of(prepared_id_); row >= 0) picture = pictures_.picture(row).file;
    ivit::ReportOptions options;
    const ivit::Graph& g = *result->comparison.integer_trace->graph;
    if (const int node = selection_.node();
        node >= 0 && g.nodes[static_cast<size_t>(node)].op == ivit::Op::softmax) {
        // The head may have been chosen in a model that has more of them.
        options.head = g.nodes[static_cast<size_t>(node)].name + ":" +
                       std::to_string(std::min(selection_.head(), g.heads - 1));
    }
    if (const LatencySamples& l = latency(); !l.integer_ms.empty() && !l.float_ms.empty()) {
        ivit::BenchResult measured;
        measured.floats = ivit::latency(l.float_ms);
        measured.integers = ivit::latency(l.integer_ms);
        measured.speedup =
            measured.integers.median > 0 ? measured.floats.median / measured.integers.median : 0;
        measured.processor_share = l.processor_share();
        options.latency = measured;
        options.batch = l.batch;
    }
    session_->submit_idle([this, result, picture, options, done,
                           in_background](std::stop_token stop) mutable {
        std::shared_ptr<const ivit::Json> report;
        QString problem;
        try {
            ivit::ReportInput input;
            input.file = picture.empty() ? result->request->picture : picture.string();
            input.sha256 = picture.empty() ? ivit::sha256(std::as_bytes(std::span(result->request->pixels)))
                                           : ivit::sha256_file(picture);
            input.pixels = result->request->pixels;
            input.comparison = result->comparison;
            const ivit::Effective e =
                ivit::effective(*result->comparison.model, result->backend, result->gpu_absent);
            // Random weights have no file to name.
            const std::vector<std::string> more = e.model.sha256.empty()
                                                      ? std::vector<std::string>{"--arch", e.model.name}
                                                      : std::vector<std::string>{"--model", e.model.source};
            options.commands = ivit::reproduce_commands(e, {input.file}, more);
            std::vector<ivit::ReportInput> inputs;
            inputs.push_back(std::move(input));
            if (!options.causes && inputs[0].comparison.model->source) {
                const auto backend = ivit::make_backend(e.backend.name, e.backend.threads);
                options.causes = ivit::causes_json(ivit::find_causes(*backend, inputs, stop));
            }
            report = std::make_shared<const ivit::Json>(ivit::build_report(e, inputs, options));
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
