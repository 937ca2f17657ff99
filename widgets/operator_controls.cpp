// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/operator_controls.h"

#include <QComboBox>
#include <QGridLayout>
#include <QLabel>
#include <QSignalBlocker>
#include <QSlider>
#include <QToolButton>

#include "widgets/config_edit.h"
#include "widgets/metrics.h"
#include "widgets/workbench.h"

OperatorControls::OperatorControls(Workbench& bench, const Operator& of, QWidget* parent)
    : QWidget(parent), bench_(bench), of_(of), mode_(make_mode()) {
    auto* more = new QToolButton;
    more->setObjectName(QStringLiteral("more_%1").arg(of_.key));
    more->setAccessibleName(QStringLiteral("Parameters of %1").arg(of_.name));
    more->setAutoRaise(true);
    more->setCheckable(true);
    auto* label = new QLabel(of_.name);
    label->setBuddy(mode_);
    auto* row = new QHBoxLayout;
    row->addWidget(more);
    row->addWidget(label);
    row->addStretch();
    row->addWidget(mode_);
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(2);
    column->addLayout(row);
    if (!of_.params) {
        // The button stays, so that the names are in line.
        more->setArrowType(Qt::NoArrow);
        more->setEnabled(false);
        more->setToolTip(
            QStringLiteral("%1 has no parameters: its integer square root is exact").arg(of_.name));
        return;
    }
    more->setArrowType(Qt::RightArrow);
    more->setToolTip(QStringLiteral("Show the parameters of %1").arg(of_.name));
    details_ = make_details();
    details_->hide();
    column->addWidget(details_);
    connect(more, &QToolButton::toggled, details_, [this, more](bool on) {
        more->setArrowType(on ? Qt::DownArrow : Qt::RightArrow);
        details_->setVisible(on);
    });
}

QComboBox* OperatorControls::make_mode() {
    auto* box = new QComboBox;
    for (const ivit::Mode m : {ivit::Mode::integer, ivit::Mode::exact, ivit::Mode::float_ops})
        box->addItem(QString(ivit::to_string(m)), static_cast<int>(m));
    box->setAccessibleName(QStringLiteral("%1: integer, exact or float").arg(of_.name));
    box->setToolTip(metrics::define("mode"));
    connect(box, &QComboBox::activated, this, [this, box] {
        const ivit::Graph* g = bench_.graph();
        if (!g) return;
        ivit::QuantConfig c = bench_.settings().config;
        config_edit::set_operator_mode(c, *g, of_.op, static_cast<ivit::Mode>(box->currentData().toInt()));
        bench_.change_config(c, QStringLiteral("%1 %2").arg(of_.name, box->currentText()));
    });
    return box;
}

QWidget* OperatorControls::make_details() {
    auto* details = new QWidget;
    auto* grid = new QGridLayout(details);
    grid->setContentsMargins(22, 0, 0, 4);
    grid->setVerticalSpacing(1);
    add_parameters(grid);
    if (of_.op == ivit::Op::gelu) add_pivot(grid);
    return details;
}

void OperatorControls::add_parameters(QGridLayout* grid) {
    // As far as engine/arithmetic.md lets each go.
    const struct {
        const char* name;
        int ivit::ShiftParams::*field;
        int low, high;
    } ranges[] = {{"n", &ivit::ShiftParams::n, 1, 30},
                  {"k", &ivit::ShiftParams::k, 4, 16},
                  {"M", &ivit::ShiftParams::M, 16, 62},
                  {"t", &ivit::ShiftParams::t, 0, 8}};
    for (const auto& r : ranges) {
        auto* slider = new QSlider(Qt::Horizontal);
        slider->setRange(r.low, r.high);
        slider->setPageStep(1);
        slider->setObjectName(QStringLiteral("%1_%2").arg(of_.key, r.name));
        slider->setAccessibleName(QStringLiteral("%1 %2").arg(of_.name, r.name));
        slider->setToolTip(
            metrics::define(QStringLiteral("%1.%2").arg(of_.key, r.name).toUtf8().constData()));
        auto* symbol = new QLabel(r.name);
        symbol->setToolTip(slider->toolTip());
        symbol->setBuddy(slider);
        auto* value = new QLabel;
        value->setMinimumWidth(value->fontMetrics().horizontalAdvance("00") + 2);
        value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
        const int line = static_cast<int>(parameters_.size());
        grid->addWidget(symbol, line, 0);
        grid->addWidget(slider, line, 1);
        grid->addWidget(value, line, 2);
        parameters_.push_back({slider, value, r.field});
        // A drag is one step of undo, from where it began to where it ended: one number for each slider.
        const int merge = static_cast<int>(of_.op) * static_cast<int>(std::size(ranges)) + line;
        connect(slider, &QSlider::valueChanged, this, [this, r, merge](int v) {
            change(
                QStringLiteral("%1 %2 = %3").arg(of_.name, r.name).arg(v),
                [&](ivit::ShiftParams& p) { p.*r.field = v; }, merge);
        });
    }
}

void OperatorControls::add_pivot(QGridLayout* grid) {
    pivot_ = new QComboBox;
    pivot_->addItem(QStringLiteral("zero"), false);
    pivot_->addItem(QStringLiteral("row"), true);
    pivot_->setToolTip(metrics::define("shiftgelu.pivot"));
    pivot_->setAccessibleName(QStringLiteral("ShiftGELU pivot"));
    auto* symbol = new QLabel(QStringLiteral("pivot"));
    symbol->setBuddy(pivot_);
    auto* cell = new QHBoxLayout;
    cell->addWidget(symbol);
    cell->addWidget(pivot_);
    cell->addStretch();
    grid->addLayout(cell, grid->rowCount(), 0, 1, 3);
    connect(pivot_, &QComboBox::activated, this, [this] {
        change(QStringLiteral("%1 pivot %2").arg(of_.name, pivot_->currentText()),
               [this](ivit::ShiftParams& p) { p.row_pivot = pivot_->currentData().toBool(); });
    });
}

void OperatorControls::change(const QString& what, const std::function<void(ivit::ShiftParams&)>& edit,
                              int merge) {
    ivit::QuantConfig c = bench_.settings().config;
    edit(c.*of_.params);
    bench_.change_config(c, what, merge);
}

void OperatorControls::refresh(bool editable) {
    const ivit::QuantConfig& c = bench_.settings().config;
    if (const ivit::Graph* g = bench_.graph())
        mode_->setCurrentIndex(mode_->findData(static_cast<int>(config_edit::operator_mode(c, *g, of_.op))));
    mode_->setEnabled(editable);
    if (!of_.params) return;
    details_->setEnabled(editable);
    const ivit::ShiftParams& now = c.*of_.params;
    for (const Parameter& p : parameters_) {
        const QSignalBlocker quiet(p.slider);  // this is no wish of the user's
        p.slider->setValue(now.*p.field);
        p.value->setText(QString::number(now.*p.field));
    }
    if (pivot_) pivot_->setCurrentIndex(pivot_->findData(now.row_pivot));
}
