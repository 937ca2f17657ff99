// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/status_area.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QMenu>
#include <QTime>
#include <cmath>

#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

constexpr int news_ms = 8000, warning_ms = 20000;
// For so long news do not hide a warning. No news have more left, so that what has is a warning.
constexpr int unread_ms = 8000;
static_assert(news_ms <= warning_ms - unread_ms);

}  // namespace

StatusArea::StatusArea(QWidget* parent)
    : QWidget(parent),
      figures_(new QLabel),
      origin_(new ElidedLabel),
      message_(new ElidedLabel(Qt::ElideMiddle)),
      log_(new QToolButton) {
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(10, 2, 8, 2);
    row->setSpacing(16);
    figures_->setAccessibleName(QStringLiteral("Latency, backend and calibration"));
    figures_->setToolTip(metrics::define("latency") + QStringLiteral("\n") + metrics::define("speedup"));
    figures_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    origin_->setAccessibleName(QStringLiteral("Where the activation ranges come from"));
    origin_->set_definition(
        QStringLiteral("Why no GPU ran where none did; on how many pictures, and by which method, the "
                       "activation ranges were chosen"));
    message_->setAccessibleName(QStringLiteral("Newest message"));
    message_->set_definition(QStringLiteral("What has just happened; the button beside it keeps all of it"));
    message_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    log_->setText(QStringLiteral("Messages"));
    log_->setAutoRaise(true);
    log_->setToolTip(QStringLiteral("What has been said so far; a click on one copies it"));
    log_->setAccessibleName(log_->text());
    log_->setPopupMode(QToolButton::InstantPopup);
    auto* menu = new QMenu(log_);
    log_->setMenu(menu);
    connect(menu, &QMenu::aboutToShow, menu, [this, menu] {
        menu->clear();
        for (auto it = history_.crbegin(); it != history_.crend(); ++it) {
            QAction* line = menu->addAction(menu->fontMetrics()
                                                .elidedText(*it, Qt::ElideMiddle, 900)
                                                .replace(QLatin1Char('&'), QLatin1String("&&")));
            connect(line, &QAction::triggered, menu,
                    [said = *it] { QGuiApplication::clipboard()->setText(said); });
        }
        if (history_.isEmpty()) menu->addAction(QStringLiteral("Nothing so far"))->setEnabled(false);
    });
    row->addWidget(figures_);
    row->addWidget(origin_);
    row->addStretch(1);
    row->addWidget(message_);
    row->addWidget(log_);
    fade_.setSingleShot(true);
    connect(&fade_, &QTimer::timeout, message_, [this] {
        message_->set_text({});
        message_->setMinimumWidth(0);
    });
}

void StatusArea::say(const QString& sentence, bool warning) {
    if (sentence.isEmpty()) return;
    history_ << QTime::currentTime().toString(QStringLiteral("HH:mm:ss  ")) + sentence;
    while (history_.size() > 40) history_.removeFirst();
    // News that comes right behind a warning ("Opened …") would hide it before anybody has read it.
    if (!warning && fade_.remainingTime() > warning_ms - unread_ms) return;
    const QString marked = (warning ? QStringLiteral("⚠ ") : QString()) + sentence;
    QPalette p = palette();
    p.setColor(QPalette::WindowText, warning ? Theme::instance().warning() : Theme::instance().muted());
    message_->setPalette(p);
    message_->set_text(marked);
    message_->setMinimumWidth(
        std::min(320, message_->sizeHint().width()));  // before what has stood there all along
    fade_.start(warning ? warning_ms : news_ms);
}

void StatusArea::set_results(const Shown& shown, const LatencySamples& latency) {
    if (!shown.current) {
        figures_->setText(QStringLiteral("Nothing has been run yet"));
        figures_->setAccessibleDescription(figures_->text());
        origin_->set_text({});
        return;
    }
    const ivit::Result& r = *shown.current;
    QStringList parts;
    const double im = latency.typical(latency.integer_ms), fm = latency.typical(latency.float_ms);
    if (!std::isnan(im)) {
        parts << QStringLiteral("integer <b>%1</b>").arg(numbers::milliseconds(im));
        if (!std::isnan(fm)) {
            parts << QStringLiteral("float <b>%1</b>").arg(numbers::milliseconds(fm));
            parts << (latency.unsettled() ? QStringLiteral("≈%1× (disturbed)") : QStringLiteral("<b>%1×</b>"))
                         .arg(numbers::significant(latency.ratio()));
        }
    }
    QString backend = QString::fromStdString(r.backend.name).toHtmlEscaped();
    if (r.backend.threads > 0 && r.backend.name != "cuda")
        backend += QStringLiteral(", %1 %2")
                       .arg(r.backend.threads)
                       .arg(r.backend.threads == 1 ? "thread" : "threads");
    if (!r.backend.isa.empty())
        backend += QStringLiteral(", ") + QString::fromStdString(r.backend.isa).toHtmlEscaped();
    parts << backend;
    figures_->setToolTip(metrics::define("latency") + QStringLiteral("\n") + metrics::define("speedup") +
                         (latency.unsettled() ? QStringLiteral("\n") + latency.disturbance() : QString()));
    figures_->setText(parts.join(QStringLiteral("&nbsp;&nbsp; ")));
    QStringList origin;
    if (r.comparison.model) origin << QString::fromStdString(r.comparison.model->calibration.summary());
    if (!r.gpu_absent.empty())
        origin << QStringLiteral("no GPU (%1)").arg(QString::fromStdString(r.gpu_absent));
    origin_->set_text(origin.join(QStringLiteral(" · ")));
    QString spoken = (parts + origin).join(QStringLiteral(", "));
    figures_->setAccessibleDescription(spoken.remove(QStringLiteral("<b>")).remove(QStringLiteral("</b>")));
}
