// SPDX-License-Identifier: GPL-3.0-or-later
// Shiftmax, softmax and their signed difference over the picture: both on one colour scale, the difference on
// its own, symmetric about zero.
#pragma once
#include <QWidget>

#include "widgets/attention_scene.h"

class AttentionPanels : public QWidget {
    Q_OBJECT
  public:
    // scene: outlives this.
    AttentionPanels(const AttentionScene& scene, QWidget* parent);

  signals:
    void hovered(int token);  // under the mouse; -1: none
    void picked(int token);

  protected:
    void paintEvent(QPaintEvent* event) override;
    void mouseMoveEvent(QMouseEvent* e) override;
    void leaveEvent(QEvent* event) override;
    void mousePressEvent(QMouseEvent* e) override;
    bool event(QEvent* e) override;

  private:
    // Its name stands above a panel, its figures under it: on one line, or on two where it is narrow.
    static constexpr int heading = 19, figures = 19, second_line = 14, caption = heading + figures, gap = 12,
                         legend = 34, narrow = 156, least = 76;

    enum Kind { integer, floating, difference };
    struct Panel {
        QRect picture;
        Kind kind;
    };
    std::vector<Panel> panels() const;
    int token_at(const QPoint& p) const;
    void draw_map(QPainter& p, const QRect& r, const QImage& map) const;
    void draw_title(QPainter& p, const Panel& panel) const;
    QStringList figures_of(const Panel& panel, const std::vector<double>& row) const;
    void draw_figures(QPainter& p, const Panel& panel, const std::vector<double>& row) const;
    void draw_legend(QPainter& p, double most, double most_change) const;

    const AttentionScene& scene_;
};
