// SPDX-License-Identifier: GPL-3.0-or-later
// The tensor lens: the selected node's output as an image, down to single values.
#pragma once
#include <QButtonGroup>
#include <QComboBox>
#include <QSpinBox>

#include "widgets/elided_label.h"
#include "widgets/tensor_slice.h"
#include "widgets/view.h"

class TensorCanvas;
struct TensorLook;

class TensorView : public View {
    Q_OBJECT
  public:
    explicit TensorView(Selection& selection, QWidget* parent = nullptr);

    using What = TensorSlice::What;
    using enum TensorSlice::What;
    void set_what(What what);
    What what() const;
    void flip() override;             // integer and float in place
    void show_difference() override;  // and back
    void zoom(double factor);         // about the middle; 0: all of it
    const TensorSlice& slice() const { return slice_; }
    bool has_canvas() const { return canvas_ != nullptr; }
    QWidget* canvas() override;

  protected:
    void refresh() override;

  private:
    QLayout* make_bar();
    QLayout* make_switch();
    void set_up_layout();
    void set_up_places();
    QWidget* make_canvas();
    void update_canvas();
    void update_bar();
    bool as_picture() const;
    bool magnitudes() const;
    TensorLook look() const;

    TensorCanvas* canvas_ = nullptr;  // null where OpenGL is missing
    QButtonGroup* what_;
    QComboBox *layout_, *colours_, *contrast_;
    QSpinBox *channel_, *token_;
    ElidedLabel* title_;
    QLabel *channel_label_, *token_label_;
    TensorSlice slice_;
    What before_difference_ = integer;
};
