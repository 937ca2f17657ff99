// SPDX-License-Identifier: GPL-3.0-or-later
// The earlier result that what is shown is held against: the pinned one, else the previous configuration's.
// On another picture it is run again, on the session's one worker.
#pragma once
#include <QObject>
#include <atomic>
#include <memory>

#include "engine/session.h"

class Ghost : public QObject {
    Q_OBJECT
  public:
    using Result = std::shared_ptr<const ivit::Result>;
    Ghost(ivit::Session& session, QObject* parent = nullptr);
    ~Ghost() override;

    void forget();                                        // another model is opened
    void remember(Result before) { previous_ = before; }  // it was shown until the configuration changed
    void pin(Result result);                              // null: the pin goes
    bool pinned() const { return pin_ != nullptr; }
    // What `shown` is held against: of the same picture, another result; null while there is none.
    Result of(const Result& shown) const;
    // Makes of(now) where it is null and both are of one float model; came() follows.
    void run_again(const Result& now);
    void stop();
    bool busy() const { return superseded_ != nullptr; }

  signals:
    void came();

  private:
    const Result& base() const { return pin_ ? pin_ : previous_; }

    ivit::Session& session_;
    Result previous_, pin_;
    Result again_, again_of_;                        // base() on the present picture, and which it is
    std::shared_ptr<std::atomic<bool>> superseded_;  // of the job on its way; null: none
};
