// SPDX-License-Identifier: GPL-3.0-or-later
// The one toolbar: pictures, model, backend, the switch of bit-widths, undo and redo, pin, report.
#pragma once
#include <QToolBar>
#include <vector>

class QActionGroup;
class QComboBox;
class Workbench;

class MainToolBar : public QToolBar {
    Q_OBJECT
  public:
    MainToolBar(Workbench& bench, QWidget* window);

    // For the menus, which share them.
    QAction* open_pictures() { return open_; }
    QAction* undo() { return undo_; }
    QAction* redo() { return redo_; }
    QAction* pin() { return pin_; }
    QAction* report() { return report_; }
    std::vector<QAction*> width_presets() const;  // W8A8 to W4A4
    void choose_model();                          // asks for a file

  signals:
    void model_wanted(const QString& path);
    void custom_wanted();  // where one's own bit-widths are set

  private:
    void add_labelled(const QString& text, QWidget* box);
    void add_open();
    void add_model_box();
    void add_backend_box();
    void add_widths();
    void add_undo_and_redo();
    void add_button(QAction* a, const QString& text);
    void add_pin();
    void add_report();
    void refresh_settings();
    void refresh_models();
    void refresh_results();

    Workbench& bench_;
    QComboBox *model_box_ = nullptr, *backend_box_ = nullptr;
    QActionGroup* presets_ = nullptr;
    QAction *open_ = nullptr, *undo_ = nullptr, *redo_ = nullptr, *pin_ = nullptr, *report_ = nullptr;
};
