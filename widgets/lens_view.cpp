// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/lens_view.h"

#include <qcustomplot.h>

#include <QGuiApplication>
#include <QHeaderView>
#include <QSplitter>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/table_look.h"
#include "widgets/theme.h"

namespace {

enum Column {
    block_column,
    float_column,
    float_p,
    integer_column,
    integer_p,
    kl_column,
    agree_column,
    columns
};

QString label_of(const std::vector<std::string>& labels, int k) {
    const size_t i = static_cast<size_t>(k);
    return i < labels.size() ? QString::fromStdString(labels[i]).section(QLatin1Char(','), 0, 0)
                             : QStringLiteral("class %1").arg(k);
}

}  // namespace

LensView::LensView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Logit lens"), selection, parent),
      plot_(new QCustomPlot),
      table_(new QTableWidget(0, columns)),
      title_(new ElidedLabel) {
    const QString definition = metrics::define("logit_lens");
    setToolTip(definition);
    title_->set_definition(definition);
    title_->setAccessibleName(QStringLiteral("From which block on both networks agree"));
    set_up_plot();
    set_up_table();
    QHBoxLayout* const bar = new_bar();
    bar->addWidget(title_, 1);
    auto* splitter = new QSplitter;
    splitter->addWidget(plot_);
    splitter->addWidget(table_);
    splitter->setSizes({380, 500});
    lay_out(bar, splitter);
}

void LensView::set_up_plot() {
    plot_->setObjectName("lens_plot");
    plot_->setAccessibleName(QStringLiteral("Probability of the final answer after every block"));
    plot_->setToolTip(QStringLiteral("<p>%1</p>").arg(metrics::define("logit_lens").toHtmlEscaped()));
    plot_->setMinimumSize(200, 110);
    exporting::offer_image(plot_, QStringLiteral("logit_lens"));
    exporting::offer_plot_csv(plot_, QStringLiteral("logit_lens"));
    float_ = plot_->addGraph();
    integer_ = plot_->addGraph();
    float_->setName(QStringLiteral("float"));
    integer_->setName(QStringLiteral("integer"));
    plot_->xAxis->setLabel(QStringLiteral("after block"));
    plot_->legend->setVisible(true);
    plot_->axisRect()->insetLayout()->setInsetAlignment(0, Qt::AlignTop | Qt::AlignLeft);
    connect(plot_, &QCustomPlot::mousePress, this, [this](QMouseEvent* e) {
        if (e->button() != Qt::LeftButton || blocks_.empty()) return;
        const auto i = std::clamp<std::ptrdiff_t>(std::lround(plot_->xAxis->pixelToCoord(e->position().x())),
                                                  0, std::ssize(blocks_) - 1);
        this->selection().set_node(blocks_[static_cast<size_t>(i)].node);
    });
}

void LensView::set_up_table() {
    table_->setObjectName("lens_table");
    table_->setAccessibleName(QStringLiteral("What both networks would answer after every block"));
    table_->setToolTip(metrics::define("logit_lens"));
    table_->setMinimumWidth(310);  // labels want room, the plot can do with little
    const struct {
        const char *name, *definition;
        Qt::AlignmentFlag side;
        QHeaderView::ResizeMode width;
    } heads[columns] = {{"block", "logit_lens", Qt::AlignRight, QHeaderView::ResizeToContents},
                        {"float", "logit_lens", Qt::AlignLeft, QHeaderView::Stretch},
                        {"p", "probability", Qt::AlignRight, QHeaderView::ResizeToContents},
                        {"integer", "logit_lens", Qt::AlignLeft, QHeaderView::Stretch},
                        {"p", "probability", Qt::AlignRight, QHeaderView::ResizeToContents},
                        {"KL [nat]", "kl_logits", Qt::AlignRight, QHeaderView::ResizeToContents},
                        {"", "agreement", Qt::AlignRight, QHeaderView::ResizeToContents}};
    table_look::apply(table_);
    table_->setSelectionMode(QAbstractItemView::SingleSelection);
    table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
    table_->horizontalHeader()->setMinimumSectionSize(20);
    for (int c = 0; c < columns; ++c) {
        auto* head = new QTableWidgetItem(heads[c].name);
        head->setToolTip(metrics::define(heads[c].definition));
        head->setTextAlignment(heads[c].side | Qt::AlignVCenter);
        table_->setHorizontalHeaderItem(c, head);
        table_->horizontalHeader()->setSectionResizeMode(c, heads[c].width);
    }
    exporting::offer_csv(table_, QStringLiteral("logit_lens"));
    connect(table_, &QTableWidget::currentCellChanged, this, [this](int row) {
        if (row >= 0 && row < std::ssize(blocks_) && row != selected_block())
            this->selection().set_node(blocks_[static_cast<size_t>(row)].node);
    });
}

QWidget* LensView::canvas() { return plot_; }

int LensView::selected_block() const {
    const ivit::Node* n = node();
    for (size_t i = 0; n && i < blocks_.size(); ++i) {
        if (blocks_[i].block == n->block) return static_cast<int>(i);
    }
    return -1;
}

void LensView::refresh() {
    const ivit::Comparison* c = shown().comparison();
    const bool both = c && c->integer_trace && c->float_trace && shown().current->request->model;
    if (!both || of_ != c->integer_trace) {
        blocks_.clear();
        of_ = both ? c->integer_trace : nullptr;
        std::vector<std::string> labels;
        if (both) {
            const ivit::Model& model = *shown().current->request->model;
            blocks_ = logit_lens(model, *c->float_trace, *c->integer_trace);
            labels = model.info.labels;
        }
        fill_table(labels);
    }
    title_->set_text(verdict(both));
    draw();
}

// both: both networks were run on the picture shown.
QString LensView::verdict(bool both) const {
    if (blocks_.empty())
        return !shown().graph() ? shown().invitation(QStringLiteral("to see its answer take shape."))
               : both           ? QStringLiteral("This network has no class token to read block by block.")
                                : QStringLiteral(
                                      "A quantized model without its float checkpoint has no float answers "
                                                "to be held against.");
    // The last block after which they differ; the end is what counts.
    const auto last = std::find_if(blocks_.rbegin(), blocks_.rend(),
                                   [](const LensBlock& b) { return b.float_class != b.integer_class; });
    if (last == blocks_.rend()) return QStringLiteral("After every block both networks would say the same");
    if (last == blocks_.rbegin())
        return QStringLiteral("After the last block they differ: the integers' answer is another one");
    return QStringLiteral("From block %1 on both networks say the same").arg(last->block + 1);
}

void LensView::fill_table(const std::vector<std::string>& labels) {
    const QSignalBlocker quiet(table_);
    table_->setRowCount(static_cast<int>(blocks_.size()));
    for (size_t i = 0; i < blocks_.size(); ++i) {
        const LensBlock& b = blocks_[i];
        const auto put = [&](int column, QTableWidgetItem* item) {
            table_->setItem(static_cast<int>(i), column, item);
        };
        const bool agree = b.float_class == b.integer_class;
        put(block_column, table_look::number(QString::number(b.block)));
        put(float_column, table_look::text(label_of(labels, b.float_class)));
        put(float_p, table_look::number(numbers::probability(b.float_top), b.float_top));
        put(integer_column, table_look::text(label_of(labels, b.integer_class)));
        put(integer_p, table_look::number(numbers::probability(b.integer_top), b.integer_top));
        put(kl_column, table_look::number(numbers::fixed(b.kl, 6), b.kl));
        put(agree_column, table_look::text(agree ? QStringLiteral("✓") : QStringLiteral("≠")));
        if (!agree)
            table_->item(static_cast<int>(i), agree_column)->setForeground(Theme::instance().warning());
    }
}

void LensView::draw() {
    const Theme& theme = Theme::instance();
    plotting::style(plot_);
    const auto fill = [this](QCPGraph* graph, const QColor& colour, QCPScatterStyle::ScatterShape shape,
                             double LensBlock::*field) {
        QVector<double> x, y;
        for (size_t i = 0; i < blocks_.size(); ++i) {
            x << static_cast<double>(i);
            y << blocks_[i].*field;
        }
        graph->setData(x, y, true);
        graph->setPen(plotting::pen(colour, 2));
        graph->setScatterStyle(QCPScatterStyle(shape, colour, 6));
    };
    fill(float_, theme.float_colour(), QCPScatterStyle::ssSquare, &LensBlock::float_answer);
    fill(integer_, theme.integer_colour(), QCPScatterStyle::ssDisc, &LensBlock::integer_answer);
    auto ticks = QSharedPointer<QCPAxisTickerText>::create();
    constexpr size_t labels = 12;  // that stand apart in a narrow plot
    for (size_t i = 0; i < blocks_.size(); i += (blocks_.size() + labels - 1) / labels)
        ticks->addTick(static_cast<double>(i), QString::number(blocks_[i].block));
    plot_->xAxis->setTicker(ticks);
    plot_->xAxis->setRange(-0.5, std::max(1.0, static_cast<double>(blocks_.size())) - 0.5);
    double most = 0;
    for (const LensBlock& b : blocks_) most = std::max({most, b.float_answer, b.integer_answer});
    plot_->yAxis->setRange(0, most > 0 ? most * 1.15 : 1);
    QString what = QStringLiteral("probability");
    if (!blocks_.empty() && table_->rowCount() > 0 && of_) {
        const int answer = ivit::top_k(*shown().comparison()->float_trace, 0, 1).front();
        what += QStringLiteral(" of ") + label_of(shown().current->request->model->info.labels, answer);
    }
    plot_->yAxis->setLabel(what);
    plot_->clearItems();
    const int at = selected_block();
    if (at >= 0) {
        plotting::vertical(plot_, at, QPen(QGuiApplication::palette().color(QPalette::Highlight), 1.4));
        const QSignalBlocker quiet(table_);
        table_->setCurrentCell(at, block_column);
    } else {
        const QSignalBlocker quiet(table_);
        table_->setCurrentCell(-1, -1);
    }
    plot_->replot(QCustomPlot::rpQueuedReplot);
}
