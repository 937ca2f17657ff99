// SPDX-License-Identifier: GPL-3.0-or-later
// What is open: architecture, size in FP32 and at the present bit-widths, calibration.
#pragma once
#include <QComboBox>
#include <QFormLayout>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>

#include "widgets/workbench.h"

class ModelCard : public QWidget {
    Q_OBJECT
  public:
    explicit ModelCard(Workbench& bench, QWidget* parent = nullptr);
    QSize sizeHint() const override { return {300, 300}; }
    QString text() const;  // all of it, for the clipboard and for tests
    void choose_calibration_folder();
    void save_quantized();

  private:
    QLabel* add(const QString& name, const QString& definition);
    void fill_form();
    void add_method();
    QLayout* make_progress();
    QLayout* make_buttons();
    void refresh();
    void show_network(const ivit::Graph& g, const ivit::ModelInfo& info);
    QString calibration(const ivit::QuantizedModel* quantized) const;
    void show_file(const ivit::ModelInfo& info);

    Workbench& bench_;
    QFormLayout* form_;
    QLabel *name_, *architecture_, *parameters_, *size_, *calibration_, *input_, *file_, *notes_;
    QPushButton *calibrate_, *save_, *cancel_;
    QProgressBar* progress_;
    QComboBox* method_;
};
