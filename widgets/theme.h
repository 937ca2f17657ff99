// SPDX-License-Identifier: GPL-3.0-or-later
// Light and dark, and the few colours that mean something. Views ask for roles, never for literal colours.
#pragma once
#include <QApplication>
#include <QColor>
#include <QObject>
#include <QPalette>

class Theme : public QObject {
    Q_OBJECT
  public:
    enum class Choice { system, light, dark };
    static Theme& instance();  // first called before there is any widget

    void set_choice(Choice c);
    Choice choice() const { return choice_; }
    bool dark() const { return dark_; }

    // Okabe and Ito's colour-blind-safe palette; lighter variants on dark.
    QColor float_colour() const;    // the float network, everywhere
    QColor integer_colour() const;  // the integer network, everywhere
    QColor isolated_colour() const;
    QColor ghost_colour() const;  // what was before, or what is pinned
    QColor good() const;
    QColor warning() const;
    QColor muted() const;                                // secondary text
    QColor grid() const;                                 // plot grid lines, hairlines
    QColor panel() const;                                // a raised surface
    QFont figures(int pixels, bool bold = false) const;  // tabular digits for numbers that line up

  signals:
    void changed();

  private slots:
    void portal_setting(const QString& group, const QString& key);

  private:
    Theme();
    void apply();
    bool system_is_dark() const;
    Choice choice_ = Choice::system;
    bool dark_ = false;
};
