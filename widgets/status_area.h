// SPDX-License-Identifier: GPL-3.0-or-later
// The line at the bottom: what ran where and how fast, and quiet messages with their history.
#pragma once
#include <QLabel>
#include <QStringList>
#include <QTimer>
#include <QToolButton>
#include <QWidget>

#include "widgets/elided_label.h"
#include "widgets/results.h"

class StatusArea : public QWidget {
    Q_OBJECT
  public:
    explicit StatusArea(QWidget* parent = nullptr);
    void set_results(const Shown& shown, const LatencySamples& latency);
    void say(const QString& sentence, bool warning);
    const QStringList& history() const { return history_; }
    // The newest message, as long as it stands there; a warning stands for some seconds whatever comes.
    QString message() const { return message_->text(); }
    // What stands there, without markup: "integer 4.0 ms, float 15.8 ms, 3.9×, cpu, 2 threads, mse ranges
    // from …".
    QString figures() const { return figures_->accessibleDescription(); }

  private:
    QLabel* figures_;                 // never cut off
    ElidedLabel *origin_, *message_;  // why no GPU, and the calibration; what has just happened
    QToolButton* log_;
    QTimer fade_;
    QStringList history_;  // newest last
};
