// SPDX-License-Identifier: GPL-3.0-or-later
// The line at the bottom: what ran where and how fast, and quiet messages with their history.
#pragma once
#include <QLabel>
#include <QStringList>
#include <QTimer>
#include <QToolButton>
#include <QWidget>

#include "widgets/results.h"

class StatusArea : public QWidget {
    Q_OBJECT
  public:
    explicit StatusArea(QWidget* parent = nullptr);
    void set_results(const Shown& shown, const LatencySamples& latency);
    void say(const QString& sentence, bool warning);
    const QStringList& history() const { return history_; }
    QString figures() const { return figures_->text(); }

  private:
    QLabel *figures_, *message_;
    QToolButton* log_;
    QTimer fade_;
    QStringList history_;  // newest last
};
