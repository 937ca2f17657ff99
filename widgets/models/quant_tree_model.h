// SPDX-License-Identifier: GPL-3.0-or-later
// Bit-widths and modes by block and node, as a tree that can be edited. An edit asks for a new configuration;
// the model changes when that comes back through set_state(), so that undo and redo show here too.
#pragma once
#include <QAbstractItemModel>
#include <memory>
#include <vector>

#include "engine/quant_config.h"

class QuantTreeModel : public QAbstractItemModel {
    Q_OBJECT
  public:
    enum Column { name_column, weight_column, activation_column, mode_column, column_count };
    // choices_role: QStringList for the editor, "inherit" first where there is an override to take back.
    enum Role { choices_role = Qt::UserRole, overridden_role, glob_role };

    explicit QuantTreeModel(QObject* parent = nullptr) : QAbstractItemModel(parent) {}

    // read_only: a quantized model, whose widths are what they are.
    void set_state(std::shared_ptr<const ivit::Graph> graph, const ivit::QuantConfig& config, bool read_only);

    QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
    QModelIndex parent(const QModelIndex& child) const override;
    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    bool setData(const QModelIndex& index, const QVariant& value, int role) override;
    Qt::ItemFlags flags(const QModelIndex& index) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

    QModelIndex index_of_node(int node) const;
    int node_of(const QModelIndex& index) const;  // -1: a block's row

  signals:
    void config_wanted(const ivit::QuantConfig& config, const QString& what);

  private:
    struct Row {        // top level: a block, or a node outside of all blocks
        int node = -1;  // -1: a block
        int block = -1;
        std::vector<int> nodes;  // of the block
    };
    std::string glob(const QModelIndex& index) const;
    bool has_weights(int node) const;
    bool has_width(int node) const;  // its output's width can be chosen
    bool can_be_exact(int node) const;
    bool applies(const QModelIndex& index) const;
    bool overridden(const QModelIndex& index) const;
    QString text(const QModelIndex& index) const;
    QStringList choices(const QModelIndex& index) const;

    std::shared_ptr<const ivit::Graph> graph_;
    ivit::QuantConfig config_;
    std::vector<ivit::NodeQuant> resolved_;
    std::vector<Row> rows_;
    bool read_only_ = false;
};
