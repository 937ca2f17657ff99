// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/causes_view.h"

#include <QHeaderView>
#include <QVBoxLayout>
#include <algorithm>

#include "widgets/exporting.h"
#include "widgets/metrics.h"
#include "widgets/numbers.h"
#include "widgets/table_look.h"
#include "widgets/theme.h"

namespace {

enum Column { where_column, what_column, gain_column, sqnr_column, agree_column, columns };

}  // namespace

CausesView::CausesView(Workbench& bench, QWidget* parent)
    : View(QStringLiteral("Causes"), bench.selection(), parent),
      bench_(bench),
      table_(new QTableWidget(0, columns)),
      title_(new ElidedLabel),
      apply_(new QPushButton(QStringLiteral("Make the change"))) {
    const QString definition = metrics::define("causes");
    setToolTip(definition);
    title_->set_definition(definition);
    title_->setAccessibleName(QStringLiteral("What a change would bring most"));
    set_up_table();
    apply_->setAccessibleName(QStringLiteral("Make the selected change"));
    apply_->setToolTip(QStringLiteral("Makes the selected change; it can be undone"));
    QHBoxLayout* const bar = new_bar();
    bar->addWidget(title_, 1);
    bar->addWidget(apply_);
    lay_out(bar, table_);

    connect(&bench, &Workbench::causes_changed, this, &CausesView::touch);
    connect(&bench, &Workbench::causes_progress, this, [this](qint64 done, qint64 total) {
        title_->set_text(
            QStringLiteral("Measuring what each change would bring: %1 of %2 …").arg(done).arg(total));
    });
    connect(apply_, &QPushButton::clicked, this, [this] { apply(table_->currentRow()); });
    connect(table_, &QTableWidget::cellDoubleClicked, this, [this](int row) { apply(row); });
    connect(table_, &QTableWidget::currentCellChanged, this, &CausesView::select);
}

void CausesView::set_up_table() {
    const QString definition = metrics::define("causes");
    table_->setObjectName("causes_table");
    table_->setAccessibleName(QStringLiteral("Single changes, and what each would bring"));
    table_->setToolTip(definition + QStringLiteral(" A double click makes the change."));
    const struct {
        QString name, tip;
    } heads[columns] = {
        {"where",
         QStringLiteral("The whole network, a block, or one of the nodes with the most error of their own")},
        {"change", QStringLiteral("What would be otherwise; everything else stays as it is")},
        {"gain", QStringLiteral("SQNR of the logits with the change, minus that without. ") + definition},
        {"logits then", metrics::define("sqnr_logits")},
        {"top-1", metrics::define("agreement")}};
    table_look::apply(table_);
    table_->setSelectionMode(QAbstractItemView::SingleSelection);
    table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
    for (int c = 0; c < columns; ++c) {
        auto* head = new QTableWidgetItem(heads[c].name);
        head->setToolTip(heads[c].tip);
        head->setTextAlignment((c <= what_column ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
        table_->setHorizontalHeaderItem(c, head);
        table_->horizontalHeader()->setSectionResizeMode(
            c, c == what_column ? QHeaderView::Stretch : QHeaderView::ResizeToContents);
    }
    exporting::offer_csv(table_, QStringLiteral("causes"));
}

// The node that the change is made at, or the first of its block.
void CausesView::select(int row) {
    apply_->setEnabled(row >= 0);
    const ivit::Graph* g = shown().graph();
    if (!g || row < 0 || row >= std::ssize(rows_)) return;
    const std::string& where = rows_[static_cast<size_t>(row)]->where;
    for (size_t i = 0; !where.empty() && i < g->nodes.size(); ++i) {
        if (g->nodes[i].name == where || g->nodes[i].name.rfind(where + ".", 0) == 0)
            return selection().set_node(static_cast<int>(i));
    }
}

void CausesView::apply(int row) {
    if (row < 0 || row >= std::ssize(rows_)) return;
    const ivit::Change& c = *rows_[static_cast<size_t>(row)];
    ivit::QuantConfig config = bench_.settings().config;
    config.rules.insert(config.rules.end(), c.rules.begin(), c.rules.end());
    bench_.change_config(config, QString::fromStdString(c.where.empty() ? c.what : c.where + ": " + c.what));
}

void CausesView::refresh() {
    bench_.find_causes();
    if (bench_.causes() != shown_causes_ || !shown_causes_) {
        shown_causes_ = bench_.causes();
        fill();
    }
}

void CausesView::fill() {
    const QSignalBlocker quiet(table_);
    rows_.clear();
    if (shown_causes_) {
        for (const auto* list : {&shown_causes_->network, &shown_causes_->blocks, &shown_causes_->nodes}) {
            for (const ivit::Change& c : *list) rows_.push_back(&c);
        }
        std::stable_sort(rows_.begin(), rows_.end(), [](const ivit::Change* a, const ivit::Change* b) {
            return a->gain_db > b->gain_db;
        });
    }
    table_->setRowCount(static_cast<int>(rows_.size()));
    for (size_t i = 0; i < rows_.size(); ++i) {
        const ivit::Change& c = *rows_[i];
        const auto put = [&](int column, QTableWidgetItem* item) {
            table_->setItem(static_cast<int>(i), column, item);
        };
        put(where_column, table_look::text(c.where.empty() ? QStringLiteral("whole network")
                                                           : QString::fromStdString(c.where)));
        put(what_column, table_look::text(QString::fromStdString(c.what)));
        put(gain_column, table_look::number(numbers::decibel_change(c.gain_db), c.gain_db));
        put(sqnr_column, table_look::number(numbers::decibels(c.logits_sqnr_db), c.logits_sqnr_db));
        put(agree_column, table_look::number(c.agree > 0 ? QStringLiteral("✓") : QStringLiteral("≠")));
    }
    table_->setCurrentCell(-1, -1);
    apply_->setEnabled(false);
    title_->set_text(verdict());
}

QString CausesView::verdict() const {
    if (!shown_causes_) {
        if (!shown().graph())
            return shown().invitation(QStringLiteral("to see which change would help most."));
        const auto& current = shown().current;
        return current && !current->request->model
                   ? QStringLiteral("A quantized model without its float checkpoint cannot be changed.")
                   : QStringLiteral("Measuring what each change would bring …");
    }
    const QString logits = numbers::decibels(shown_causes_->logits_sqnr_db);
    if (rows_.empty() || rows_.front()->gain_db <= 0)
        return QStringLiteral("Logits at %1; no single change would help.").arg(logits);
    const ivit::Change& best = *rows_.front();
    return QStringLiteral("Logits at %1. Most would bring: %2%3, %4")
        .arg(logits,
             best.where.empty() ? QString() : QString::fromStdString(best.where) + QStringLiteral(" "),
             QString::fromStdString(best.what), numbers::decibel_change(best.gain_db));
}
