// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/status_area.h"

#include <QHBoxLayout>
#include <QMenu>
#include <QTime>
#include <cmath>

#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

StatusArea::StatusArea(QWidget* parent) : QWidget(parent), figures_(new QLabel), message_(new QLabel), log_(new QToolButton) {
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(10, 2, 8, 2);
    row->setSpacing(16);
    figures_->setAccessibleName(QStringLiteral("Latency, backend and calibration"));
    figures_->setToolTip(metrics::define("latency") + QStringLiteral("\n") + metrics::define("speedup"));
    figures_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    figures_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    message_->setAccessibleName(QStringLiteral("Messages"));
    message_->setTextFormat(Qt::PlainText);
    message_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    message_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    message_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    log_->setText(QStringLiteral("Messages"));
    log_->setAutoRaise(true);
    log_->setToolTip(QStringLiteral("What has been said so far"));
    log_->setAccessibleName(log_->text());
    log_->setPopupMode(QToolButton::InstantPopup);
    auto* menu = new QMenu(log_);
    log_->setMenu(menu);
    connect(menu, &QMenu::aboutToShow, menu, [this, menu] {
        menu->clear();
        for (auto it = history_.crbegin(); it != history_.crend(); ++it) menu->addAction(*it)->setEnabled(false);
        if (history_.isEmpty()) menu->addAction(QStringLiteral("Nothing so far"))->setEnabled(false);
    });
    row->addWidget(figures_, 3);
    row->addWidget(message_, 2);
    row->addWidget(log_);
    fade_.setSingleShot(true);
    connect(&fade_, &QTimer::timeout, message_, &QLabel::clear);
}

void StatusArea::say(const QString& sentence, bool warning) {
    if (sentence.isEmpty()) return;
    history_ << QTime::currentTime().toString(QStringLiteral("HH:mm:ss  ")) + sentence;
    while (history_.size() > 40) history_.removeFirst();
    const QString marked = (warning ? QStringLiteral("⚠ ") : QString()) + sentence;
    message_->setToolTip(sentence);
    QPalette p = palette();
    p.setColor(QPalette::WindowText, warning ? Theme::instance().warning() : Theme::instance().muted());
    message_->setPalette(p);
    message_->setText(message_->fontMetrics().elidedText(marked, Qt::ElideMiddle, std::max(160, message_->width() - 4)));
    fade_.start(warning ? 20000 : 8000);
}

void StatusArea::set_results(const Shown& shown, const LatencySamples& latency) {
    if (!shown.current) {
        figures_->setText(QStringLiteral("Nothing has been run yet"));
        return;
    }
    const ivit::Result& r = *shown.current;
    QStringList parts;
    const double im = LatencySamples::quantile(latency.integer_ms, 0.5), fm = LatencySamples::quantile(latency.float_ms, 0.5);
    if (!std::isnan(im)) {
        parts << QStringLiteral("integer <b>%1</b>").arg(numbers::milliseconds(im));
        if (!std::isnan(fm)) {
            parts << QStringLiteral("float <b>%1</b>").arg(numbers::milliseconds(fm));
            parts << (latency.unsettled() ? QStringLiteral("(disturbed)") : QStringLiteral("<b>%1×</b>").arg(numbers::significant(fm / im)));
        }
    }
    QString backend = QString::fromStdString(r.backend.name).toHtmlEscaped();
    if (r.backend.threads > 0 && r.backend.name != "cuda") backend += QStringLiteral(", %1 %2").arg(r.backend.threads).arg(r.backend.threads == 1 ? "thread" : "threads");
    if (!r.backend.isa.empty()) backend += QStringLiteral(", ") + QString::fromStdString(r.backend.isa).toHtmlEscaped();
    if (!r.gpu_absent.empty()) backend += QStringLiteral(" (no GPU: %1)").arg(QString::fromStdString(r.gpu_absent).toHtmlEscaped());
    parts << backend;
    if (r.comparison.model) parts << QString::fromStdString(r.comparison.model->calibration.summary()).toHtmlEscaped();
    figures_->setText(parts.join(QStringLiteral("&nbsp;&nbsp; ")));
    figures_->setAccessibleDescription(parts.join(QStringLiteral(", ")).remove(QStringLiteral("<b>")).remove(QStringLiteral("</b>")));
}
