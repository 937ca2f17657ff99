// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/causes_finder.h"

#include "engine/report/causes.h"
#include "widgets/workbench_parts.h"

CausesFinder::CausesFinder(ivit::Session& session, QObject* parent) : QObject(parent), session_(session) {}

CausesFinder::~CausesFinder() { forget(); }

void CausesFinder::forget() {
    if (superseded_) *superseded_ = true;
    superseded_.reset();
    of_.reset();
    causes_.reset();
}

void CausesFinder::start(const std::shared_ptr<const ivit::Result>& result) {
    if (of_ == result) return;
    forget();
    of_ = result;
    superseded_ = std::make_shared<std::atomic<bool>>(false);
    session_.submit_idle([this, result, superseded = superseded_](std::stop_token stop) {
        if (*superseded) return true;
        std::shared_ptr<const ivit::Causes> causes;
        QString why;
        try {
            std::vector<ivit::ReportInput> inputs(1);
            inputs[0].pixels = result->request->pixels;
            inputs[0].comparison = result->comparison;
            const auto step = [this, superseded](int64_t done, int64_t total) {
                QMetaObject::invokeMethod(
                    this,
                    [this, superseded, done, total] {
                        if (superseded == superseded_) emit progress(done, total);
                    },
                    Qt::QueuedConnection);
            };
            const auto backend = ivit::make_backend(result->request->backend, result->request->threads);
            causes = std::make_shared<const ivit::Causes>(ivit::find_causes(*backend, inputs, stop, step));
        } catch (const ivit::Cancelled&) {
            return superseded->load();  // a click came between: begin again after it, unless that changed it
        } catch (const ivit::Error& e) {
            why = sentence(e);
        }
        QMetaObject::invokeMethod(
            this,
            [this, superseded, causes, why] {
                if (superseded != superseded_) return;
                superseded_.reset();
                causes_ = causes;
                if (!why.isEmpty()) emit problem(why);
                emit changed();
            },
            Qt::QueuedConnection);
        return true;
    });
}
