// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/latency_view.h"

#include <QGuiApplication>
#include <QThread>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/latency_figures.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/theme.h"

LatencyView::LatencyView(Workbench& bench, QWidget* parent)
    : View(QStringLiteral("Latency"), bench.selection(), parent),
      bench_(bench),
      figures_(new LatencyFigures),
      plot_(new QCustomPlot),
      keep_running_(new QCheckBox(QStringLiteral("Keep running"))),
      batch_(new QSpinBox),
      threads_(new QSpinBox) {
    set_up_plot();
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    layout->addLayout(make_bar());
    layout->addWidget(figures_);
    layout->addWidget(plot_, 1);
}

void LatencyView::set_up_plot() {
    plot_->setObjectName("latency_plot");
    plot_->setAccessibleName(QStringLiteral("Latency of every node, float and integer"));
    plot_->setToolTip(QStringLiteral(
        "<p>Median time of every node in milliseconds. Nodes that a backend fuses share their time evenly. "
        "The sum over layers exceeds the whole run: each has a clock of its own.</p>"));
    exporting::offer_image(plot_, QStringLiteral("latency_per_layer"));
    exporting::offer_plot_csv(plot_, QStringLiteral("latency_per_layer"));
    float_ = new QCPBars(plot_->xAxis, plot_->yAxis);
    integer_ = new QCPBars(plot_->xAxis, plot_->yAxis);
    auto* group = new QCPBarsGroup(plot_);
    group->setSpacingType(QCPBarsGroup::stPlotCoords);
    group->setSpacing(0);
    for (QCPBars* b : {float_, integer_}) {
        b->setBarsGroup(group);
        b->setWidth(0.4);
    }
    float_->setName(QStringLiteral("float"));
    integer_->setName(QStringLiteral("integer"));
    plot_->legend->setVisible(true);
    plot_->yAxis->setLabel(QStringLiteral("time [ms]"));
    connect(plot_, &QCustomPlot::mousePress, this, [this](QMouseEvent* e) {
        const int n = static_cast<int>(samples_.integer_node_ms.size());
        if (e->button() != Qt::LeftButton || n == 0) return;
        selection().set_node(std::clamp(
            static_cast<int>(std::lround(plot_->xAxis->pixelToCoord(e->position().x()))), 0, n - 1));
    });
}

QLayout* LatencyView::make_bar() {
    keep_running_->setObjectName("keep_running");
    keep_running_->setAccessibleName(keep_running_->text());
    keep_running_->setToolTip(
        QStringLiteral("Go on timing both networks in the background; a change always comes first"));
    batch_->setRange(1, 256);
    batch_->setAccessibleName(QStringLiteral("Batch size"));
    batch_->setToolTip(QStringLiteral("Pictures per run: the one at hand, repeated"));
    batch_->setKeyboardTracking(false);
    threads_->setRange(0, std::max(64, QThread::idealThreadCount()));
    threads_->setSpecialValueText(QStringLiteral("all"));
    threads_->setAccessibleName(QStringLiteral("Threads"));
    threads_->setToolTip(QStringLiteral("Kernel threads, the same number for both networks"));
    threads_->setKeyboardTracking(false);
    QHBoxLayout* const bar = new_bar();
    const auto labelled = [bar](const QString& text, QWidget* box) {
        auto* label = new QLabel(text);
        label->setBuddy(box);
        bar->addWidget(label);
        bar->addWidget(box);
    };
    bar->addWidget(keep_running_);
    bar->addStretch();
    labelled(QStringLiteral("Batch"), batch_);
    bar->addSpacing(8);
    labelled(QStringLiteral("Threads"), threads_);
    const auto mode = [this] { bench_.set_latency(keep_running_->isChecked(), batch_->value()); };
    connect(keep_running_, &QCheckBox::toggled, this, mode);
    connect(batch_, &QSpinBox::valueChanged, this, mode);
    connect(threads_, &QSpinBox::valueChanged, this, &LatencyView::set_threads);
    connect(&bench_, &Workbench::settings_changed, this,
            [this] { threads_->setValue(bench_.settings().threads); });
    return bar;
}

void LatencyView::set_threads(int n) {
    Settings s = bench_.settings();
    if (s.threads == n) return;
    s.threads = n;
    constexpr int merge = 900;  // steps of the spin box are one step of undo; no slider has this number
    bench_.change_settings(s, n ? QStringLiteral("%1 threads").arg(n) : QStringLiteral("all threads"), merge);
}

QWidget* LatencyView::canvas() { return plot_; }

QString LatencyView::ratio_text() const {
    const double ratio = samples_.ratio();
    if (std::isnan(ratio)) return {};
    return (samples_.unsettled() ? QStringLiteral("≈") : QString()) +
           QString::number(ratio, 'f', ratio < 10 ? 2 : 1) + QStringLiteral("×");
}

void LatencyView::set_latency(const LatencySamples& samples) {
    samples_ = samples;
    touch();
}

// The selected node's line and its times.
void LatencyView::mark_node(const ivit::Graph& graph) {
    const int at = selection().node();
    if (at < 0 || at >= std::ssize(graph.nodes)) return;
    const QPalette palette = QGuiApplication::palette();
    plotting::vertical(plot_, at, QPen(palette.color(QPalette::Highlight), 1.2));
    auto* text = new QCPItemText(plot_);
    text->position->setType(QCPItemPosition::ptAxisRectRatio);
    text->position->setCoords(0.01, 0.02);
    text->setPositionAlignment(Qt::AlignLeft | Qt::AlignTop);
    text->setFont(Theme::instance().figures(11));
    text->setColor(palette.color(QPalette::Text));
    const size_t k = static_cast<size_t>(at);
    QString line = QString::fromStdString(graph.nodes[k].name) + QStringLiteral("  integer ") +
                   numbers::milliseconds(samples_.integer_node_ms[k]);
    if (k < samples_.float_node_ms.size())
        line += QStringLiteral("  float ") + numbers::milliseconds(samples_.float_node_ms[k]);
    text->setText(line);
}

void LatencyView::refresh() {
    const Theme& theme = Theme::instance();
    figures_->set(samples_, ratio_text(), shown().invitation(QStringLiteral("to time both networks on it.")));
    plotting::style(plot_);
    float_->setBrush(theme.float_colour());
    float_->setPen(Qt::NoPen);
    integer_->setBrush(theme.integer_colour());
    integer_->setPen(Qt::NoPen);
    const auto fill = [](QCPBars* bars, const std::vector<double>& ms) {
        QVector<double> x, y;
        for (size_t i = 0; i < ms.size(); ++i) {
            x << static_cast<double>(i);
            y << (std::isnan(ms[i]) ? 0 : ms[i]);
        }
        bars->setData(x, y, true);
        bars->setVisible(!ms.empty());
    };
    fill(float_, samples_.float_node_ms);
    fill(integer_, samples_.integer_node_ms);
    plotting::list_in_legend(plot_, {float_, integer_});
    plot_->clearItems();
    const ivit::Graph* g = shown().graph();
    const double n = static_cast<double>(samples_.integer_node_ms.size());
    if (g && static_cast<size_t>(n) == g->nodes.size()) {
        plotting::tick_blocks(plot_, *g);
        mark_node(*g);
    } else {
        plot_->xAxis->setTicker(QSharedPointer<QCPAxisTickerText>::create());
    }
    plot_->xAxis->setRange(-1, std::max(1.0, n));
    double tallest = 0;
    for (const auto* v : {&samples_.integer_node_ms, &samples_.float_node_ms}) {
        for (const double ms : *v) tallest = std::max(tallest, std::isnan(ms) ? 0 : ms);
    }
    plot_->yAxis->setRange(0, tallest > 0 ? tallest * 1.25 : 1);
    plot_->replot(QCustomPlot::rpQueuedReplot);
}
