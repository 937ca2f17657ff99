// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/models/node_table_model.h"

#include <algorithm>
#include <cmath>

#include "widgets/colormap.h"
#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/theme.h"

using metrics::Id;

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
    const ivit::Node& node = shown_.graph()->nodes[static_cast<size_t>(row)];
    if (role == Qt::TextAlignmentRole) {
        const bool text = column == name_column || column == op_column || column == shape_column;
        return static_cast<int>((text ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    }
    if (column < first_metric_column) {
        const ivit::QuantizedModel* model = shown_.current ? shown_.current->comparison.model.get() : nullptr;
        const ivit::NodeQuant* q = model ? &model->nodes[static_cast<size_t>(row)]->quant : nullptr;
        const bool display = role == Qt::DisplayRole,
                   number = role == sort_role || role == exporting::csv_role;
        switch (column) {
            case index_column:
                if (display || number) return row;
                break;
            case name_column:
                if (display || role == sort_role || role == Qt::ToolTipRole)
                    return QString::fromStdString(node.name);
                break;
            case op_column:
                if (display || role == sort_role) return QString(ivit::to_string(node.op));
                break;
            case shape_column: {
                QStringList sides;
                for (const int64_t n : node.shape) sides << QString::number(n);
                if (display) return sides.join(QStringLiteral(" × "));
                if (role == sort_role) return static_cast<qlonglong>(ivit::elements(node.shape));
                break;
            }
            case bits_column: {
                if (!q) return {};
                if (role == sort_role) return q->out_bits;
                if (!display && role != Qt::ToolTipRole) break;
                const bool weights = ivit::has_weights(node.op);
                const QString mode = q->mode == ivit::Mode::integer ? QString()
                                     : q->mode == ivit::Mode::exact ? QStringLiteral(" exact")
                                                                    : QStringLiteral(" float");
                const QString text = (weights ? QStringLiteral("W%1 ").arg(q->weight_bits) : QString()) +
                                     QStringLiteral("A%1").arg(q->out_bits) + mode;
                if (display) return text;
                return QStringLiteral("%1%2-bit integers out%3")
                    .arg(weights ? QStringLiteral("%1-bit weights, ").arg(q->weight_bits) : QString())
                    .arg(q->out_bits)
                    .arg(mode.isEmpty() ? QString() : QStringLiteral(", operator:") + mode);
            }
        }
        return {};
    }
    const Id id = metrics::all()[static_cast<size_t>(column - first_metric_column)].id;
    const std::optional<double> v = value(row, id);
    switch (role) {
        case Qt::DisplayRole:
            return v ? metrics::text(id, *v) : QStringLiteral("—");
        case sort_role:
        case exporting::csv_role:
            return v ? QVariant(*v) : QVariant();
        case Qt::ToolTipRole: {
            const std::optional<double> before = value(row, id, true);
            QString text = metrics::metric(id).name + QStringLiteral(": ") +
                           (v ? metrics::text(id, *v) : QStringLiteral("—"));
            if (v && before) {
                text += QStringLiteral("  (%1 %2)")
                            .arg(shown_.ghost_pinned ? QStringLiteral("pinned") : QStringLiteral("before"),
                                 metrics::text(id, *before));
            }
            return text;
        }
        case Qt::BackgroundRole:
            if (id == colour_by_) {
                if (const QColor c = colour(row); c.isValid()) return c;
            }
            return {};
        case Qt::ForegroundRole:
            if (id == colour_by_) {
                if (const QColor c = colour(row); c.isValid()) return readable_on(c);
            }
            return {};
        case colour_role:
            return colour(row);
        default:
            return {};
    }
}

QVariant NodeTableModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal) return {};
    if (role == Qt::TextAlignmentRole) {
        const bool text = section == name_column || section == op_column || section == shape_column;
        return static_cast<int>((text ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    }
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
