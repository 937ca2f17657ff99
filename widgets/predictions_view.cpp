// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/predictions_view.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

constexpr int top = 5, margin = 12;

// The first of ImageNet's several names is enough: "tabby, tabby cat" -> "tabby".
QString short_label(const QString& label) { return label.section(QLatin1Char(','), 0, 0); }

}  // namespace

PredictionsView::PredictionsView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Prediction"), selection, parent) {
    exporting::offer_image(this, QStringLiteral("prediction"));
    auto* copy = new QAction(QStringLiteral("Copy as CSV"), this);
    connect(copy, &QAction::triggered, this, [this] { QGuiApplication::clipboard()->setText(to_csv()); });
    addAction(copy);
    setFocusPolicy(Qt::ClickFocus);
    setMouseTracking(true);
    setToolTip(metrics::define("probability"));  // event() says more, of what is under the mouse
}

void PredictionsView::refresh() {
    float_rows_.clear();
    integer_rows_.clear();
    figures_.clear();
    verdict_.clear();
    worst_ = -1;
    agree_ = true;
    const ivit::Comparison* c = shown().comparison();
    const ivit::Comparison* g = shown().ghost_comparison();
    const auto rows = [this](const ivit::Trace* t, const ivit::Trace* before) {
        std::vector<Row> out;
        if (!t) return out;
        const std::vector<double> p = ivit::probabilities(*t, 0);
        const std::vector<double> q = before ? ivit::probabilities(*before, 0) : std::vector<double>();
        for (const int i : ivit::top_k(*t, 0, top)) {
            const size_t n = static_cast<size_t>(i);
            Row row;
            row.label =
                n < labels_.size() ? QString::fromStdString(labels_[n]) : QStringLiteral("class %1").arg(i);
            row.probability = p[n];
            if (n < q.size()) row.before = q[n];
            out.push_back(row);
        }
        return out;
    };
    if (c && c->integer_trace) {
        float_rows_ = rows(c->float_trace.get(), nullptr);
        integer_rows_ = rows(c->integer_trace.get(), g ? g->integer_trace.get() : nullptr);
    }
    if (!integer_rows_.empty()) {
        if (float_rows_.empty()) {
            verdict_ = short_label(integer_rows_[0].label);
        } else {
            agree_ = c->logits.agree;
            verdict_ = agree_
                           ? QStringLiteral("Both say %1").arg(short_label(integer_rows_[0].label))
                           : QStringLiteral("%1 became %2")
                                 .arg(short_label(float_rows_[0].label), short_label(integer_rows_[0].label));
        }
    }
    if (c && c->float_trace && c->integer_trace) {
        const ivit::LogitError& e = c->logits;
        const bool ghost = g && g->float_trace;
        const auto change = [ghost](double now, double before, const QString& unit = {}) {
            return ghost ? numbers::change(now - before, unit) : QString();
        };
        figures_ = {
            {"margin, float", numbers::probability(e.margin_float), {}, metrics::define("margin")},
            {"margin, integer", numbers::probability(e.margin_integer),
             change(e.margin_integer, ghost ? g->logits.margin_integer : 0), metrics::define("margin")},
            {"KL of the probabilities", numbers::significant(e.kl) + " nat",
             change(e.kl, ghost ? g->logits.kl : 0), metrics::define("kl_logits")},
            {"SQNR of the logits", numbers::decibels(e.sqnr_db),
             change(e.sqnr_db, ghost ? g->logits.sqnr_db : 0, "dB"), metrics::define("sqnr_logits")},
        };
    }
    if (c && !c->isolated.empty() && c->integer_trace) {
        const auto least = std::min_element(
            c->isolated.begin(), c->isolated.end(),
            [](const ivit::NodeError& a, const ivit::NodeError& b) { return a.sqnr_db < b.sqnr_db; });
        worst_ = least->node;
        worst_text_ = QStringLiteral("%1  %2").arg(
            QString::fromStdString(c->integer_trace->graph->nodes[static_cast<size_t>(worst_)].name),
            numbers::decibels(least->sqnr_db));
    }
    QString spoken = verdict_;
    if (worst_ >= 0) spoken += QStringLiteral("; worst alone: ") + worst_text_;
    for (const Row& r : integer_rows_) {
        spoken +=
            QStringLiteral("; integer %1 %2").arg(short_label(r.label), numbers::probability(r.probability));
    }
    setAccessibleDescription(spoken);
    update();
}

QString PredictionsView::to_csv() const {
    QString csv = QStringLiteral("network,rank,label,probability\r\n");
    const auto add = [&csv](const char* network, const std::vector<Row>& rows) {
        int rank = 1;
        for (const Row& r : rows) {
            QString label = r.label;
            label.replace(QLatin1String("\""), QLatin1String("\"\""));
            csv += QStringLiteral("%1,%2,\"%3\",%4\r\n")
                       .arg(network)
                       .arg(rank++)
                       .arg(label)
                       .arg(r.probability, 0, 'g', 9);
        }
    };
    add("float", float_rows_);
    add("integer", integer_rows_);
    return csv;
}

void PredictionsView::paintEvent(QPaintEvent*) {
    const Theme& theme = Theme::instance();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.fillRect(rect(), palette().color(QPalette::Base));
    tips_.clear();
    worst_place_ = {};
    if (integer_rows_.empty()) {
        p.setPen(theme.muted());
        p.drawText(rect().adjusted(margin, 0, -margin, 0), Qt::AlignCenter | Qt::TextWordWrap,
                   shown().invitation(QStringLiteral("to see what both networks make of it.")));
        return;
    }
    const int inner = width() - 2 * margin;
    int y = margin - 2;

    // The verdict, in words; the sign beside it says the same without colour.
    p.setFont(theme.figures(19, true));
    QFontMetrics fm(p.font());
    const QString sign = float_rows_.empty() ? QString()
                         : agree_            ? QStringLiteral("✓ ")
                                             : QStringLiteral("≠ ");
    p.setPen(agree_ ? theme.good() : theme.warning());
    const int sign_width = fm.horizontalAdvance(sign);
    p.drawText(margin, y + fm.ascent(), sign);
    p.setPen(palette().color(QPalette::Text));
    p.drawText(margin + sign_width, y + fm.ascent(),
               fm.elidedText(verdict_, Qt::ElideRight, inner - sign_width));
    tips_.push_back({QRect(margin, y, inner, fm.height()),
                     verdict_ + QStringLiteral("\n") + metrics::define("agreement")});
    y += fm.height() + 1;
    p.setFont(theme.figures(11));
    fm = QFontMetrics(p.font());
    p.setPen(theme.muted());
    // Random weights have no file; what they say of a picture is noise, and a person should know.
    const ivit::Request& request = *shown().current->request;
    const bool random = request.model && request.model->info.sha256.empty();
    const QString note = random ? QStringLiteral("random weights · ") : QString();
    p.drawText(margin, y + fm.ascent(), fm.elidedText(note + caption(), Qt::ElideMiddle, inner));
    y += fm.height() + 9;

    const bool both = !float_rows_.empty();
    const int gap = 18, column = both ? (inner - gap) / 2 : inner;
    const int row_height = 28;
    const auto draw = [&](int x, const QString& title, const std::vector<Row>& rows, const QColor& colour) {
        p.setFont(theme.figures(12, true));
        QFontMetrics bold(p.font());
        p.setPen(colour);
        p.drawText(x, y + bold.ascent(), title);
        int at = y + bold.height() + 5;
        p.setFont(theme.figures(12));
        const QFontMetrics m(p.font());
        const int number = m.horizontalAdvance(QStringLiteral("0.000"));
        for (size_t i = 0; i < rows.size(); ++i) {
            const Row& r = rows[i];
            p.setPen(i == 0 ? palette().color(QPalette::Text) : theme.muted());
            p.drawText(x, at + m.ascent(),
                       m.elidedText(short_label(r.label), Qt::ElideRight, column - number - 8));
            p.drawText(QRect(x, at, column, m.height()), Qt::AlignRight, numbers::probability(r.probability));
            const QRectF bar(x, at + m.height() + 1, column, 5);
            p.setPen(Qt::NoPen);
            p.setBrush(theme.grid());
            p.drawRoundedRect(bar, 3, 3);
            p.setBrush(colour);
            p.drawRoundedRect(
                QRectF(bar.x(), bar.y(), std::max(2.0, bar.width() * r.probability), bar.height()), 3, 3);
            if (r.before) {  // the ghost: a tick where it was
                p.setPen(QPen(theme.ghost_colour(), 2));
                const double tick = bar.x() + bar.width() * *r.before;
                p.drawLine(QPointF(tick, bar.top() - 2), QPointF(tick, bar.bottom() + 2));
            }
            QString tip = r.label + QStringLiteral("\n") + numbers::significant(r.probability, 6);
            if (r.before) tip += QStringLiteral(" (was %1)").arg(numbers::significant(*r.before, 6));
            tips_.push_back({QRect(x, at, column, row_height),
                             tip + QStringLiteral("\n") + metrics::define("probability")});
            at += row_height;
        }
        return at;
    };
    int end = y;
    if (both) end = draw(margin, QStringLiteral("float"), float_rows_, theme.float_colour());
    end = std::max(end, draw(both ? margin + column + gap : margin, QStringLiteral("integer"), integer_rows_,
                             theme.integer_colour()));
    y = end + 6;

    p.setFont(theme.figures(12));
    fm = QFontMetrics(p.font());
    for (const Figure& f : figures_) {
        if (y + fm.height() > height()) break;
        const QRect line(margin, y, inner, fm.height());
        p.setPen(theme.muted());
        const int change_width = fm.horizontalAdvance(QStringLiteral("  +0.00e-10")),
                  value_width = fm.horizontalAdvance("0.00e-10 nat");
        const bool any_change = !figures_[1].change.isEmpty();
        const int right = any_change ? change_width : 0;
        p.drawText(line, Qt::AlignLeft, fm.elidedText(f.name, Qt::ElideRight, inner - right - value_width));
        p.setPen(palette().color(QPalette::Text));
        p.drawText(line.adjusted(0, 0, -right, 0), Qt::AlignRight, f.value);
        p.setPen(theme.muted());
        p.drawText(line, Qt::AlignRight, f.change);
        tips_.push_back({line, f.definition});
        y += fm.height() + 3;
    }
    if (worst_ < 0 || y + fm.height() > height()) return;
    // Where to look next: as a link, since a click goes there.
    const QString name = QStringLiteral("worst alone");
    const int name_width = fm.horizontalAdvance(name) + 12;
    p.setPen(theme.muted());
    p.drawText(QRect(margin, y, inner, fm.height()), Qt::AlignLeft, name);
    const QString link = fm.elidedText(worst_text_, Qt::ElideMiddle, inner - name_width);
    worst_place_ =
        QRect(margin + inner - fm.horizontalAdvance(link), y, fm.horizontalAdvance(link), fm.height());
    QFont underlined = p.font();
    underlined.setUnderline(true);
    p.setFont(underlined);
    p.setPen(palette().color(QPalette::Link));
    p.drawText(worst_place_, Qt::AlignLeft, link);
    tips_.push_back({worst_place_, metrics::define("worst_alone")});
}

void PredictionsView::mousePressEvent(QMouseEvent* event) {
    if (event->button() == Qt::LeftButton && worst_place_.contains(event->pos())) {
        selection().set_node(worst_);
    } else {
        View::mousePressEvent(event);
    }
}

void PredictionsView::mouseMoveEvent(QMouseEvent* event) {
    setCursor(worst_place_.contains(event->pos()) ? Qt::PointingHandCursor : Qt::ArrowCursor);
    View::mouseMoveEvent(event);
}

bool PredictionsView::event(QEvent* event) {
    if (event->type() == QEvent::ToolTip) {
        const auto* help = static_cast<QHelpEvent*>(event);
        for (const auto& [where, text] : tips_) {
            if (where.contains(help->pos())) {
                QToolTip::showText(help->globalPos(), text, this, where);
                return true;
            }
        }
        QToolTip::hideText();
        return true;
    }
    return View::event(event);
}
