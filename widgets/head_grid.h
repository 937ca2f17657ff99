// SPDX-License-Identifier: GPL-3.0-or-later
// All layers by all heads, small: where the selected token looks.
#pragma once
#include <QWidget>

#include "widgets/attention_scene.h"

class HeadGrid : public QWidget {
    Q_OBJECT
  public:
    // scene: outlives this.
    HeadGrid(const AttentionScene& scene, QWidget* parent);
    void rebuild();  // the thumbnails, anew
    void fit();      // as wide as square thumbnails make it

  signals:
    void picked(int node, int head);

  protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* e) override;
    bool event(QEvent* e) override;
    void resizeEvent(QResizeEvent* e) override;

  private:
    QImage thumb(const ivit::Trace& trace, int layer, int head) const;
    QString tip(int row, int head) const;
    int cell() const;  // side of a thumbnail with its gap
    QRect rect_of(int row, int head) const;
    bool at(const QPoint& p, int* row, int* head) const;

    const AttentionScene& scene_;
    std::vector<QImage> thumbs_;
    int heads_ = 0;
};
