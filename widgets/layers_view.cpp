// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/layers_view.h"

#include <QGuiApplication>
#include <QHeaderView>
#include <QPushButton>
#include <QResizeEvent>
#include <QSplitter>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/table_look.h"
#include "widgets/theme.h"

using metrics::Id;

LayersView::LayersView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Layers"), selection, parent),
      table_(new QTableView),
      plot_(new QCustomPlot),
      colour_by_(new QComboBox) {
    set_up_table();
    set_up_plot();
    auto* right = new QWidget;
    auto* right_layout = new QVBoxLayout(right);
    right_layout->setContentsMargins(0, 0, 0, 0);
    right_layout->setSpacing(0);
    right_layout->addLayout(make_bar());
    right_layout->addWidget(table_);
    auto* splitter = new QSplitter;
    splitter->addWidget(plot_);
    splitter->addWidget(right);
    splitter->setStretchFactor(0, 1);
    splitter->setStretchFactor(1, 2);
    splitter->setSizes({360, 540});
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(splitter);
}

void LayersView::set_up_table() {
    sorted_.setSourceModel(&model_);
    table_->setModel(&sorted_);
    table_->setObjectName("layers");
    table_->setAccessibleName(QStringLiteral("Layers, one row per node"));
    table_->setToolTip(QStringLiteral(
        "One row per node, in execution order or worst first; the headers define the metrics"));
    table_->setSortingEnabled(true);
    table_->sortByColumn(-1, Qt::AscendingOrder);
    table_look::apply(table_);
    set_column_widths();
    // The answer before its details: what was measured right after the name, in the order it is asked for.
    QHeaderView* header = table_->horizontalHeader();
    header->setSectionsMovable(true);
    int place = NodeTableModel::name_column;
    for (const Id id : {Id::sqnr_cumulative, Id::sqnr_isolated, Id::cosine, Id::mse, Id::saturation,
                        Id::integer_ms, Id::float_ms})
        header->moveSection(header->visualIndex(NodeTableModel::column_of(id)), ++place);
    exporting::offer_csv(table_, QStringLiteral("layers"));
    connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
            [this](const QModelIndex& now) {
                if (now.isValid()) this->selection().set_node(sorted_.mapToSource(now).row());
            });
}

// As narrow as the header and the longest number let it be: the more of them are seen at once.
void LayersView::set_column_widths() {
    const int widths[] = {34, 156, 96, 96, 72};
    for (int c = 0; c < NodeTableModel::first_metric_column; ++c) table_->setColumnWidth(c, widths[c]);
    const QFontMetrics font(table_->horizontalHeader()->font());
    for (const metrics::Metric& m : metrics::all()) {
        const bool tiny = m.id == Id::mse || m.id == Id::max_abs_error || m.id == Id::row_sum,
                   time = m.id == Id::integer_ms || m.id == Id::float_ms;
        const QString longest = tiny   ? QStringLiteral("0.000000")
                                : time ? QStringLiteral("0.00000 ms")
                                       : QStringLiteral("0.00000");
        const int c = NodeTableModel::column_of(m.id);
        const QString header = model_.headerData(c, Qt::Horizontal).toString();
        table_->setColumnWidth(
            c, std::max(font.horizontalAdvance(header), font.horizontalAdvance(longest)) + 12);
    }
}

void LayersView::set_up_plot() {
    plot_->setObjectName("sqnr_plot");
    plot_->setAccessibleName(QStringLiteral("SQNR along depth"));
    plot_->setMinimumSize(160, 120);  // its legend breaks into lines where it must
    plot_->installEventFilter(this);
    plot_->setToolTip(QStringLiteral("<p>%1</p><p>%2</p><p>Click a point to select its node.</p>")
                          .arg(metrics::metric(Id::sqnr_cumulative).definition.toHtmlEscaped(),
                               metrics::metric(Id::sqnr_isolated).definition.toHtmlEscaped()));
    isolated_ = plot_->addGraph();
    isolated_->setLineStyle(QCPGraph::lsNone);  // every node for itself; a line would hide the other two
    ghost_ = plot_->addGraph();
    cumulative_ = plot_->addGraph();
    ghost_->setName(QStringLiteral("before"));
    isolated_->setName(QStringLiteral("isolated"));
    cumulative_->setName(QStringLiteral("cumulative"));
    marker_ = plotting::vertical(plot_, 0, QPen());
    readout_ = new QCPItemText(plot_);
    readout_->setPositionAlignment(Qt::AlignLeft | Qt::AlignTop);
    readout_->position->setType(QCPItemPosition::ptAxisRectRatio);
    readout_->position->setCoords(0.01, 0.02);
    readout_->setTextAlignment(Qt::AlignLeft);
    readout_->setPadding(QMargins(5, 2, 5, 2));
    plot_->xAxis->setLabel(QStringLiteral("node, in execution order"));
    plot_->yAxis->setLabel(QStringLiteral("SQNR [dB]"));
    plotting::put_legend_above(plot_);
    exporting::offer_image(plot_, QStringLiteral("sqnr"));
    exporting::offer_plot_csv(plot_, QStringLiteral("sqnr"));
    connect(plot_, &QCustomPlot::mousePress, this, [this](QMouseEvent* e) {
        if (e->button() != Qt::LeftButton || model_.rowCount() == 0) return;
        this->selection().set_node(node_at(e->position()));
    });
}

// What the table is coloured and sorted by.
QLayout* LayersView::make_bar() {
    for (const metrics::Metric& m : metrics::all()) {
        const QString name = m.id == Id::sqnr_isolated ? QStringLiteral("SQNR isolated") : m.name;
        colour_by_->addItem(name, static_cast<int>(m.id));
        colour_by_->setItemData(colour_by_->count() - 1, m.definition, Qt::ToolTipRole);
    }
    colour_by_->setMinimumContentsLength(7);
    colour_by_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    colour_by_->setAccessibleName(QStringLiteral("Colour the rows by"));
    colour_by_->setToolTip(QStringLiteral("Which metric's column is coloured: the stronger, the worse"));
    auto* label = new QLabel(QStringLiteral("Colour by"));
    label->setBuddy(colour_by_);
    auto* worst = new QPushButton(QStringLiteral("Worst first"));
    worst->setToolTip(QStringLiteral("Sort by the coloured metric, worst first"));
    worst->setAccessibleName(worst->text());
    auto* order = new QPushButton(QStringLiteral("In order"));
    order->setToolTip(QStringLiteral("Back to the order in which the network runs"));
    order->setAccessibleName(QStringLiteral("Execution order"));
    QHBoxLayout* const bar = new_bar();
    for (QWidget* w : std::initializer_list<QWidget*>{label, colour_by_, worst, order}) bar->addWidget(w);
    bar->addStretch();
    connect(colour_by_, &QComboBox::currentIndexChanged, this,
            [this] { model_.set_colour_by(static_cast<Id>(colour_by_->currentData().toInt())); });
    connect(worst, &QPushButton::clicked, this, &LayersView::sort_worst_first);
    connect(order, &QPushButton::clicked, this, &LayersView::sort_by_execution);
    return bar;
}

QWidget* LayersView::canvas() { return plot_; }

bool LayersView::eventFilter(QObject* watched, QEvent* e) {
    if (watched == plot_ && e->type() == QEvent::Resize) {
        const int width = static_cast<QResizeEvent*>(e)->size().width();
        plot_->legend->setWrap(width < 215 ? 1 : width < 340 ? 2 : 0);
        plot_->legend->setFillOrder(QCPLegend::foColumnsFirst, true);  // those that are there as well
        refresh_plot();
    }
    return View::eventFilter(watched, e);
}

void LayersView::sort_worst_first() {
    const Id id = static_cast<Id>(colour_by_->currentData().toInt());
    table_->sortByColumn(NodeTableModel::column_of(id),
                         metrics::metric(id).higher_is_better ? Qt::AscendingOrder : Qt::DescendingOrder);
    table_->scrollToTop();
}

void LayersView::sort_by_execution() { table_->sortByColumn(-1, Qt::AscendingOrder); }

void LayersView::step(int by) {
    if (model_.rowCount() == 0) return;
    const int row = sorted_.mapFromSource(model_.index(selection().node(), 0)).row();
    const int next = std::clamp(row + by, 0, sorted_.rowCount() - 1);
    selection().set_node(sorted_.mapToSource(sorted_.index(next, 0)).row());
}

void LayersView::refresh() {
    model_.set_results(shown());
    select_row();
    refresh_plot();
}

void LayersView::select_row() {
    const QModelIndex index = sorted_.mapFromSource(model_.index(selection().node(), 0));
    if (!index.isValid() || table_->currentIndex().row() == index.row()) return;
    table_->setCurrentIndex(index.siblingAtColumn(NodeTableModel::name_column));
    // Once the rows have been laid out: right after a reset there is nothing yet to scroll to.
    QMetaObject::invokeMethod(
        table_, [this] { table_->scrollTo(table_->currentIndex()); }, Qt::QueuedConnection);
}

// The node whose point is nearest where points are as dense as pixels; else the nearest along depth.
int LayersView::node_at(const QPointF& p) const {
    constexpr double reach = 6;
    double least = INFINITY;
    int nearest = std::clamp(static_cast<int>(std::lround(plot_->xAxis->pixelToCoord(p.x()))), 0,
                             model_.rowCount() - 1);
    for (const QCPGraph* graph : {cumulative_, isolated_}) {
        for (const QCPGraphData& d : *graph->data()) {
            const double dx = plot_->xAxis->coordToPixel(d.key) - p.x(),
                         dy = plot_->yAxis->coordToPixel(d.value) - p.y();
            if (std::abs(dx) > reach || std::abs(dy) > reach || dx * dx + dy * dy >= least) continue;
            least = dx * dx + dy * dy;
            nearest = static_cast<int>(d.key);
        }
    }
    return nearest;
}

void LayersView::refresh_plot() {
    const Theme& theme = Theme::instance();
    plotting::style(plot_);
    cumulative_->setPen(plotting::pen(theme.integer_colour(), 2));
    cumulative_->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssDisc, theme.integer_colour(), 4));
    isolated_->setPen(plotting::pen(theme.isolated_colour(), 1.2));
    isolated_->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssSquare, theme.isolated_colour(), 4));
    ghost_->setPen(plotting::pen(theme.ghost_colour(), 1.8, Qt::DashLine));
    ghost_->setName(shown().ghost_pinned ? QStringLiteral("pinned") : QStringLiteral("before"));
    fill_curves();
    plot_->xAxis->setRange(-0.5, std::max(1, model_.rowCount()) - 0.5);
    if (const ivit::Graph* graph = shown().graph())
        plotting::tick_blocks(plot_, *graph);
    else
        plot_->xAxis->setTicker(QSharedPointer<QCPAxisTickerText>::create());
    mark_node();
    plot_->replot(QCustomPlot::rpQueuedReplot);
}

void LayersView::fill_curves() {
    double low = INFINITY, high = -INFINITY;
    const auto fill = [&](QCPGraph* graph, const std::vector<ivit::NodeError>* errors) {
        QVector<double> x, y;
        for (size_t i = 0; errors && i < errors->size(); ++i) {
            const double db = (*errors)[i].sqnr_db;
            if (db >= ivit::sqnr_cap) continue;  // exact: nothing to draw, and 150 would squash the rest
            x << static_cast<double>(i);
            y << db;
            low = std::min(low, db);
            high = std::max(high, db);
        }
        graph->setData(x, y, true);
        graph->setVisible(!x.isEmpty());
    };
    const ivit::Comparison* c = shown().comparison();
    const ivit::Comparison* g = shown().ghost_comparison();
    fill(cumulative_, c ? &c->cumulative : nullptr);
    fill(isolated_, c ? &c->isolated : nullptr);
    fill(ghost_, g ? &g->cumulative : nullptr);
    plotting::list_in_legend(plot_, {cumulative_, ghost_, isolated_});
    if (low < high) {
        const double room = std::max(2.0, (high - low) * 0.08);
        plot_->yAxis->setRange(std::min(low - room, std::max(0.0, low - room)), high + room * 3);
    } else {
        plot_->yAxis->setRange(0, 50);
    }
}

// The selected node's line and its numbers; else why there are none.
void LayersView::mark_node() {
    const QPalette palette = QGuiApplication::palette();
    const int at = selection().node(), n = model_.rowCount();
    const bool mark = at >= 0 && at < n;
    const ivit::Comparison* c = shown().comparison();
    const bool alone = c && c->cumulative.empty();
    marker_->setVisible(mark);
    if (mark) {
        marker_->setPen(QPen(palette.color(QPalette::Highlight), 1.4));
        marker_->start->setCoords(at, 0);
        marker_->end->setCoords(at, 1);
    }
    readout_->setVisible(mark || n == 0);
    readout_->setFont(Theme::instance().figures(11));
    readout_->setColor(n == 0 || alone ? Theme::instance().muted() : palette.color(QPalette::Text));
    QColor back = palette.color(QPalette::Base);
    back.setAlpha(215);
    readout_->setBrush(back);
    if (alone)
        readout_->setText(QStringLiteral(
            "A quantized model without its float\ncheckpoint has nothing to be\ncompared with."));
    else if (n == 0)
        readout_->setText(QStringLiteral("Nothing has been run yet."));
    else if (mark)
        readout_->setText(numbers_of(at));
}

// Its name, its cumulative SQNR and what that was before; on two lines where the plot is narrow.
QString LayersView::numbers_of(int node) const {
    const QString name = QString::fromStdString(shown().graph()->nodes[static_cast<size_t>(node)].name);
    const std::optional<double> now = model_.value(node, Id::sqnr_cumulative),
                                before = model_.value(node, Id::sqnr_cumulative, true);
    QString text;
    if (now) text += numbers::decibels(*now);
    if (now && before) text += QStringLiteral("  ") + numbers::change(*now - *before, QStringLiteral("dB"));
    const QString line = name + QStringLiteral("  ") + text;
    const QFontMetrics font(readout_->font());
    const int room = plot_->width() - 80;
    return font.horizontalAdvance(line) < room
               ? line
               : font.elidedText(name, Qt::ElideLeft, room) + QStringLiteral("\n") + text;
}
