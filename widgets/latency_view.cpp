// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/latency_view.h"

#include <QGuiApplication>
#include <QPainter>
#include <QThread>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/theme.h"

namespace {

QString machine(const LatencySamples& s) {
    QString text = QString::fromStdString(s.backend.device);
    if (!s.backend.isa.empty()) text += QStringLiteral(" · ") + QString::fromStdString(s.backend.isa);
    text +=
        QStringLiteral(" · %1 %2").arg(s.backend.threads).arg(s.backend.threads == 1 ? "thread" : "threads");
    text +=
        QStringLiteral(" · batch %1 · backend %2").arg(s.batch).arg(QString::fromStdString(s.backend.name));
    return text;
}

QString why_no_gpu(const LatencySamples& s) {
    if (!s.gpu_absent.empty()) return QString::fromStdString(s.gpu_absent);
    for (const ivit::BackendEntry& b : ivit::backends()) {
        if (b.name == std::string("cuda"))
            return QStringLiteral("the %1 backend is chosen").arg(QString::fromStdString(s.backend.name));
    }
    return QStringLiteral("this program was built without a GPU backend");
}

}  // namespace

class LatencyFigures : public QWidget {
  public:
    LatencyFigures() {
        setFixedHeight(128);
        setAccessibleName(QStringLiteral("Latency: float against integer"));
        setToolTip(metrics::define("latency") + QStringLiteral("\n") + metrics::define("speedup"));
        exporting::offer_image(this, QStringLiteral("latency"));
    }
    void set(const LatencySamples& s, const QString& ratio, const QString& invitation) {
        samples_ = s;
        invitation_ = invitation;
        ratio_ = ratio;
        setAccessibleDescription(ratio_ + QStringLiteral(", ") + machine(s));
        update();
    }

  protected:
    void paintEvent(QPaintEvent*) override {
        const Theme& theme = Theme::instance();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.fillRect(rect(), palette().color(QPalette::Base));
        if (!samples_.error.empty() || samples_.integer_ms.empty()) {
            p.setPen(theme.muted());
            p.drawText(rect().adjusted(16, 0, -16, 0), Qt::AlignCenter | Qt::TextWordWrap,
                       samples_.error.empty() ? (samples_.backend.name.empty()
                                                     ? invitation_
                                                     : QStringLiteral("The first runs are being timed …"))
                                              : QString::fromStdString(samples_.error));
            return;
        }
        int x = 16;
        if (!ratio_.isEmpty()) {
            p.setFont(theme.figures(46, true));
            p.setPen(samples_.unsettled() ? theme.muted() : palette().color(QPalette::Text));
            const int w = p.fontMetrics().horizontalAdvance(ratio_);
            p.drawText(QRect(x, 8, w, 56), Qt::AlignVCenter | Qt::AlignLeft, ratio_);
            p.setFont(theme.figures(11));
            p.setPen(theme.muted());
            p.drawText(x, 76,
                       samples_.ratio() >= 1 ? QStringLiteral("integer is faster")
                                             : QStringLiteral("integer is slower"));
            x += std::max(w, 110) + 24;
        }
        const double fm = LatencySamples::quantile(samples_.float_ms, 0.5),
                     im = LatencySamples::quantile(samples_.integer_ms, 0.5);
        const double fp = LatencySamples::quantile(samples_.float_ms, 0.95),
                     ip = LatencySamples::quantile(samples_.integer_ms, 0.95);
        const double longest = std::max({std::isnan(fp) ? 0 : fp, ip, 1e-9});
        p.setFont(theme.figures(12));
        const int text = p.fontMetrics().horizontalAdvance(QStringLiteral("00.00 ms   p95 00.00 ms")) + 12;
        // The float network runs on the CPU wherever the integers run: said where that is not the same
        // machine.
        const QString floats =
            samples_.backend.name == "cuda" ? QStringLiteral("FP32 on the CPU") : QStringLiteral("float");
        const int name = std::max(p.fontMetrics().horizontalAdvance(floats),
                                  p.fontMetrics().horizontalAdvance(QStringLiteral("integer"))) +
                         10;
        const int bar = std::max(30, width() - x - name - text - 16);
        const auto row = [&](int y, const QString& title, double median, double p95, const QColor& colour) {
            p.setPen(colour);
            p.drawText(QRect(x, y, name, 20), Qt::AlignVCenter | Qt::AlignLeft, title);
            if (std::isnan(median)) return;
            p.setPen(Qt::NoPen);
            p.setBrush(colour);
            const QRectF r(x + name, y + 3, std::max(2.0, bar * median / longest), 14);
            p.drawRoundedRect(r, 3, 3);
            p.setPen(QPen(colour, 2));
            const double w = x + name + bar * p95 / longest;
            p.drawLine(QPointF(r.right(), y + 10), QPointF(w, y + 10));
            p.drawLine(QPointF(w, y + 5), QPointF(w, y + 15));
            p.setPen(palette().color(QPalette::Text));
            p.drawText(
                QRect(x + name + bar + 10, y, text, 20), Qt::AlignVCenter | Qt::AlignLeft,
                QStringLiteral("%1   p95 %2").arg(numbers::milliseconds(median), numbers::milliseconds(p95)));
        };
        if (!samples_.float_is_absent) row(14, floats, fm, fp, theme.float_colour());
        row(40, QStringLiteral("integer"), im, ip, theme.integer_colour());
        p.setFont(theme.figures(11));
        p.setPen(theme.muted());
        QString below =
            machine(samples_) + QStringLiteral(" · median of %1 runs").arg(samples_.integer_ms.size());
        p.drawText(QRect(x, 66, width() - x - 12, 18), Qt::AlignVCenter | Qt::AlignLeft,
                   p.fontMetrics().elidedText(below, Qt::ElideRight, width() - x - 12));
        QStringList notes;
        if (samples_.backend.name != "cuda") notes << QStringLiteral("no GPU: %1").arg(why_no_gpu(samples_));
        if (samples_.unsettled())
            notes << samples_.disturbance() + QStringLiteral(": ≈ is the ratio of the fastest runs");
        int y = 86;
        for (const QString& note : notes) {
            p.drawText(QRect(x, y, width() - x - 12, 18), Qt::AlignVCenter | Qt::AlignLeft,
                       p.fontMetrics().elidedText(note, Qt::ElideRight, width() - x - 12));
            y += 18;
        }
    }

  private:
    LatencySamples samples_;
    QString ratio_, invitation_;
};

LatencyView::LatencyView(Workbench& bench, QWidget* parent)
    : View(QStringLiteral("Latency"), bench.selection(), parent),
      bench_(bench),
      figures_(new LatencyFigures),
      plot_(new QCustomPlot),
      keep_running_(new QCheckBox(QStringLiteral("Keep running"))),
      batch_(new QSpinBox),
      threads_(new QSpinBox) {
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
    auto* bar = new QHBoxLayout;
    bar->setContentsMargins(8, 4, 8, 4);
    bar->addWidget(keep_running_);
    bar->addStretch();
    auto* batch_label = new QLabel(QStringLiteral("Batch"));
    batch_label->setBuddy(batch_);
    auto* threads_label = new QLabel(QStringLiteral("Threads"));
    threads_label->setBuddy(threads_);
    bar->addWidget(batch_label);
    bar->addWidget(batch_);
    bar->addSpacing(8);
    bar->addWidget(threads_label);
    bar->addWidget(threads_);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    layout->addLayout(bar);
    layout->addWidget(figures_);
    layout->addWidget(plot_, 1);
    const auto mode = [this] { bench_.set_latency(keep_running_->isChecked(), batch_->value()); };
    connect(keep_running_, &QCheckBox::toggled, this, mode);
    connect(batch_, &QSpinBox::valueChanged, this, mode);
    connect(threads_, &QSpinBox::valueChanged, this, [this](int n) {
        Settings s = bench_.settings();
        if (s.threads == n) return;
        s.threads = n;
        bench_.change_settings(s, n ? QStringLiteral("%1 threads").arg(n) : QStringLiteral("all threads"),
                               900);
    });
    connect(&bench, &Workbench::settings_changed, this,
            [this] { threads_->setValue(bench_.settings().threads); });
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
    };
    fill(float_, samples_.float_node_ms);
    fill(integer_, samples_.integer_node_ms);
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
