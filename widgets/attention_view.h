// SPDX-License-Identifier: GPL-3.0-or-later
// Shiftmax against softmax: the layer x head grid, one head large over the picture, the row of one patch.
#pragma once
#include <QCheckBox>
#include <QComboBox>
#include <QImage>
#include <QSlider>

#include "widgets/attention_math.h"
#include "widgets/elided_label.h"
#include "widgets/view.h"

class AttentionView : public View {
    Q_OBJECT
  public:
    explicit AttentionView(Selection& selection, QWidget* parent = nullptr);

    void flip() override;             // float and integer change places
    void show_difference() override;  // the difference takes the large place, and back
    QWidget* canvas() override;

    // What is on screen, for tests and for copying.
    const std::vector<double>& integer_row() const { return integer_row_; }
    const std::vector<double>& float_row() const { return float_row_; }
    double row_kl() const { return row_kl_; }
    int layer_node() const { return layer_; }
    int shown_token() const;
    void click_patch(int token) { selection().set_token(token); }
    QString to_csv() const;

  protected:
    void refresh() override;

  private:
    friend class HeadGrid;
    friend class AttentionPanels;
    void refresh_row();
    void set_hovered(int token);

    class HeadGrid* grid_;
    class AttentionPanels* panels_;
    QComboBox *against_, *fusion_;
    QCheckBox* rollout_;
    QSlider* discard_;
    QLabel* discard_value_;
    ElidedLabel* title_;

    QImage picture_;
    std::vector<int> layers_;
    int layer_ = -1;    // the softmax node shown
    int hovered_ = -1;  // token under the mouse
    bool flipped_ = false, difference_first_ = false;
    attention::PatchGrid patches_;
    std::vector<double> integer_row_, float_row_;
    double row_kl_ = 0;
};
