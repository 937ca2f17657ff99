// SPDX-License-Identifier: GPL-3.0-or-later
// One operator of the network in the quantization panel: its mode, and its parameters where it has some.
#pragma once
#include <QWidget>
#include <functional>
#include <vector>

#include "engine/quant_config.h"

class QComboBox;
class QGridLayout;
class QLabel;
class QSlider;
class QToolButton;
class Workbench;

class OperatorControls : public QWidget {
    Q_OBJECT
  public:
    struct Operator {
        ivit::Op op;
        ivit::ShiftParams ivit::QuantConfig::*params;  // null: it has none
        const char* name;                              // "Shiftmax"
        const char* key;  // what its controls' names and its parameters' definitions begin with: "shiftmax"
    };
    OperatorControls(Workbench& bench, const Operator& of, QWidget* parent = nullptr);
    void refresh(bool editable);  // shows the workbench's settings

  private:
    struct Parameter {
        QSlider* slider;
        QLabel* value;
        int ivit::ShiftParams::*field;
    };
    QComboBox* make_mode();
    QWidget* make_details();
    void add_parameters(QGridLayout* grid);
    void add_pivot(QGridLayout* grid);
    void change(const QString& what, const std::function<void(ivit::ShiftParams&)>& edit, int merge = -1);

    Workbench& bench_;
    const Operator of_;
    QComboBox* mode_;
    QComboBox* pivot_ = nullptr;  // of ShiftGELU alone
    QWidget* details_ = nullptr;  // what the arrow shows and hides
    std::vector<Parameter> parameters_;
};
