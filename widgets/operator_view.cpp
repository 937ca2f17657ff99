// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/operator_view.h"

#include <QVBoxLayout>
#include <algorithm>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/theme.h"

namespace {

// Zero and all values, with a little room.
void span(QCPAxis* axis, const QVector<double>& values) {
    double low = 0, high = 0;
    for (const double y : values) {
        low = std::min(low, y);
        high = std::max(high, y);
    }
    const double margin = std::max(1e-12, (high - low) * 0.08);
    axis->setRange(low < 0 ? low - margin : 0, high + margin);
}

}  // namespace

OperatorView::OperatorView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Operator"), selection, parent), plot_(new QCustomPlot), title_(new ElidedLabel) {
    setToolTip(metrics::define("operator_curve"));
    title_->set_definition(metrics::define("operator_curve"));
    title_->setAccessibleName(QStringLiteral("Operator shown, and its error"));
    set_up_plot();
    QHBoxLayout* const bar = new_bar();
    bar->addWidget(title_, 1);
    lay_out(bar, plot_);
}

// The curves over the inputs' histogram; beneath, on the same inputs, their difference.
void OperatorView::set_up_plot() {
    plot_->setObjectName("operator_plot");
    plot_->setAccessibleName(
        QStringLiteral("The operator by shifts and the function it stands for, over its inputs"));
    plot_->setToolTip(QStringLiteral("<p>%1</p>").arg(metrics::define("operator_curve").toHtmlEscaped()));
    exporting::offer_image(plot_, QStringLiteral("operator"));
    exporting::offer_plot_csv(plot_, QStringLiteral("operator"));
    QCPAxisRect* curves = plot_->axisRect();
    curves->setupFullAxesBox();
    errors_ = new QCPAxisRect(plot_);
    errors_->setupFullAxesBox();
    plot_->plotLayout()->addElement(1, 0, errors_);
    plot_->plotLayout()->setRowStretchFactor(1, 0.45);
    auto* align = new QCPMarginGroup(plot_);
    for (QCPAxisRect* rect : {curves, errors_}) {
        rect->setMarginGroup(QCP::msLeft | QCP::msRight, align);
        rect->axis(QCPAxis::atTop)->setVisible(false);
    }
    errors_->axis(QCPAxis::atRight)->setVisible(false);
    for (const QCPAxis::AxisType side : {QCPAxis::atBottom, QCPAxis::atLeft})
        errors_->axis(side)->setLayer(QStringLiteral("axes"));
    QCPAxis *x = curves->axis(QCPAxis::atBottom), *y = curves->axis(QCPAxis::atLeft),
            *counts = curves->axis(QCPAxis::atRight);
    inputs_ = plot_->addGraph(x, counts);
    exact_ = plot_->addGraph(x, y);
    integer_ = plot_->addGraph(x, y);
    error_ = plot_->addGraph(errors_->axis(QCPAxis::atBottom), errors_->axis(QCPAxis::atLeft));
    error_->removeFromLegend();
    inputs_->setName(QStringLiteral("inputs"));
    inputs_->setLineStyle(QCPGraph::lsStepCenter);
    integer_->setLineStyle(QCPGraph::lsStepCenter);
    error_->setName(QStringLiteral("integer − exact"));
    x->setTickLabels(false);
    y->setLabel(QStringLiteral("output"));
    counts->setLabel(QStringLiteral("inputs per step"));
    counts->setVisible(true);
    counts->setTickLabels(true);
    errors_->axis(QCPAxis::atLeft)->setLabel(QStringLiteral("error"));
    plot_->legend->setVisible(true);
    // Both functions rise to the right.
    curves->insetLayout()->setInsetAlignment(0, Qt::AlignTop | Qt::AlignLeft);
}

QWidget* OperatorView::canvas() { return plot_; }

void OperatorView::refresh() {
    const ivit::Comparison* c = shown().comparison();
    const int at = shown().graph() ? operator_of(*shown().graph(), selection().node()) : -1;
    curve_ = c && c->integer_trace && c->model && at >= 0
                 ? operator_curve(*c->model, *c->integer_trace, at, selection().head(), selection().token())
                 : OperatorCurve();
    const ivit::Node* n = curve_.empty() ? nullptr : &shown().graph()->nodes[static_cast<size_t>(at)];
    colour();
    fill(n && n->op == ivit::Op::softmax);
    title_->set_text(n ? described(*n)
                     : shown().graph()
                         ? QStringLiteral("Select a node of a block to see its Shiftmax or ShiftGELU.")
                         : shown().invitation(QStringLiteral("to see how its operators are met.")));
    plot_->replot(QCustomPlot::rpQueuedReplot);
}

void OperatorView::colour() {
    const Theme& theme = Theme::instance();
    plotting::style(plot_);
    exact_->setPen(plotting::pen(theme.float_colour(), 1.8));
    integer_->setPen(plotting::pen(theme.integer_colour(), 1.8));
    error_->setPen(plotting::pen(theme.integer_colour(), 1.4));
    QColor soft = theme.ghost_colour();
    inputs_->setPen(plotting::pen(soft, 1));
    soft.setAlpha(50);
    inputs_->setBrush(soft);
}

void OperatorView::fill(bool softmax) {
    const auto list = [](const std::vector<double>& v) { return QVector<double>(v.begin(), v.end()); };
    const QVector<double> x = list(curve_.x), exact = list(curve_.exact), integer = list(curve_.integer),
                          count = list(curve_.count);
    QVector<double> difference;
    for (int i = 0; i < integer.size(); ++i) difference << integer[i] - exact[i];
    exact_->setData(x, exact, true);
    inputs_->setData(x, count, true);
    // Empty where the node does not run by shifts.
    integer_->setData(x.mid(0, integer.size()), integer, true);
    error_->setData(x.mid(0, difference.size()), difference, true);
    exact_->setName(curve_.empty() ? QStringLiteral("exact") : QString::fromStdString(curve_.exact_name));
    integer_->setName(curve_.empty() ? QStringLiteral("integer")
                                     : QString::fromStdString(curve_.integer_name));
    errors_->axis(QCPAxis::atBottom)
        ->setLabel(softmax ? QStringLiteral("logit, minus the greatest of its row")
                           : QStringLiteral("input"));
    if (curve_.empty()) return;
    QCPAxisRect* curves = plot_->axisRect();
    const double room = std::max(1e-9, (x.last() - x.first()) * 0.02);
    for (QCPAxisRect* rect : {curves, errors_})
        rect->axis(QCPAxis::atBottom)->setRange(x.first() - room, x.last() + room);
    span(curves->axis(QCPAxis::atLeft), exact + integer);
    span(curves->axis(QCPAxis::atRight), count);
    span(errors_->axis(QCPAxis::atLeft), difference);
    errors_->axis(QCPAxis::atLeft)->ticker()->setTickCount(3);
}

// Where the curve is from, how far it is off, and its parameters.
QString OperatorView::described(const ivit::Node& n) const {
    const bool softmax = n.op == ivit::Op::softmax;
    QString title = QString::fromStdString(n.name);
    if (softmax) title += QStringLiteral(", head %1").arg(std::min(selection().head(), n.heads - 1));
    if (!curve_.by_shifts)
        return title + QStringLiteral(" · runs as the function itself, rounded to its output's grid");
    title += QStringLiteral(" · error at most %1, RMS %2 over its inputs")
                 .arg(numbers::significant(curve_.worst), numbers::significant(curve_.rms));
    title += QStringLiteral(" · I0 %1, n %2, k %3, M %4, t %5")
                 .arg(curve_.i0)
                 .arg(curve_.shift.n)
                 .arg(curve_.shift.k)
                 .arg(curve_.shift.M)
                 .arg(curve_.shift.t);
    if (!softmax && curve_.shift.row_pivot)
        title += QStringLiteral(", pivot of row %1").arg(selection().token());
    return title;
}
