// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/folder_calibrator.h"

#include "widgets/workbench_parts.h"

namespace fs = std::filesystem;

namespace {

// Every so manieth of the folder's pictures. Throws Error where there is none.
std::vector<fs::path> chosen_pictures(const fs::path& folder) {
    constexpr size_t most = 256;  // ranges hardly move after a few dozen
    const std::vector<fs::path> files = ivit::list_pictures(folder);
    const size_t step = std::max<size_t>(1, (files.size() + most - 1) / most);
    std::vector<fs::path> chosen;
    for (size_t i = 0; i < files.size(); i += step) chosen.push_back(files[i]);
    return chosen;
}

// problem: what went wrong with pictures that were left out; empty: nothing. Throws Cancelled when progress
// says false, Error.
ivit::Calibration calibrate_folder(const ivit::Model& model, const fs::path& folder, ivit::RangeMethod method,
                                   int threads, const ivit::Progress& progress, QString& problem) {
    const std::vector<fs::path> chosen = chosen_pictures(folder);
    int unreadable = 0;
    const auto next = [&](int64_t i) {
        try {
            return ivit::preprocess(ivit::read_image(chosen[static_cast<size_t>(i)]), model.graph->image_size,
                                    model.info.crop_pct);
        } catch (const ivit::Error& e) {
            if (unreadable++ == 0) problem = sentence(e);
            return ivit::Pixels();
        }
    };
    ivit::Calibration c =
        ivit::calibrate(model, static_cast<int64_t>(chosen.size()), next, method, threads, progress);
    c.source += " of " + folder.filename().string();
    if (unreadable > 1)
        problem = QStringLiteral("%1 pictures were left out of the calibration, the first: %2")
                      .arg(unreadable)
                      .arg(problem);
    return c;
}

}  // namespace

FolderCalibrator::FolderCalibrator(ivit::Session& session, QObject* parent)
    : QObject(parent), session_(session) {}

FolderCalibrator::~FolderCalibrator() {
    if (cancelled_) *cancelled_ = true;
}

void FolderCalibrator::cancel() {
    if (!cancelled_) return;
    *cancelled_ = true;
    cancelled_.reset();
    emit ended();
}

void FolderCalibrator::start(const std::shared_ptr<const ivit::Model>& model, const fs::path& folder,
                             ivit::RangeMethod method, int threads) {
    cancel();
    cancelled_ = std::make_shared<std::atomic<bool>>(false);
    emit progress(0, 0);
    session_.submit_idle([=, this, cancelled = cancelled_](std::stop_token stop) {
        std::shared_ptr<const ivit::Calibration> calibration;
        QString why;
        try {
            if (*cancelled) throw ivit::Cancelled();
            const auto step = [&](int64_t done, int64_t total) {
                QMetaObject::invokeMethod(
                    this,
                    [=, this] {
                        if (cancelled == cancelled_) emit progress(done, total);
                    },
                    Qt::QueuedConnection);
                return !stop.stop_requested() && !*cancelled;
            };
            calibration = std::make_shared<const ivit::Calibration>(
                calibrate_folder(*model, folder, method, threads, step, why));
        } catch (const ivit::Cancelled&) {
            if (!*cancelled) return false;  // a click came between: begin again after it
        } catch (const ivit::Error& e) {
            why = sentence(e);
        }
        QMetaObject::invokeMethod(
            this,
            [=, this] {
                if (cancelled != cancelled_) return;  // another one has begun, or the model has changed
                cancelled_.reset();
                emit ended();
                if (!why.isEmpty()) emit problem(why);
                if (calibration)
                    emit calibrated(model, calibration, QString::fromStdString(folder.filename().string()));
            },
            Qt::QueuedConnection);
        return true;
    });
}
