// SPDX-License-Identifier: GPL-3.0-or-later
// Takes a model's ranges from a folder of pictures in the background, on the session's one worker.
#pragma once
#include <QObject>
#include <atomic>
#include <filesystem>
#include <memory>

#include "engine/session.h"

class FolderCalibrator : public QObject {
    Q_OBJECT
  public:
    FolderCalibrator(ivit::Session& session, QObject* parent = nullptr);
    ~FolderCalibrator() override;

    // Ends what is on its way. At most 256 pictures, spread over the folder, are looked at.
    void start(const std::shared_ptr<const ivit::Model>& model, const std::filesystem::path& folder,
               ivit::RangeMethod method, int threads);
    void cancel();
    bool busy() const { return cancelled_ != nullptr; }

  signals:
    void progress(qint64 done, qint64 total);
    void ended();  // done, failed or cancelled
    void problem(const QString& sentence);
    void calibrated(std::shared_ptr<const ivit::Model> model, std::shared_ptr<const ivit::Calibration> ranges,
                    const QString& folder);

  private:
    ivit::Session& session_;
    std::shared_ptr<std::atomic<bool>> cancelled_;  // of the job on its way; null: none
};
