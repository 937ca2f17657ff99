// SPDX-License-Identifier: GPL-3.0-or-later
// Times both networks in the background, on the session's one worker, so that neither disturbs the other.
#pragma once
#include <QObject>
#include <QTimer>

#include "widgets/results.h"

class LatencySampler : public QObject {
    Q_OBJECT
  public:
    static constexpr int first_runs = 40;  // taken for every configuration, asked or not

    LatencySampler(ivit::Session& session, QObject* parent = nullptr);
    ~LatencySampler() override;

    // Starts over for this result's networks and picture.
    void start(std::shared_ptr<const ivit::Result> result);
    void stop();
    void set_mode(bool keep_running, int batch);
    bool keep_running() const { return keep_running_; }
    int batch() const { return batch_; }
    bool busy() const { return busy_; }
    const LatencySamples& samples() const { return samples_; }

  signals:
    void changed();

  private:
    struct Job;
    ivit::Session& session_;
    std::shared_ptr<const ivit::Result> result_;
    std::shared_ptr<Job> job_;
    LatencySamples samples_;
    void begin();  // a measurement of result_; what is known stays until it has something better
    QTimer again_;
    int tries_ = 0;  // left, for a machine that was disturbed
    bool keep_running_ = false, busy_ = false;
    int batch_ = 1;
};
