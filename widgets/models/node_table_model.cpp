// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/models/node_table_model.h"

#include <algorithm>
#include <cmath>

#include "widgets/colormap.h"
#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

using metrics::Id;

namespace {

// Words begin at the left, numbers end at the right.
int alignment(int column) {
    const bool text = column == NodeTableModel::name_column || column == NodeTableModel::op_column ||
                      column == NodeTableModel::shape_column;
    return static_cast<int>((text ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
}

}  // namespace

int NodeTableModel::rowCount(const QModelIndex& parent) const {
    const ivit::Graph* g = shown_.graph();
    return parent.isValid() || !g ? 0 : static_cast<int>(g->nodes.size());
}

int NodeTableModel::columnCount(const QModelIndex& parent) const {
    return parent.isValid() ? 0 : first_metric_column + static_cast<int>(metrics::all().size());
}

std::optional<double> NodeTableModel::value(int row, Id id, bool ghost) const {
    const auto at = [row](const std::vector<double>& v) {
        return static_cast<size_t>(row) < v.size() && !std::isnan(v[static_cast<size_t>(row)])
                   ? std::optional(v[static_cast<size_t>(row)])
                   : std::nullopt;
    };
    if (id == Id::integer_ms) return ghost ? std::nullopt : at(latency_.integer_node_ms);
    if (id == Id::float_ms) return ghost ? std::nullopt : at(latency_.float_node_ms);
    const ivit::Comparison* c = ghost ? shown_.ghost_comparison() : shown_.comparison();
    return metrics::value(id, Shown::cumulative(c, row), Shown::isolated(c, row));
}

QVariant NodeTableModel::data(const QModelIndex& index, int role) const {
    if (!index.isValid() || index.row() >= rowCount()) return {};
    const int row = index.row(), column = index.column();
    if (role == Qt::TextAlignmentRole) return alignment(column);
    if (column >= first_metric_column)
        return metric(row, metrics::all()[static_cast<size_t>(column - first_metric_column)].id, role);
    const ivit::Node& node = shown_.graph()->nodes[static_cast<size_t>(row)];
    const bool display = role == Qt::DisplayRole;
    switch (column) {
        case index_column:
            return display || role == sort_role || role == exporting::csv_role ? row : QVariant();
        case name_column:
            return display || role == sort_role || role == Qt::ToolTipRole ? QString::fromStdString(node.name)
                                                                           : QVariant();
        case op_column:
            return display || role == sort_role ? QString(ivit::to_string(node.op)) : QVariant();
        case shape_column: {
            if (role == sort_role) return static_cast<qlonglong>(ivit::elements(node.shape));
            QStringList sides;
            for (const int64_t n : node.shape) sides << QString::number(n);
            return display ? sides.join(QStringLiteral(" × ")) : QVariant();
        }
        default:
            return bits(row, role);
    }
}

QVariant NodeTableModel::bits(int row, int role) const {
    const ivit::QuantizedModel* model = shown_.current ? shown_.current->comparison.model.get() : nullptr;
    if (!model) return {};
    const ivit::NodeQuant& q = model->nodes[static_cast<size_t>(row)]->quant;
    const bool weights = ivit::has_weights(shown_.graph()->nodes[static_cast<size_t>(row)].op);
    const QString mode = q.mode == ivit::Mode::integer ? QString() : QString(ivit::to_string(q.mode));
    switch (role) {
        case sort_role:
            return q.out_bits;
        case Qt::DisplayRole:
            return (weights ? QStringLiteral("W%1 ").arg(q.weight_bits) : QString()) +
                   QStringLiteral("A%1").arg(q.out_bits) +
                   (mode.isEmpty() ? mode : QStringLiteral(" ") + mode);
        case Qt::ToolTipRole:
            return QStringLiteral("%1%2-bit integers out%3")
                .arg(weights ? QStringLiteral("%1-bit weights, ").arg(q.weight_bits) : QString())
                .arg(q.out_bits)
                .arg(mode.isEmpty() ? mode : QStringLiteral(", operator: ") + mode);
        default:
            return {};
    }
}

QVariant NodeTableModel::metric(int row, Id id, int role) const {
    const std::optional<double> v = value(row, id);
    const QString text = v ? metrics::text(id, *v) : QStringLiteral("—");
    switch (role) {
        case Qt::DisplayRole:
            return text;
        case sort_role:
        case exporting::csv_role:
            return v ? QVariant(*v) : QVariant();
        case Qt::ToolTipRole: {
            const QString now = metrics::metric(id).name + QStringLiteral(": ") + text;
            const std::optional<double> before = value(row, id, true);
            if (!v || !before) return now;
            return now + QStringLiteral("  (%1 %2)")
                             .arg(shown_.ghost_pinned ? QStringLiteral("pinned") : QStringLiteral("before"),
                                  metrics::text(id, *before));
        }
        case colour_role:
            return colour(row);
        case Qt::BackgroundRole:
        case Qt::ForegroundRole: {
            const QColor c = id == colour_by_ ? colour(row) : QColor();
            if (!c.isValid()) return {};
            return role == Qt::BackgroundRole ? c : readable_on(c);
        }
        default:
            return {};
    }
}

QVariant NodeTableModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal) return {};
    if (role == Qt::TextAlignmentRole) return alignment(section);
    static const QString names[] = {"#", "node", "operator", "output", "bits"};
    static const QString tips[] = {"Place in execution order", "Name as timm gives it",
                                   "Operator (engine/ops.h)", "Shape of the output, without the batch",
                                   "Bits of the weights (W) and of the integers put out (A)"};
    if (section < 0 || section >= columnCount()) return {};
    if (section < first_metric_column) {
        if (role == Qt::DisplayRole) return names[section];
        if (role == Qt::ToolTipRole) return tips[section];
        return {};
    }
    const metrics::Metric& m = metrics::all()[static_cast<size_t>(section - first_metric_column)];
    if (role == Qt::DisplayRole) return m.name;
    if (role == Qt::ToolTipRole) return QStringLiteral("<p>%1</p>").arg(m.definition.toHtmlEscaped());
    return {};
}

void NodeTableModel::set_results(const Shown& shown) {
    const bool same_rows = shown.graph() == shown_.graph() && shown.graph();
    if (!same_rows) beginResetModel();
    shown_ = shown;
    rebuild_range();
    if (!same_rows) {
        endResetModel();
    } else if (rowCount() > 0) {
        emit dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
    }
}

void NodeTableModel::set_latency(const LatencySamples& samples) {
    latency_ = samples;
    rebuild_range();
    if (rowCount() > 0)
        emit dataChanged(index(0, column_of(Id::integer_ms)), index(rowCount() - 1, columnCount() - 1));
}

void NodeTableModel::set_colour_by(Id id) {
    colour_by_ = id;
    rebuild_range();
    if (rowCount() > 0) emit dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
}

void NodeTableModel::rebuild_range() {
    low_ = INFINITY;
    high_ = -INFINITY;
    const bool log = metrics::metric(colour_by_).logarithmic;
    for (int r = 0; r < rowCount(); ++r) {
        std::optional<double> v = value(r, colour_by_);
        if (!v || (log && *v <= 0)) continue;
        const double x = log ? std::log10(*v) : *v;
        if (colour_by_ == Id::sqnr_cumulative || colour_by_ == Id::sqnr_isolated) {
            if (x >= ivit::sqnr_cap) continue;
        }
        low_ = std::min(low_, x);
        high_ = std::max(high_, x);
    }
}

QColor NodeTableModel::colour(int row) const {
    const metrics::Metric& m = metrics::metric(colour_by_);
    const std::optional<double> v = value(row, colour_by_);
    if (!v || !(high_ > low_)) return {};
    const double x = m.logarithmic ? std::log10(std::max(*v, 1e-300)) : *v;
    double t = std::clamp((x - low_) / (high_ - low_), 0.0, 1.0);
    if (m.higher_is_better) t = 1 - t;
    // Worse is stronger: from the page's own colour towards orange, so that the eye finds the worst first.
    const Theme& theme = Theme::instance();
    const QColor from = QGuiApplication::palette().color(QPalette::Base), to = theme.integer_colour();
    const double mix = 0.06 + 0.74 * t;
    return QColor::fromRgbF(static_cast<float>(from.redF() + (to.redF() - from.redF()) * mix),
                            static_cast<float>(from.greenF() + (to.greenF() - from.greenF()) * mix),
                            static_cast<float>(from.blueF() + (to.blueF() - from.blueF()) * mix));
}

bool NodeSortModel::lessThan(const QModelIndex& a, const QModelIndex& b) const {
    const QVariant x = a.data(NodeTableModel::sort_role), y = b.data(NodeTableModel::sort_role);
    // Unknown goes last whichever way the arrow points.
    if (!x.isValid() || !y.isValid()) {
        if (x.isValid() == y.isValid()) return a.row() < b.row();
        return x.isValid() == (sortOrder() == Qt::AscendingOrder);
    }
    if (x.typeId() == QMetaType::QString) return QString::compare(x.toString(), y.toString()) < 0;
    const double u = x.toDouble(), v = y.toDouble();
    return u == v ? (sortOrder() == Qt::AscendingOrder) == (a.row() < b.row()) : u < v;
}
