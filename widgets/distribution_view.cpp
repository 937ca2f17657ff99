// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/distribution_view.h"

#include <QGuiApplication>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/theme.h"

DistributionView::DistributionView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Distribution"), selection, parent),
      plot_(new QCustomPlot),
      logarithmic_(new QCheckBox(QStringLiteral("Logarithmic count"))),
      title_(new ElidedLabel(Qt::ElideMiddle)) {
    plot_->setObjectName("distribution_plot");
    plot_->setAccessibleName(QStringLiteral("Histogram of the node's values"));
    plot_->setToolTip(QStringLiteral(
        "<p>Values of the selected node's output, float network against integer network (as real numbers, "
        "scale times integer). Dashed: where the integer grid clamps.</p>"));
    plot_->setInteractions(QCP::iRangeDrag | QCP::iRangeZoom);
    plot_->axisRect()->setRangeDrag(Qt::Horizontal);
    plot_->axisRect()->setRangeZoom(Qt::Horizontal);
    connect(plot_, &QCustomPlot::mouseDoubleClick, this, [this] { refresh(); });
    exporting::offer_image(plot_, QStringLiteral("distribution"));
    exporting::offer_plot_csv(plot_, QStringLiteral("distribution"));
    float_ = plot_->addGraph();
    integer_ = plot_->addGraph();
    float_->setName(QStringLiteral("float"));
    integer_->setName(QStringLiteral("integer"));
    for (QCPGraph* g : {float_, integer_}) g->setLineStyle(QCPGraph::lsStepCenter);
    plot_->legend->setVisible(true);
    plot_->xAxis->setLabel(QStringLiteral("value"));
    plot_->yAxis->setLabel(QStringLiteral("values per bin"));
    logarithmic_->setChecked(true);
    logarithmic_->setToolTip(
        QStringLiteral("Count on a logarithmic axis: the few values at the limits become visible"));
    connect(logarithmic_, &QCheckBox::toggled, this, &DistributionView::touch);
    QHBoxLayout* const bar = new_bar();
    bar->addWidget(title_, 1);
    bar->addWidget(logarithmic_);
    lay_out(bar, plot_);
}

QWidget* DistributionView::canvas() { return plot_; }

void DistributionView::refresh() {
    const Theme& theme = Theme::instance();
    plotting::style(plot_);
    plot_->clearItems();
    limits_.clear();
    const auto paint = [](QCPGraph* graph, QColor c) {
        graph->setPen(plotting::pen(c, 1.6));
        c.setAlpha(60);
        graph->setBrush(c);
    };
    paint(float_, theme.float_colour());
    paint(integer_, theme.integer_colour());

    const ivit::Comparison* c = shown().comparison();
    const int at = selection().node();
    const ivit::Tap* q = c && c->integer_trace ? c->integer_trace->tap(at) : nullptr;
    const ivit::Tap* f = c && c->float_trace ? c->float_trace->tap(at) : nullptr;
    const std::vector<float> integers = q ? ivit::dequantize(q->integers).data : std::vector<float>();
    static const std::vector<float> none;
    const std::vector<float>& floats = f ? f->floats.data : none;
    double low = INFINITY, high = -INFINITY;
    for (const std::vector<float>* values : {&integers, &floats}) {
        for (const float v : *values) {
            low = std::min(low, static_cast<double>(v));
            high = std::max(high, static_cast<double>(v));
        }
    }
    const QString name = node() ? QString::fromStdString(node()->name) : QString();
    if (low < high) {
        fill_bins(floats, integers, q->integers.grid, low, high);
        const QStringList outside = draw_limits(q->integers.grid, low, high);
        title_->set_text(description(name, q->integers, outside));
    } else {
        float_->data()->clear();
        integer_->data()->clear();
        title_->set_text(low == high
                             ? QStringLiteral("%1 · every value is %2%3")
                                   .arg(name, numbers::significant(low),
                                        floats.empty() ? QString() : QStringLiteral(", in both networks"))
                         : shown().current ? QStringLiteral("This node's values are not at hand.")
                                           : shown().invitation(QStringLiteral("to see its values.")));
    }
    plot_->replot(QCustomPlot::rpQueuedReplot);
}

// Bins of a whole number of steps where there is one grid, so that no bin holds more levels than its
// neighbour.
void DistributionView::fill_bins(const std::vector<float>& floats, const std::vector<float>& integers,
                                 const ivit::Grid& grid, double low, double high) {
    constexpr int most_bins = 256;
    double width = (high - low) / most_bins, start = low;
    if (grid.scale.size() == 1 && grid.bits <= 16) {
        const double step = grid.scale[0];
        width = step * std::max(1.0, std::ceil((high - low) / step / most_bins));
        start = (std::floor(low / step) - 0.5) * step;
    }
    const int bins = std::max(1, static_cast<int>(std::ceil((high - start) / width)) + 1);
    const bool log = logarithmic_->isChecked();
    const double floor = log ? 0.5 : 0;
    double tallest = 1;
    const auto fill = [&](QCPGraph* graph, const std::vector<float>& values) {
        std::vector<double> count(static_cast<size_t>(bins), 0.0);
        for (const float v : values) {
            const int bin = static_cast<int>((static_cast<double>(v) - start) / width);
            count[static_cast<size_t>(std::clamp(bin, 0, bins - 1))] += 1;
        }
        QVector<double> x, y;
        x << start - width / 2;
        y << floor;
        for (int i = 0; i < bins; ++i) {
            x << start + (i + 0.5) * width;
            y << std::max(floor, count[static_cast<size_t>(i)]);
            tallest = std::max(tallest, count[static_cast<size_t>(i)]);
        }
        x << start + (bins + 0.5) * width;
        y << floor;
        graph->setData(x, y, true);
        graph->setVisible(!values.empty());
    };
    fill(float_, floats);
    fill(integer_, integers);
    plotting::list_in_legend(plot_, {float_, integer_});
    if (log) {
        plot_->yAxis->setScaleType(QCPAxis::stLogarithmic);
        plot_->yAxis->setTicker(QSharedPointer<QCPAxisTickerLog>::create());
        plot_->yAxis->setNumberFormat("gb");
        plot_->yAxis->setNumberPrecision(3);
        plot_->yAxis->setRange(0.5, tallest * 3);
    } else {
        plot_->yAxis->setScaleType(QCPAxis::stLinear);
        plot_->yAxis->setTicker(QSharedPointer<QCPAxisTicker>::create());
        plot_->yAxis->setRange(0, tallest * 1.12);
    }
}

// Limits that are near are drawn; yields those far out, which are only named, since a plot of them would be
// empty in between.
QStringList DistributionView::draw_limits(const ivit::Grid& grid, double low, double high) {
    if (grid.bits < 32)
        for (const double s : grid.scale)
            for (const int64_t limit : {grid.low(), grid.high()})
                if (limits_.size() < 6 && !(grid.is_unsigned && limit == 0))
                    limits_.push_back(static_cast<double>(limit) * s);
    double x0 = low, x1 = high;
    for (const double l : limits_) {
        if (l < x0 && x0 - l < (high - low)) x0 = l;
        if (l > x1 && l - x1 < (high - low)) x1 = l;
    }
    const double room = (x1 - x0) * 0.04;
    plot_->xAxis->setRange(x0 - room, x1 + room);
    const Theme& theme = Theme::instance();
    QColor back = QGuiApplication::palette().color(QPalette::Base);
    back.setAlpha(200);
    QStringList outside;
    for (const double l : limits_) {
        if (l < x0 - room || l > x1 + room) {
            outside << numbers::significant(l);
            continue;
        }
        const QCPItemLine* line =
            plotting::vertical(plot_, l, QPen(theme.integer_colour(), 1.4, Qt::DashLine));
        auto* text = new QCPItemText(plot_);
        text->position->setParentAnchor(line->start);
        text->position->setType(QCPItemPosition::ptAbsolute);  // pixels from there: below the legend
        text->position->setCoords(0, plot_->legend->minimumOuterSizeHint().height() + 16);
        text->setPositionAlignment((l < (x0 + x1) / 2 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignTop);
        text->setPadding(QMargins(4, 1, 4, 1));
        text->setText(QStringLiteral("clamp %1").arg(numbers::significant(l)));
        text->setFont(theme.figures(11));
        text->setColor(theme.muted());
        text->setBrush(back);
    }
    return outside;
}

QString DistributionView::description(const QString& name, const ivit::IntTensor& integers,
                                      const QStringList& outside) {
    const ivit::Grid& grid = integers.grid;
    QString text = name + QStringLiteral(" · %1 values · %2-bit")
                              .arg(numbers::count(static_cast<int64_t>(integers.data.size())))
                              .arg(grid.bits);
    text += grid.scale.size() == 1 ? QStringLiteral(" · step %1").arg(numbers::significant(grid.scale[0]))
                                   : QStringLiteral(" · %1 scales").arg(grid.scale.size());
    if (grid.bits >= 32) text += QStringLiteral(" · nothing clamps");
    if (!outside.isEmpty())
        text += QStringLiteral(" · clamps at %1, beyond the plot").arg(outside.join(QStringLiteral(", ")));
    return text;
}
