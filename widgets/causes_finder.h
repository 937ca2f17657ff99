// SPDX-License-Identifier: GPL-3.0-or-later
// Measures in the background what each single change to a result would bring (engine/report/causes.h).
#pragma once
#include <QObject>
#include <atomic>
#include <memory>

#include "engine/session.h"

namespace ivit {
struct Causes;
}

class CausesFinder : public QObject {
    Q_OBJECT
  public:
    CausesFinder(ivit::Session& session, QObject* parent = nullptr);
    ~CausesFinder() override;

    // Asked for the same result again, it is not begun twice. The result must be complete, with its float
    // checkpoint.
    void start(const std::shared_ptr<const ivit::Result>& result);
    void forget();  // ends what is on its way
    bool busy() const { return superseded_ != nullptr; }
    std::shared_ptr<const ivit::Causes> causes() const { return causes_; }  // null: none, or not yet

  signals:
    void progress(qint64 done, qint64 total);
    void changed();  // causes()
    void problem(const QString& sentence);

  private:
    ivit::Session& session_;
    std::shared_ptr<std::atomic<bool>> superseded_;  // of the job on its way; null: none
    std::shared_ptr<const ivit::Causes> causes_;
    std::shared_ptr<const ivit::Result> of_;  // what causes_ are of, or will be
};
