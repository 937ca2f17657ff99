// SPDX-License-Identifier: GPL-3.0-or-later
// Why? The bit-widths of the network, of any block or node, the operators and their parameters.
#pragma once
#include <QScrollArea>
#include <QTreeView>
#include <vector>

#include "widgets/models/quant_tree_model.h"
#include "widgets/workbench.h"

class OperatorControls;
class QComboBox;
class QPushButton;

class QuantizationView : public QWidget {
    Q_OBJECT
  public:
    explicit QuantizationView(Workbench& bench, QWidget* parent = nullptr);
    QuantTreeModel& model() { return model_; }
    QTreeView* tree() { return tree_; }
    QSize sizeHint() const override { return {300, 420}; }
    QSize minimumSizeHint() const override;  // so wide that nothing is cut off at the side
    // Ask for a file; what is wrong with one is said in the status line.
    void save_config();
    void load_config();
    bool load_config(const QString& file);  // false: it is no configuration, and nothing changes

  private:
    QLayout* make_widths();
    void set_up_preset();
    void set_up_clear();
    void set_up_tree();
    void scroll(QWidget* content);
    void follow_selection();
    void refresh();
    void show_preset(const ivit::QuantConfig& c);

    Workbench& bench_;
    QScrollArea* scroll_;
    QuantTreeModel model_;
    QTreeView* tree_;
    std::vector<QComboBox*> widths_;  // of the network: weights, activations, residual, logits
    QComboBox* preset_;
    QPushButton* clear_;
    std::vector<OperatorControls*> operators_;
};
