// SPDX-License-Identifier: GPL-3.0-or-later
// Does it matter? Both networks' answers side by side, how sure they are, and whether they agree.
#pragma once
#include "widgets/view.h"

class PredictionsView : public View {
    Q_OBJECT
  public:
    explicit PredictionsView(Selection& selection, QWidget* parent = nullptr);
    void set_labels(const std::vector<std::string>& labels) { labels_ = labels; }

    // What is on screen, for tests, screen readers and the clipboard.
    struct Row {
        QString label;
        double probability = 0;
        std::optional<double> before;  // in the ghost
    };
    const std::vector<Row>& float_rows() const { return float_rows_; }
    const std::vector<Row>& integer_rows() const { return integer_rows_; }
    QString verdict() const { return verdict_; }
    int worst_alone() const { return worst_; }  // node that adds the most error by itself; -1: not known yet
    QRect worst_alone_place() const { return worst_place_; }  // where a click selects it
    QString to_csv() const;
    QSize sizeHint() const override { return {300, 345}; }
    QSize minimumSizeHint() const override { return {220, 336}; }

  protected:
    void refresh() override;
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    bool event(QEvent* event) override;

  private:
    struct Figure {
        QString name, value, change, definition;
    };
    std::vector<Row> rows(const ivit::Trace* t, const ivit::Trace* before) const;
    static std::vector<Figure> figures(const ivit::LogitError& now, const ivit::LogitError* ghost);
    void find_worst(const ivit::Comparison* c);
    void speak();
    int paint_verdict(QPainter& p, int y);
    int paint_rows(QPainter& p, int y);
    int paint_column(QPainter& p, const QRect& place, const QString& title, const std::vector<Row>& rows,
                     const QColor& colour);
    int paint_figures(QPainter& p, int y);
    void paint_worst(QPainter& p, int y);

    std::vector<std::string> labels_;
    std::vector<Row> float_rows_, integer_rows_;
    std::vector<Figure> figures_;
    QString verdict_;
    int worst_ = -1;
    QString worst_text_;
    QRect worst_place_;
    bool agree_ = true;
    std::vector<std::pair<QRect, QString>> tips_;  // what is where, for tooltips
};
