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

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

namespace {

constexpr int top = 5, margin = 12;

// The first of ImageNet's several names is enough: "tabby, tabby cat" -> "tabby".
QString short_label(const QString& label) { return label.section(QLatin1Char(','), 0, 0); }

// A class with its probability as a number and a bar, in the painter's pen; where it was before as a tick.
void paint_row(QPainter& p, const QRect& place, const PredictionsView::Row& row, const QColor& colour) {
    const Theme& theme = Theme::instance();
    const QFontMetrics fm(p.font());
    const int number = fm.horizontalAdvance(QStringLiteral("0.000"));
    p.drawText(place.x(), place.y() + fm.ascent(),
               fm.elidedText(short_label(row.label), Qt::ElideRight, place.width() - number - 8));
    p.drawText(QRect(place.topLeft(), QSize(place.width(), fm.height())), Qt::AlignRight,
               numbers::probability(row.probability));
    const QRectF bar(place.x(), place.y() + fm.height() + 1, place.width(), 5);
    p.setPen(Qt::NoPen);
    p.setBrush(theme.grid());
    p.drawRoundedRect(bar, 3, 3);
    p.setBrush(colour);
    // Never so short that it vanishes.
    p.drawRoundedRect(QRectF(bar.x(), bar.y(), std::max(2.0, bar.width() * row.probability), bar.height()), 3,
                      3);
    if (!row.before) return;
    p.setPen(QPen(theme.ghost_colour(), 2));
    const double tick = bar.x() + bar.width() * *row.before;
    p.drawLine(QPointF(tick, bar.top() - 2), QPointF(tick, bar.bottom() + 2));
}

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
    const ivit::Comparison* c = shown().comparison();
    const ivit::Comparison* ghost = shown().ghost_comparison();
    float_rows_ = c && c->integer_trace ? rows(c->float_trace.get(), nullptr) : std::vector<Row>();
    integer_rows_ =
        c ? rows(c->integer_trace.get(), ghost ? ghost->integer_trace.get() : nullptr) : std::vector<Row>();
    agree_ = float_rows_.empty() || c->logits.agree;
    if (integer_rows_.empty())
        verdict_.clear();
    else if (agree_)
        verdict_ = (float_rows_.empty() ? QStringLiteral("%1") : QStringLiteral("Both say %1"))
                       .arg(short_label(integer_rows_[0].label));
    else
        verdict_ = QStringLiteral("%1 became %2")
                       .arg(short_label(float_rows_[0].label), short_label(integer_rows_[0].label));
    figures_ = c && c->float_trace && c->integer_trace
                   ? figures(c->logits, ghost && ghost->float_trace ? &ghost->logits : nullptr)
                   : std::vector<Figure>();
    find_worst(c);
    speak();
    update();
}

// The most probable classes of a run of one picture, with their probabilities in the run before.
std::vector<PredictionsView::Row> PredictionsView::rows(const ivit::Trace* t,
                                                        const ivit::Trace* before) const {
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
}

// ghost: null where there is nothing to compare with.
std::vector<PredictionsView::Figure> PredictionsView::figures(const ivit::LogitError& now,
                                                              const ivit::LogitError* ghost) {
    const auto change = [&](double ivit::LogitError::*what, const QString& unit = {}) {
        return ghost ? numbers::change(now.*what - ghost->*what, unit) : QString();
    };
    return {
        {"margin, float", numbers::probability(now.margin_float), {}, metrics::define("margin")},
        {"margin, integer", numbers::probability(now.margin_integer),
         change(&ivit::LogitError::margin_integer), metrics::define("margin")},
        {"KL divergence", numbers::significant(now.kl) + " nat", change(&ivit::LogitError::kl),
         metrics::define("kl_logits")},
        {"SQNR of the logits", numbers::decibels(now.sqnr_db), change(&ivit::LogitError::sqnr_db, "dB"),
         metrics::define("sqnr_logits")},
    };
}

void PredictionsView::find_worst(const ivit::Comparison* c) {
    worst_ = -1;
    if (!c || c->isolated.empty() || !c->integer_trace) return;
    const auto least = std::min_element(
        c->isolated.begin(), c->isolated.end(),
        [](const ivit::NodeError& a, const ivit::NodeError& b) { return a.sqnr_db < b.sqnr_db; });
    worst_ = least->node;
    worst_text_ = QStringLiteral("%1  %2").arg(
        QString::fromStdString(c->integer_trace->graph->nodes[static_cast<size_t>(worst_)].name),
        numbers::decibels(least->sqnr_db));
}

// For screen readers.
void PredictionsView::speak() {
    QString spoken = verdict_;
    if (worst_ >= 0) spoken += QStringLiteral("; worst alone: ") + worst_text_;
    for (const Row& r : integer_rows_) {
        spoken +=
            QStringLiteral("; integer %1 %2").arg(short_label(r.label), numbers::probability(r.probability));
    }
    setAccessibleDescription(spoken);
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
    int y = paint_verdict(p, margin - 2);
    y = paint_rows(p, y) + 6;
    y = paint_figures(p, y);
    if (worst_ >= 0 && y + p.fontMetrics().height() <= height()) paint_worst(p, y);
}

// Each of these draws from `y` on and returns where it ended.
int PredictionsView::paint_verdict(QPainter& p, int y) {
    const Theme& theme = Theme::instance();
    const int inner = width() - 2 * margin;
    p.setFont(theme.figures(19, true));
    QFontMetrics fm(p.font());
    // The sign says without colour what the words say.
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
    return y + fm.height() + 9;
}

// Both networks' answers, in a column each where there are two.
int PredictionsView::paint_rows(QPainter& p, int y) {
    const Theme& theme = Theme::instance();
    const int inner = width() - 2 * margin, gap = 18;
    const QColor integer = theme.integer_colour();
    if (float_rows_.empty())
        return paint_column(p, QRect(margin, y, inner, 0), QStringLiteral("integer"), integer_rows_, integer);
    const QRect left(margin, y, (inner - gap) / 2, 0);
    const QRect right = left.translated(left.width() + gap, 0);
    return std::max(paint_column(p, left, QStringLiteral("float"), float_rows_, theme.float_colour()),
                    paint_column(p, right, QStringLiteral("integer"), integer_rows_, integer));
}

// place: where it begins, and its width.
int PredictionsView::paint_column(QPainter& p, const QRect& place, const QString& title,
                                  const std::vector<Row>& rows, const QColor& colour) {
    constexpr int row_height = 28;
    const Theme& theme = Theme::instance();
    p.setFont(theme.figures(12, true));
    const QFontMetrics bold(p.font());
    p.setPen(colour);
    p.drawText(place.x(), place.y() + bold.ascent(), title);
    p.setFont(theme.figures(12));
    QRect at(place.x(), place.y() + bold.height() + 5, place.width(), row_height);
    for (const Row& r : rows) {
        p.setPen(&r == &rows.front() ? palette().color(QPalette::Text) : theme.muted());
        paint_row(p, at, r, colour);
        QString tip = r.label + QStringLiteral("\n") + numbers::significant(r.probability, 6);
        if (r.before) tip += QStringLiteral(" (was %1)").arg(numbers::significant(*r.before, 6));
        tips_.push_back({at, tip + QStringLiteral("\n") + metrics::define("probability")});
        at.translate(0, row_height);
    }
    return at.y();
}

int PredictionsView::paint_figures(QPainter& p, int y) {
    const Theme& theme = Theme::instance();
    p.setFont(theme.figures(12));
    const QFontMetrics fm(p.font());
    const int change_width = fm.horizontalAdvance(QStringLiteral("  +0.00e-10"));
    const bool any_change =
        std::any_of(figures_.begin(), figures_.end(), [](const Figure& f) { return !f.change.isEmpty(); });
    const int right = any_change ? change_width : 0;
    for (const Figure& f : figures_) {
        if (y + fm.height() > height()) break;
        const QRect line(margin, y, width() - 2 * margin, fm.height());
        p.setPen(theme.muted());
        p.drawText(
            line, Qt::AlignLeft,
            fm.elidedText(f.name, Qt::ElideRight, line.width() - right - fm.horizontalAdvance(f.value) - 8));
        p.setPen(palette().color(QPalette::Text));
        p.drawText(line.adjusted(0, 0, -right, 0), Qt::AlignRight, f.value);
        p.setPen(theme.muted());
        p.drawText(line, Qt::AlignRight, f.change);
        tips_.push_back({line, f.definition});
        y += fm.height() + 3;
    }
    return y;
}

// Where to look next: as a link, since a click goes there.
void PredictionsView::paint_worst(QPainter& p, int y) {
    const QFontMetrics fm(p.font());
    const QRect line(margin, y, width() - 2 * margin, fm.height());
    const QString name = QStringLiteral("worst alone");
    p.setPen(Theme::instance().muted());
    p.drawText(line, Qt::AlignLeft, name);
    const QString link =
        fm.elidedText(worst_text_, Qt::ElideMiddle, line.width() - fm.horizontalAdvance(name) - 12);
    worst_place_ = line.adjusted(line.width() - fm.horizontalAdvance(link), 0, 0, 0);
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
