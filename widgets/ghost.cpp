// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/ghost.h"

#include "engine/error.h"
#include "widgets/run_again.h"

Ghost::Ghost(ivit::Session& session, QObject* parent) : QObject(parent), session_(session) {}

Ghost::~Ghost() { stop(); }

void Ghost::stop() {
    if (superseded_) *superseded_ = true;
    superseded_.reset();
}

void Ghost::forget() {
    stop();
    previous_.reset();
    pin_.reset();
    again_.reset();
    again_of_.reset();
}

void Ghost::pin(Result result) { pin_ = std::move(result); }

Ghost::Result Ghost::of(const Result& shown) const {
    const auto fits = [&](const Result& r) {
        return r && shown && r != shown && r->request->pixels == shown->request->pixels;
    };
    return fits(base()) ? base() : again_of_ == base() && fits(again_) ? again_ : nullptr;
}

void Ghost::run_again(const Result& now) {
    stop();
    const Result before = base();
    if (!before || !now || !now->complete || of(now) || before == now) return;
    if (!before->request->model || before->request->model != now->request->model ||
        !before->comparison.model || !now->comparison.float_trace)
        return;
    const ivit::Request &a = *before->request, &b = *now->request;
    if (a.config == b.config && a.calibration == b.calibration) return;  // it would lie on what is shown
    superseded_ = std::make_shared<std::atomic<bool>>(false);
    session_.submit_idle([this, before, now, superseded = superseded_](std::stop_token stop) {
        if (*superseded) return true;
        Result again;
        try {
            again = ::run_again(session_, *before, *now, stop);
        } catch (const ivit::Cancelled&) {
            return superseded->load();
        } catch (const ivit::Error&) {
            // No ghost then: it is there to compare with, and the result itself said what is wrong with the
            // picture.
        }
        QMetaObject::invokeMethod(
            this,
            [this, again, before, superseded] {
                if (superseded != superseded_) return;
                superseded_.reset();
                if (!again) return;
                again_ = again;
                again_of_ = before;
                emit came();
            },
            Qt::QueuedConnection);
        return true;
    });
}
