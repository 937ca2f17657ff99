// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/strip_classifier.h"

#include <tuple>

#include "widgets/run_again.h"
#include "widgets/workbench_parts.h"

namespace fs = std::filesystem;

// Lives on the worker.
struct StripClassifier::Job {
    struct Item {
        int id;
        fs::path file;
        std::shared_ptr<const ivit::Image> image;
    };
    std::vector<Item> items;
    size_t next = 0;
    std::shared_ptr<const ivit::Result> result;
    ivit::Networks networks;

    // Without a calibration every picture has ranges of its own: what a person sees on selecting it. A loaded
    // quantized model keeps those it has.
    static bool ranges_of_input(const ivit::Result& r) {
        return !r.request->quantized && r.comparison.model->calibration.from_input;
    }

    void prepare(ivit::Session& session) {
        networks =
            session.networks(*result->request, ranges_of_input(*result) ? nullptr : result->comparison.model);
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

    // The float network's prediction, if there is one, and the integers'. Throws Error where the file cannot
    // be read, Cancelled.
    std::pair<std::optional<Prediction>, Prediction> classify(const Item& item, std::stop_token stop) {
        const ivit::ModelInfo& info = info_of(*result);
        const ivit::Pixels pixels =
            ivit::preprocess(item.image ? *item.image : ivit::read_image(item.file),
                             result->comparison.model->graph->image_size, info.crop_pct);
        ivit::RunOptions options;
        options.stop = stop;
        std::optional<Prediction> floats;
        if (networks.floats) floats = prediction(*networks.floats->run(pixels, 1, options), info);
        if (ranges_of_input(*result)) quantize_on(pixels, stop);
        return {floats, prediction(*networks.integers->run(pixels, 1, options), info)};
    }
};

StripClassifier::StripClassifier(ivit::Session& session, PictureListModel& pictures, QObject* parent)
    : QObject(parent), session_(session), pictures_(pictures) {}

StripClassifier::~StripClassifier() { stop(); }

void StripClassifier::stop() {
    if (superseded_) *superseded_ = true;
    superseded_.reset();
    busy_ = false;
}

void StripClassifier::start(const std::shared_ptr<const ivit::Result>& result, int shown) {
    stop();
    const ivit::Request& request = *result->request;
    // Ranges of a picture's own belong to no model.
    const bool of_input = Job::ranges_of_input(*result);
    const bool same =
        of_input ? made_by_config_ == request.config : made_with_.lock() == result->comparison.model;
    if (!same)
        for (const Picture& p : pictures_.pictures())
            if (p.id != shown) pictures_.set_predictions(p.id, p.float_top, std::nullopt);
    made_with_ = result->comparison.model;
    made_by_config_ = of_input ? std::optional(request.config) : std::nullopt;

    auto job = std::make_shared<Job>();
    job->result = result;
    for (const Picture& p : pictures_.pictures()) {
        const bool has_float = p.float_top || !request.model, has_integer = p.integer_top.has_value();
        if (p.error.isEmpty() && !(has_float && has_integer)) job->items.push_back({p.id, p.file, p.image});
    }
    if (job->items.empty()) return;
    busy_ = true;
    superseded_ = std::make_shared<std::atomic<bool>>(false);
    // One picture a call, so that others get their turn.
    session_.submit_idle([this, job, superseded = superseded_](std::stop_token stop) {
        if (*superseded) return true;
        const Job::Item& item = job->items[job->next];
        std::optional<Prediction> floats, integers;
        try {
            if (!job->networks.backend) job->prepare(session_);
            std::tie(floats, integers) = job->classify(item, stop);
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
                if (done) busy_ = false;
            },
            Qt::QueuedConnection);
        return done;
    });
}
