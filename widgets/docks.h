// SPDX-License-Identifier: GPL-3.0-or-later
// The docks around the middle: made, laid out, named.
#pragma once
#include <QDockWidget>
#include <QMainWindow>
#include <vector>

class Docks : public QObject {
    Q_OBJECT
  public:
    explicit Docks(QMainWindow& window);

    // name: what QSettings and findChild know it by.
    QDockWidget* add(const QString& title, const char* name, QWidget* content, Qt::DockWidgetArea area);
    const std::vector<QDockWidget*>& all() const { return docks_; }
    // Shows the dock, also when it lies under another one.
    static void reveal(QDockWidget* dock);

    void keep_first_layout() { first_layout_ = window_.saveState(); }
    void lift_floating();  // once the window is on screen: those restored before it lie under it
    void reset();          // as in the first layout, every dock shown
    void name_tab_bars();  // those that Qt makes for docks which lie on each other

  private:
    QMainWindow& window_;
    std::vector<QDockWidget*> docks_;
    QByteArray first_layout_;
};
