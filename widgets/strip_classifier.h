// SPDX-License-Identifier: GPL-3.0-or-later
// Classifies the strip's pictures in the background, on the session's one worker.
#pragma once
#include <QObject>
#include <atomic>
#include <memory>
#include <optional>

#include "engine/session.h"
#include "widgets/models/picture_list_model.h"

class StripClassifier : public QObject {
    Q_OBJECT
  public:
    StripClassifier(ivit::Session& session, PictureListModel& pictures, QObject* parent = nullptr);
    ~StripClassifier() override;

    // Gives every picture that has none yet the predictions of this result's configuration. What other bits
    // or ranges said is forgotten, except of the picture `shown`, whose predictions the caller sets.
    void start(const std::shared_ptr<const ivit::Result>& result, int shown);
    void stop();
    bool busy() const { return busy_; }

  private:
    struct Job;
    ivit::Session& session_;
    PictureListModel& pictures_;
    std::shared_ptr<std::atomic<bool>> superseded_;  // of the job on its way
    bool busy_ = false;
    std::weak_ptr<const ivit::QuantizedModel> made_with_;  // what the integer predictions are of
    std::optional<ivit::QuantConfig> made_by_config_;  // instead, where each picture has ranges of its own
};
