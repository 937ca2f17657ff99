// SPDX-License-Identifier: GPL-3.0-or-later
// What every view is: it is given results, reads the selection, and is dimmed while it is out of date.
#pragma once
#include <QHBoxLayout>
#include <QLabel>
#include <QWidget>

#include "widgets/results.h"
#include "widgets/selection.h"

class StaleVeil;

class View : public QWidget {
    Q_OBJECT
  public:
    // `name`: the view's title and its name for screen readers.
    View(const QString& name, Selection& selection, QWidget* parent = nullptr);

    const QString& name() const { return name_; }
    void set_results(const Shown& shown);  // does nothing visible until the view itself is
    virtual void set_stale(bool stale);
    const QString& caption() const { return caption_; }  // configuration and picture of what is shown
    // The part worth a file of its own: what "Export view" saves and "Copy image" copies.
    virtual QWidget* canvas() { return this; }
    virtual void flip() {}             // float and integer change places, where the view has both
    virtual void show_difference() {}  // the difference comes to the front, and goes back

  protected:
    virtual void refresh() = 0;  // shown() or the selection changed, and the view is visible
    const Shown& shown() const { return shown_; }
    Selection& selection() const { return selection_; }
    const ivit::Node* node() const;  // the selected one, or nullptr
    void touch();                    // refresh now, or when next visible
    // An empty row for what stands above a view's canvas: its title and its controls.
    static QHBoxLayout* new_bar();
    // The view is such a row and, in the room that is left, `body`.
    void lay_out(QHBoxLayout* bar, QWidget* body);
    void showEvent(QShowEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

  private:
    QString name_, caption_;
    Selection& selection_;
    Shown shown_;
    StaleVeil* veil_;
    bool dirty_ = true;
};
