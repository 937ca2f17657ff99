// SPDX-License-Identifier: GPL-3.0-or-later
// Shiftmax against softmax: the layer x head grid, one head large over the picture, the row of one patch.
#pragma once
#include <QCheckBox>
#include <QComboBox>
#include <QSlider>

#include "widgets/attention_scene.h"
#include "widgets/elided_label.h"
#include "widgets/view.h"

class AttentionPanels;
class HeadGrid;

class AttentionView : public View {
    Q_OBJECT
  public:
    explicit AttentionView(Selection& selection, QWidget* parent = nullptr);

    void flip() override;             // float and integer change places
    void show_difference() override;  // the difference takes the large place, and back
    QWidget* canvas() override;

    // What is on screen, for tests and for copying.
    const std::vector<double>& integer_row() const { return scene_.integer_row; }
    const QString& integer_name() const { return scene_.integer_name; }
    const std::vector<double>& float_row() const { return scene_.float_row; }
    double row_kl() const { return scene_.row_kl; }
    int layer_node() const { return scene_.layer; }
    void click_patch(int token) { selection().set_token(token); }
    QString to_csv() const;

  protected:
    void refresh() override;

  private:
    QLayout* make_bar();
    void set_up_choices();
    void refresh_bar();
    void refresh_row();
    void fill_rows(const ivit::Comparison& c, int token);
    void set_hovered(int token);  // -1: none

    AttentionScene scene_;  // what both parts draw
    HeadGrid* grid_;
    AttentionPanels* panels_;
    QComboBox *against_, *fusion_;
    QCheckBox* rollout_;
    QSlider* discard_;
    QLabel* discard_value_;
    ElidedLabel* title_;
    int hovered_ = -1;  // token under the mouse
};
