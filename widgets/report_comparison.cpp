// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/report_comparison.h"

#include <qcustomplot.h>

#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QPushButton>
#include <QScreen>
#include <QSettings>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QVBoxLayout>
#include <cmath>
#include <limits>
#include <map>

#include "engine/error.h"
#include "engine/report/report.h"
#include "engine/report/report_parts.h"
#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/plotting.h"
#include "widgets/table_look.h"
#include "widgets/theme.h"

namespace {

constexpr int sort_role = Qt::UserRole;
const char* const letters[] = {"a", "b"};

QString text(const std::string& s) { return QString::fromStdString(s); }

QStandardItem* cell(const QString& shown) {
    auto* item = new QStandardItem(shown);
    item->setEditable(false);
    item->setToolTip(QStringLiteral("<p>%1</p>").arg(shown.toHtmlEscaped()));
    item->setData(shown, sort_role);
    return item;
}

QStandardItem* cell(double value, const QString& shown) {
    QStandardItem* item = cell(std::isfinite(value) ? shown : QStringLiteral("—"));
    item->setData(std::isfinite(value) ? value : std::numeric_limits<double>::max(), sort_role);
    item->setData(value, exporting::csv_role);
    item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
    return item;
}

QTableView* table(QAbstractItemModel& model, const QString& name, const QString& tip) {
    auto* view = new QTableView;
    view->setModel(&model);
    view->setAccessibleName(name);
    view->setToolTip(tip);
    table_look::apply(view);
    view->horizontalHeader()->setStretchLastSection(true);
    exporting::offer_csv(view, QStringLiteral("comparison"));
    return view;
}

// Under each other by their points: one digit behind it, like the decibels themselves.
QString change_of(double db) {
    if (std::abs(db) < 5e-7) return numbers::change(0);
    return (db >= 0.05 ? QStringLiteral("+") : QString()) + numbers::fixed(db, 1);
}

using Rows = std::vector<std::pair<std::string, std::string>>;

// What came of one report's picture, then its latency and evaluation, then what it was made of and with.
Rows facts_of(const ivit::Json& report, const ivit::Json& image) {
    Rows rows = {{"Verdict", ivit::verdict(image)}};
    for (const char* kind : {"float", "integer"}) {
        int place = 0;
        for (const auto& p : image["predictions"][kind])
            rows.emplace_back(std::string(kind) + " " + std::to_string(++place),
                              p["label"].get<std::string>() + "  " +
                                  ivit::number(100 * ivit::real(p["probability"])) + " %");
    }
    if (const std::string why = ivit::why(report); !why.empty()) rows.emplace_back("Why", why);
    rows.emplace_back("Health", ivit::health(image));
    if (report.contains("latency")) rows.emplace_back("Latency", ivit::latency_sentence(report["latency"]));
    if (report.contains("evaluation")) {
        const ivit::TextTable t = ivit::evaluation_table(report["evaluation"]);
        rows.emplace_back("Evaluation", ivit::evaluation_sentence(report["evaluation"]));
        for (const auto& row : t.rows) {
            std::string all;
            for (size_t i = 1; i < row.size(); ++i)
                if (row[i] != "-") all += (all.empty() ? "" : ", ") + t.head[i] + " " + row[i];
            rows.emplace_back("Evaluation, " + row[0], all);
        }
    }
    for (auto& [key, value] : ivit::config_rows(report)) rows.emplace_back("config: " + key, value);
    rows.emplace_back("Picture", image["file"].get<std::string>());
    rows.emplace_back("Picture SHA-256", image["sha256"].get<std::string>());
    for (auto& fact : ivit::report_facts(report)) rows.push_back(std::move(fact));
    return rows;
}

}  // namespace

ReportComparison::ReportComparison(Workbench& bench, QWidget* parent)
    : QWidget(parent, Qt::Window), bench_(bench), problem_(new ElidedLabel), plot_(new QCustomPlot) {
    setObjectName("report_comparison");
    setWindowTitle(QStringLiteral("Two reports — I-ViT Explorer"));
    setAccessibleName(QStringLiteral("Two reports side by side"));
    setAttribute(Qt::WA_StyledBackground);
    make_facts();
    make_nodes();
    make_plot();
    problem_->setObjectName("comparison_problem");
    problem_->setAccessibleName(QStringLiteral("What went wrong"));
    problem_->hide();
    auto* right = new QSplitter(Qt::Vertical);
    right->addWidget(plot_);
    right->addWidget(nodes_view_);
    right->setSizes({300, 420});
    auto* split = new QSplitter;
    split->addWidget(facts_view_);
    split->addWidget(right);
    split->setSizes({560, 720});
    auto* top = new QGridLayout;
    top->setContentsMargins(8, 6, 8, 2);
    top->setColumnStretch(2, 1);
    for (int side = 0; side < 2; ++side) add_side(top, side);
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addLayout(top);
    layout->addWidget(problem_);
    layout->addWidget(split, 1);
    resize(QSize(1280, 760).boundedTo(screen()->availableSize() * 0.9));
    connect(&Theme::instance(), &Theme::changed, this, &ReportComparison::refresh);
    refresh();
}

// A row on top: what takes a report as this side, and which of its pictures is compared.
void ReportComparison::add_side(QGridLayout* top, int side) {
    Side& s = sides_[static_cast<size_t>(side)];
    const QString letter = QString::fromLatin1(letters[side]);
    auto* file = new QPushButton(QStringLiteral("Open %1 …").arg(letter));
    file->setObjectName("open_" + letter);
    file->setToolTip(QStringLiteral("A report's JSON form"));
    auto* current = new QPushButton(QStringLiteral("What is shown"));
    current->setObjectName("current_" + letter);
    current->setAccessibleName(QStringLiteral("What the window shows, as %1").arg(letter));
    current->setToolTip(QStringLiteral("Takes what the window shows now as %1").arg(letter));
    s.name = new ElidedLabel(Qt::ElideMiddle);
    s.name->setAccessibleName(QStringLiteral("Report %1").arg(letter));
    s.name->set_text(
        QStringLiteral("%1: nothing yet — open a report (JSON), or take what the window shows").arg(letter));
    s.picture = new QComboBox;
    s.picture->setAccessibleName(QStringLiteral("Picture of report %1").arg(letter));
    s.picture->setToolTip(QStringLiteral("Which of the report's pictures"));
    s.picture->setMinimumContentsLength(16);
    s.picture->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    top->addWidget(file, side, 0);
    top->addWidget(current, side, 1);
    top->addWidget(s.name, side, 2);
    top->addWidget(s.picture, side, 3);
    connect(file, &QPushButton::clicked, this, [this, side] { choose(side); });
    connect(current, &QPushButton::clicked, this, [this, side] { take_current(side); });
    connect(s.picture, &QComboBox::activated, this, &ReportComparison::refresh);
}

void ReportComparison::make_facts() {
    facts_view_ =
        table(facts_, QStringLiteral("Configuration, predictions and evaluation of both"),
              QStringLiteral("What each was made of and with, and what came of it; bold where they differ"));
    facts_view_->setObjectName("comparison_facts");
    facts_view_->setWordWrap(true);  // verdicts and reasons are sentences, whole at every width
    facts_view_->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOn);
    connect(facts_view_->horizontalHeader(), &QHeaderView::sectionResized, this, &ReportComparison::fit_rows);
}

// As high as their sentences are, and a little air between one and the next.
void ReportComparison::fit_rows() {
    facts_view_->resizeRowsToContents();
    for (int row = 0; row < facts_.rowCount(); ++row)
        facts_view_->setRowHeight(row, facts_view_->rowHeight(row) + 6);
}

void ReportComparison::make_nodes() {
    auto* sorted = new QSortFilterProxyModel(this);
    sorted->setSourceModel(&nodes_);
    sorted->setSortRole(sort_role);
    nodes_view_ = table(
        *sorted, QStringLiteral("SQNR of every node in both"),
        QStringLiteral("SQNR in dB of every node in both, and b minus a; a click on a column's head sorts"));
    nodes_view_->setObjectName("comparison_nodes");
    nodes_view_->setSortingEnabled(true);
}

void ReportComparison::make_plot() {
    plot_->setObjectName("comparison_plot");
    plot_->setAccessibleName(QStringLiteral("SQNR along depth of both"));
    plot_->setToolTip(QStringLiteral("SQNR along depth, in dB: cumulative as lines, isolated as dots"));
    plot_->setMinimumHeight(160);
    exporting::offer_image(plot_, QStringLiteral("comparison"));
    plot_->axisRect()->setupFullAxesBox();
    plot_->xAxis->setLabel(QStringLiteral("node, in execution order"));
    plot_->yAxis->setLabel(QStringLiteral("SQNR [dB]"));
    const char* names[] = {"a, cumulative", "b, cumulative", "a, isolated", "b, isolated"};
    for (size_t i = 0; i < graphs_.size(); ++i) {
        graphs_[i] = plot_->addGraph();
        graphs_[i]->setName(QString::fromLatin1(names[i]));
        // What each node adds by itself jumps up and down; dots can be told apart, lines cannot.
        if (i >= 2) graphs_[i]->setLineStyle(QCPGraph::lsNone);
    }
    plotting::put_legend_above(plot_);
}

void ReportComparison::choose(int side) {
    const QString file = QFileDialog::getOpenFileName(
        this, QStringLiteral("Open report"), QSettings().value("export/folder", QDir::homePath()).toString(),
        QStringLiteral("Reports (*.json);;All files (*)"));
    if (!file.isEmpty()) open(side, file);
}

bool ReportComparison::open(int side, const QString& file) {
    try {
        auto report = std::make_shared<const ivit::Json>(ivit::read_report(file.toStdString()));
        QSettings().setValue("export/folder", QFileInfo(file).absolutePath());
        set(side, std::move(report), QFileInfo(file).fileName());
        return true;
    } catch (const ivit::Error& e) {
        problem_->set_text(text(e.what()));
        problem_->show();
        return false;
    }
}

void ReportComparison::take_current(int side) {
    bench_.make_report(
        [guard = QPointer<ReportComparison>(this), side](Report report, const QString& problem) {
            if (!guard) return;
            if (report) return guard->set(side, std::move(report), QStringLiteral("what the window showed"));
            guard->problem_->set_text(problem);
            guard->problem_->show();
        });
}

void ReportComparison::set(int side, Report report, const QString& name) {
    Side& s = sides_[static_cast<size_t>(side)];
    s.report = std::move(report);
    const ivit::Json& r = *s.report;
    s.name->set_text(QStringLiteral("%1: %2 · %3 · %4")
                         .arg(QString::fromLatin1(letters[side]), name,
                              text(r["model"]["name"].get<std::string>()),
                              text(r["quant"].get<std::string>())));
    s.picture->clear();
    for (const auto& image : r["images"])
        s.picture->addItem(QFileInfo(text(image["file"].get<std::string>())).fileName());
    // The same picture on both sides, where there is one.
    const Side& other = sides_[static_cast<size_t>(1 - side)];
    if (other.report) {
        const auto& sha = (*image(1 - side))["sha256"];
        for (int i = 0; i < s.picture->count(); ++i)
            if (r["images"][static_cast<size_t>(i)]["sha256"] == sha) {
                s.picture->setCurrentIndex(i);
                break;
            }
    }
    problem_->hide();
    refresh();
    emit changed();
}

const ivit::Json* ReportComparison::image(int side) const {
    const Side& s = sides_[static_cast<size_t>(side)];
    return s.report ? &(*s.report)["images"][static_cast<size_t>(std::max(0, s.picture->currentIndex()))]
                    : nullptr;
}

void ReportComparison::refresh() {
    refresh_facts();
    refresh_nodes();
    style();
}

void ReportComparison::refresh_facts() {
    facts_.clear();
    facts_.setHorizontalHeaderLabels({QString(), QStringLiteral("a"), QStringLiteral("b")});
    std::array<Rows, 2> rows;
    for (int side = 0; side < 2; ++side)
        if (image(side)) rows[static_cast<size_t>(side)] = facts_of(*report(side), *image(side));
    // Rows of both in the order of a, each of b's own after the one it follows there.
    Rows keys = rows[0];
    size_t after = 0;
    const auto find = [](const Rows& in, const std::string& key) {
        return std::find_if(in.begin(), in.end(), [&](const auto& r) { return r.first == key; });
    };
    for (const auto& row : rows[1]) {
        const auto at = find(keys, row.first);
        if (at == keys.end())
            keys.insert(keys.begin() + static_cast<std::ptrdiff_t>(after++), row);
        else
            after = static_cast<size_t>(at - keys.begin()) + 1;
    }
    for (const auto& [key, unused] : keys) {
        const auto a = find(rows[0], key), b = find(rows[1], key);
        const QString x = a == rows[0].end() ? QStringLiteral("—") : text(a->second);
        const QString y = b == rows[1].end() ? QStringLiteral("—") : text(b->second);
        QList<QStandardItem*> line = {cell(text(key)), cell(x), cell(y)};
        if (report(0) && report(1) && x != y)
            for (QStandardItem* item : line) {
                QFont bold = item->font();
                bold.setBold(true);
                item->setFont(bold);
            }
        facts_.appendRow(line);
    }
    facts_view_->setColumnWidth(0, 130);
    facts_view_->setColumnWidth(1, 210);
    fit_rows();
}

void ReportComparison::name_node_columns() {
    const struct {
        const char *name, *tip;
        bool number = true;
    } heads[] = {{"#", "Place in execution order"},
                 {"node", "Node, by timm's names", false},
                 {"operator", "Operator", false},
                 {"a", "Cumulative SQNR in dB, report a"},
                 {"b", "Cumulative SQNR in dB, report b"},
                 {"change", "b minus a, in dB"},
                 {"isolated a", "Isolated SQNR in dB, report a"},
                 {"isolated b", "Isolated SQNR in dB, report b"},
                 {"change", "b minus a, in dB"}};
    for (const auto& h : heads) {
        auto* head = new QStandardItem(QString::fromLatin1(h.name));
        head->setToolTip(QString::fromLatin1(h.tip));
        head->setTextAlignment((h.number ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
        nodes_.setHorizontalHeaderItem(nodes_.columnCount(), head);
    }
}

void ReportComparison::refresh_nodes() {
    const int sorted_by = nodes_view_->horizontalHeader()->sortIndicatorSection();
    const Qt::SortOrder order = nodes_view_->horizontalHeader()->sortIndicatorOrder();
    const bool first = nodes_.columnCount() == 0;
    nodes_.clear();
    name_node_columns();
    for (QCPGraph* g : graphs_) g->data()->clear();

    std::array<std::vector<ivit::LayerRow>, 2> rows;
    for (int side = 0; side < 2; ++side)
        if (image(side)) rows[static_cast<size_t>(side)] = ivit::layer_rows(*image(side));
    // By name, so that models of different depth line up; a's order, then what only b has.
    std::vector<std::string> names;
    std::array<std::map<std::string, const ivit::LayerRow*>, 2> by_name;
    for (size_t side = 0; side < 2; ++side)
        for (const auto& r : rows[side]) {
            if (by_name[0].count(r.name) == 0 || side == 0) names.push_back(r.name);
            by_name[side][r.name] = &r;
            graphs_[side]->addData(r.place, r.cumulative_db);
            graphs_[side + 2]->addData(r.place, r.isolated_db);
        }
    for (size_t place = 0; place < names.size(); ++place) {
        std::array<const ivit::LayerRow*, 2> r{};
        for (size_t side = 0; side < 2; ++side)
            if (const auto hit = by_name[side].find(names[place]); hit != by_name[side].end())
                r[side] = hit->second;
        QList<QStandardItem*> line = {cell(static_cast<double>(place), QString::number(place)),
                                      cell(text(names[place])), cell(text((r[0] ? r[0] : r[1])->op))};
        for (const auto member : {&ivit::LayerRow::cumulative_db, &ivit::LayerRow::isolated_db}) {
            const double a = r[0] ? r[0]->*member : NAN, b = r[1] ? r[1]->*member : NAN;
            line << cell(a, numbers::fixed(a, 1)) << cell(b, numbers::fixed(b, 1))
                 << cell(b - a, change_of(b - a));
        }
        nodes_.appendRow(line);
    }
    const int widths[] = {34, 146, 90, 50, 50, 76, 76, 76};
    for (int c = 0; c < 8; ++c) nodes_view_->setColumnWidth(c, widths[c]);
    // What lost most comes first.
    nodes_view_->sortByColumn(first ? 5 : sorted_by, first ? Qt::AscendingOrder : order);
}

void ReportComparison::style() {
    const Theme& theme = Theme::instance();
    plotting::style(plot_);
    const QColor colours[] = {theme.float_colour(), theme.integer_colour()};
    for (size_t i = 0; i < graphs_.size(); ++i) {
        graphs_[i]->setPen(plotting::pen(colours[i % 2], 1.8));
        if (i >= 2)
            graphs_[i]->setScatterStyle(
                QCPScatterStyle(QCPScatterStyle::ssDisc, colours[i % 2], colours[i % 2], 3));
    }
    plot_->rescaleAxes();
    plot_->yAxis->setRange(0, std::max(20.0, plot_->yAxis->range().upper * 1.04));
    QPalette warning = problem_->palette();
    warning.setColor(QPalette::WindowText, theme.warning());
    problem_->setPalette(warning);
    plot_->replot();
}
