// SPDX-License-Identifier: GPL-3.0-or-later
// Why? The bit-widths of the network, of any block or node, the operators and their parameters.
#pragma once
#include <QComboBox>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QSlider>
#include <QTreeView>

#include "widgets/models/quant_tree_model.h"
#include "widgets/workbench.h"

class QuantizationView : public QWidget {
    Q_OBJECT
  public:
    explicit QuantizationView(Workbench& bench, QWidget* parent = nullptr);
    QuantTreeModel& model() { return model_; }
    QTreeView* tree() { return tree_; }
    QSize sizeHint() const override { return {300, 420}; }
    QSize minimumSizeHint() const override;  // so wide that nothing is cut off at the side
    void save_config();
    void load_config();
    bool load_config(const QString& file);

  private:
    // One operator: its mode, and sliders where it has parameters.
    struct Slider {
        QSlider* slider;
        QLabel* value;
        int ivit::ShiftParams::*field;
        const char* name;
    };
    struct Operator {
        ivit::Op op;
        ivit::ShiftParams ivit::QuantConfig::*params;  // null for I-LayerNorm
        QString name;
        QComboBox* mode = nullptr;
        QComboBox* pivot = nullptr;
        std::vector<Slider> sliders;
        QWidget* details = nullptr;
    };
    QWidget* make_operator(Operator& o, const char* key);
    void refresh();

    Workbench& bench_;
    QScrollArea* scroll_;
    QuantTreeModel model_;
    QTreeView* tree_;
    QComboBox *weights_, *activations_, *residual_, *logits_, *preset_;
    QPushButton* clear_;
    std::vector<Operator> operators_;
    bool refreshing_ = false;
};
