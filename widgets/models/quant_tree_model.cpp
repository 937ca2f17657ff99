// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/models/quant_tree_model.h"

#include <QBrush>
#include <QFont>
#include <QStringList>

#include "engine/error.h"
#include "widgets/config_edit.h"
#include "widgets/metrics.h"
#include "widgets/theme.h"

using ivit::Mode;
using ivit::Op;

namespace {

// Children carry their parent's row + 1; top-level rows carry 0.
quintptr tag_of_parent(int row) { return static_cast<quintptr>(row) + 1; }

QString mode_name(Mode m) { return QString(ivit::to_string(m)); }

}  // namespace

void QuantTreeModel::set_state(std::shared_ptr<const ivit::Graph> graph, const ivit::QuantConfig& config,
                               bool read_only) {
    std::vector<ivit::NodeQuant> resolved;
    if (graph) {
        try {
            resolved = ivit::resolve(config, *graph);
        } catch (const ivit::Error&) {
            return;  // the workbench has refused it already and said so
        }
    }
    const bool same_rows = graph == graph_;
    if (!same_rows) beginResetModel();
    graph_ = std::move(graph);
    config_ = config;
    resolved_ = std::move(resolved);
    read_only_ = read_only;
    if (!same_rows) {
        rows_.clear();
        for (int i = 0; graph_ && i < static_cast<int>(graph_->nodes.size()); ++i) {
            const int block = graph_->nodes[static_cast<size_t>(i)].block;
            if (block < 0) {
                rows_.push_back({i, -1, {}});
                continue;
            }
            if (rows_.empty() || rows_.back().block != block) rows_.push_back({-1, block, {}});
            rows_.back().nodes.push_back(i);
        }
        endResetModel();
        return;
    }
    const int top = static_cast<int>(rows_.size());
    if (top == 0) return;
    emit dataChanged(index(0, 0), index(top - 1, column_count - 1));
    for (int r = 0; r < top; ++r) {
        const QModelIndex here = index(r, 0);
        if (const int n = rowCount(here))
            emit dataChanged(index(0, 0, here), index(n - 1, column_count - 1, here));
    }
}

QModelIndex QuantTreeModel::index(int row, int column, const QModelIndex& parent) const {
    if (!hasIndex(row, column, parent)) return {};
    return createIndex(row, column, parent.isValid() ? tag_of_parent(parent.row()) : 0);
}

QModelIndex QuantTreeModel::parent(const QModelIndex& child) const {
    if (!child.isValid() || child.internalId() == 0) return {};
    return createIndex(static_cast<int>(child.internalId() - 1), 0, quintptr{0});
}

int QuantTreeModel::rowCount(const QModelIndex& parent) const {
    if (!parent.isValid()) return static_cast<int>(rows_.size());
    if (parent.internalId() != 0 || parent.column() != 0) return 0;
    return static_cast<int>(rows_[static_cast<size_t>(parent.row())].nodes.size());
}

int QuantTreeModel::columnCount(const QModelIndex&) const { return column_count; }

int QuantTreeModel::node_of(const QModelIndex& index) const {
    if (!index.isValid()) return -1;
    if (index.internalId() == 0) return rows_[static_cast<size_t>(index.row())].node;
    return rows_[index.internalId() - 1].nodes[static_cast<size_t>(index.row())];
}

QModelIndex QuantTreeModel::index_of_node(int node) const {
    for (size_t r = 0; r < rows_.size(); ++r) {
        if (rows_[r].node == node && node >= 0) return index(static_cast<int>(r), 0);
        for (size_t i = 0; i < rows_[r].nodes.size(); ++i) {
            if (rows_[r].nodes[i] == node)
                return index(static_cast<int>(i), 0, index(static_cast<int>(r), 0));
        }
    }
    return {};
}

std::string QuantTreeModel::glob(const QModelIndex& index) const {
    const int node = node_of(index);
    if (node >= 0) return graph_->nodes[static_cast<size_t>(node)].name;
    return config_edit::block_glob(rows_[static_cast<size_t>(index.row())].block);
}

bool QuantTreeModel::has_weights(int node) const {
    return ivit::has_weights(graph_->nodes[static_cast<size_t>(node)].op);
}

bool QuantTreeModel::has_width(int node) const {
    // A head's logits and an accumulator that only a residual_add reads are 32 bits; the residual stream has
    // a width of its own for the whole network.
    const ivit::Node& n = graph_->nodes[static_cast<size_t>(node)];
    const bool residual = n.op == Op::residual_add || n.op == Op::pos_embed || n.op == Op::patch_embed;
    return !n.to_residual && !residual && n.op != Op::head;
}

bool QuantTreeModel::can_be_exact(int node) const {
    const Op op = graph_->nodes[static_cast<size_t>(node)].op;
    return op == Op::softmax || op == Op::gelu || op == Op::layernorm;
}

bool QuantTreeModel::applies(const QModelIndex& index) const {
    const int node = node_of(index);
    if (node < 0) return true;
    if (index.column() == weight_column) return has_weights(node);
    if (index.column() == activation_column) return has_width(node);
    return true;
}

QVariant QuantTreeModel::data(const QModelIndex& index, int role) const {
    if (!index.isValid() || !graph_) return {};
    const int column = index.column();
    switch (role) {
        case Qt::DisplayRole:
        case Qt::EditRole:
            return text(index);
        case choices_role:
            return choices(index);
        case overridden_role:
            return overridden(index);
        case glob_role:
            return QString::fromStdString(glob(index));
        case Qt::FontRole: {
            QFont bold;
            bold.setBold(true);
            return overridden(index) ? bold : QVariant();
        }
        case Qt::ForegroundRole:
            return overridden(index) && column != name_column ? QBrush(Theme::instance().integer_colour())
                                                              : QVariant();
        case Qt::TextAlignmentRole:
            return static_cast<int>((column == name_column ? Qt::AlignLeft : Qt::AlignHCenter) |
                                    Qt::AlignVCenter);
        case Qt::ToolTipRole:
            if (column == weight_column && applies(index)) return metrics::define("weight");
            if (column == activation_column && applies(index)) return metrics::define("activation");
            if (column == mode_column) return metrics::define("mode");
            return QString::fromStdString(glob(index));
        default:
            return {};
    }
}

// A rule of its own says what stands in this cell; in the first column: there is one at all.
bool QuantTreeModel::overridden(const QModelIndex& index) const {
    const ivit::QuantRule* rule = config_edit::find(config_, glob(index));
    if (!rule) return false;
    switch (index.column()) {
        case weight_column:
            return rule->bits.weight.has_value();
        case activation_column:
            return rule->bits.activation.has_value();
        case mode_column:
            return rule->mode.has_value();
        default:
            return true;
    }
}

QString QuantTreeModel::text(const QModelIndex& index) const {
    const int node = node_of(index);
    const bool name = index.column() == name_column;
    if (name && node >= 0) {
        const QString full = QString::fromStdString(graph_->nodes[static_cast<size_t>(node)].name);
        return index.internalId() ? full.section(QLatin1Char('.'), 2) : full;
    }
    if (name) return QStringLiteral("blocks.%1").arg(rows_[static_cast<size_t>(index.row())].block);
    if (!applies(index)) return {};
    const std::vector<int> nodes =
        node >= 0 ? std::vector<int>{node} : rows_[static_cast<size_t>(index.row())].nodes;
    // A block's cell shows what all its nodes have in common, or "mixed".
    QString common;
    for (const int i : nodes) {
        const ivit::NodeQuant& q = resolved_[static_cast<size_t>(i)];
        QString own;
        if (index.column() == mode_column) {
            own = mode_name(q.mode);
        } else if (index.column() == weight_column) {
            if (!has_weights(i)) continue;
            own = QString::number(q.weight_bits);
        } else {
            // A block's activation width leaves its softmax alone (QuantConfig).
            const bool softmax = graph_->nodes[static_cast<size_t>(i)].op == Op::softmax;
            if (!has_width(i) || (node < 0 && softmax)) continue;
            own = QString::number(q.out_bits);
        }
        if (!common.isEmpty() && common != own) return QStringLiteral("mixed");
        common = own;
    }
    return common;
}

QStringList QuantTreeModel::choices(const QModelIndex& index) const {
    const int node = node_of(index);
    QStringList choices;
    if (overridden(index)) choices << QStringLiteral("inherit");
    if (index.column() == weight_column) {
        for (int b = 8; b >= 2; --b) choices << QString::number(b);
    } else if (index.column() == activation_column) {
        const Op op = node >= 0 ? graph_->nodes[static_cast<size_t>(node)].op : Op::linear;
        for (int b = op == Op::softmax || op == Op::attn_logits ? 16 : 8; b >= 4; --b)
            choices << QString::number(b);
    } else if (index.column() == mode_column) {
        choices << mode_name(Mode::integer);
        if (node < 0 || can_be_exact(node)) choices << mode_name(Mode::exact);
        choices << mode_name(Mode::float_ops);
    }
    return choices;
}

bool QuantTreeModel::setData(const QModelIndex& index, const QVariant& value, int role) {
    if (!index.isValid() || role != Qt::EditRole || !(flags(index) & Qt::ItemIsEditable)) return false;
    const QString text = value.toString();
    const bool inherit = text == QStringLiteral("inherit");
    if (!inherit && !data(index, choices_role).toStringList().contains(text)) return false;
    ivit::QuantConfig wanted = config_;
    config_edit::edit_rule(wanted, glob(index), [&](ivit::QuantRule& r) {
        if (index.column() == mode_column) {
            r.mode = inherit                           ? std::nullopt
                     : text == QStringLiteral("exact") ? std::optional(Mode::exact)
                     : text == QStringLiteral("float") ? std::optional(Mode::float_ops)
                                                       : std::optional(Mode::integer);
        } else {
            auto& bits = index.column() == weight_column ? r.bits.weight : r.bits.activation;
            bits = inherit ? std::nullopt : std::optional(text.toInt());
        }
    });
    const char* column = index.column() == weight_column       ? "weights"
                         : index.column() == activation_column ? "output"
                                                               : "mode";
    emit config_wanted(wanted,
                       QStringLiteral("%1: %2 %3").arg(QString::fromStdString(glob(index)), column, text));
    return true;
}

Qt::ItemFlags QuantTreeModel::flags(const QModelIndex& index) const {
    if (!index.isValid()) return Qt::NoItemFlags;
    Qt::ItemFlags f = Qt::ItemIsEnabled | Qt::ItemIsSelectable;
    if (index.column() != name_column && !read_only_ && applies(index)) f |= Qt::ItemIsEditable;
    if (index.internalId() != 0) f |= Qt::ItemNeverHasChildren;
    return f;
}

QVariant QuantTreeModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal || section < 0 || section >= column_count) return {};
    if (role == Qt::DisplayRole) return QStringList({"node", "W", "A", "operator"})[section];
    if (role == Qt::TextAlignmentRole && section != name_column) return static_cast<int>(Qt::AlignCenter);
    if (role == Qt::ToolTipRole) {
        return QStringList({"Blocks and nodes; bold where they differ from what is above them",
                            metrics::define("weight"), metrics::define("activation"),
                            metrics::define("mode")})[section];
    }
    return {};
}
