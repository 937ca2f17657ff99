// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/theme.h"

#include <QDBusConnection>
#include <QDBusMessage>
#include <QDBusVariant>
#include <QLocale>
#include <QToolTip>

#include "widgets/style.h"

namespace {
const char portal[] = "org.freedesktop.portal.Desktop";
const char portal_path[] = "/org/freedesktop/portal/desktop";
const char settings_interface[] = "org.freedesktop.portal.Settings";
}  // namespace

Theme& Theme::instance() {
    static Theme* theme = new Theme;  // outlives every widget; the application owns it
    return *theme;
}

Theme::Theme() : QObject(qApp) {
    // Numbers with a point, as in every file and on the command line, wherever the desktop writes a comma.
    QLocale::setDefault(QLocale::c());
    // Qt 6.4 does not report the desktop's colour scheme; the desktop portal does, and says when it changes.
    QDBusConnection::sessionBus().connect(portal, portal_path, settings_interface, "SettingChanged", this,
                                          SLOT(portal_setting(QString, QString)));
    QApplication::setStyle(new Style);
    apply();
}

void Theme::portal_setting(const QString& group, const QString& key) {
    if (group == "org.freedesktop.appearance" && key == "color-scheme" && choice_ == Choice::system) apply();
}

bool Theme::system_is_dark() const {
    QDBusConnection bus = QDBusConnection::sessionBus();
    if (bus.isConnected()) {
        QDBusMessage ask = QDBusMessage::createMethodCall(portal, portal_path, settings_interface, "Read");
        ask << QString("org.freedesktop.appearance") << QString("color-scheme");
        const QDBusMessage answer = bus.call(ask, QDBus::Block, 300);
        if (answer.type() == QDBusMessage::ReplyMessage && !answer.arguments().isEmpty()) {
            QVariant v = answer.arguments().constFirst();
            while (v.canConvert<QDBusVariant>()) v = v.value<QDBusVariant>().variant();
            if (v.canConvert<uint>()) return v.toUInt() == 1;
        }
    }
    static const bool from_palette = QGuiApplication::palette().color(QPalette::Window).lightness() < 128;
    return from_palette;
}

void Theme::set_choice(Choice c) {
    choice_ = c;
    apply();
}

void Theme::apply() {
    const bool from_system = system_is_dark();  // also fixes what the palette was before ours
    dark_ = choice_ == Choice::dark || (choice_ == Choice::system && from_system);
    QPalette p;
    const auto all = [&p](QPalette::ColorRole role, const QColor& c) { p.setColor(role, c); };
    if (dark_) {
        all(QPalette::Window, QColor(0x1d, 0x1f, 0x24));
        all(QPalette::WindowText, QColor(0xe4, 0xe6, 0xea));
        all(QPalette::Base, QColor(0x16, 0x18, 0x1c));
        all(QPalette::AlternateBase, QColor(0x1b, 0x1d, 0x22));
        all(QPalette::Text, QColor(0xe4, 0xe6, 0xea));
        all(QPalette::Button, QColor(0x2a, 0x2d, 0x33));
        all(QPalette::ButtonText, QColor(0xe4, 0xe6, 0xea));
        all(QPalette::Light, QColor(0x3a, 0x3e, 0x46));
        all(QPalette::Midlight, QColor(0x32, 0x35, 0x3c));
        all(QPalette::Mid, QColor(0x24, 0x26, 0x2c));
        all(QPalette::Dark, QColor(0x12, 0x13, 0x16));
        all(QPalette::Shadow, QColor(0x08, 0x09, 0x0a));
        all(QPalette::Highlight, QColor(0x2f, 0x6d, 0xb5));
        all(QPalette::Link, QColor(0x6c, 0xb3, 0xf2));
        all(QPalette::ToolTipBase, QColor(0x2c, 0x2f, 0x36));
        all(QPalette::ToolTipText, QColor(0xe4, 0xe6, 0xea));
    } else {
        all(QPalette::Window, QColor(0xf4, 0xf5, 0xf7));
        all(QPalette::WindowText, QColor(0x1c, 0x1f, 0x24));
        all(QPalette::Base, QColor(0xff, 0xff, 0xff));
        all(QPalette::AlternateBase, QColor(0xf8, 0xf9, 0xfb));
        all(QPalette::Text, QColor(0x1c, 0x1f, 0x24));
        all(QPalette::Button, QColor(0xec, 0xee, 0xf1));
        all(QPalette::ButtonText, QColor(0x1c, 0x1f, 0x24));
        all(QPalette::Light, QColor(0xff, 0xff, 0xff));
        all(QPalette::Midlight, QColor(0xe3, 0xe6, 0xea));
        all(QPalette::Mid, QColor(0xc9, 0xcd, 0xd3));
        all(QPalette::Dark, QColor(0xa4, 0xa9, 0xb2));
        all(QPalette::Shadow, QColor(0x70, 0x75, 0x7e));
        all(QPalette::Highlight, QColor(0x1f, 0x6f, 0xc4));
        all(QPalette::Link, QColor(0x0a, 0x5c, 0xad));
        all(QPalette::ToolTipBase, QColor(0xff, 0xff, 0xff));
        all(QPalette::ToolTipText, QColor(0x1c, 0x1f, 0x24));
    }
    all(QPalette::HighlightedText, QColor(0xff, 0xff, 0xff));
    all(QPalette::PlaceholderText, muted());
    for (const auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText}) {
        p.setColor(QPalette::Disabled, role, dark_ ? QColor(0x70, 0x75, 0x7e) : QColor(0x9a, 0x9f, 0xa8));
    }
    QApplication::setPalette(p);
    QToolTip::setPalette(p);
    emit changed();
}

QColor Theme::float_colour() const { return dark_ ? QColor(0x5a, 0xb4, 0xe9) : QColor(0x00, 0x72, 0xb2); }
QColor Theme::integer_colour() const { return dark_ ? QColor(0xf0, 0x9a, 0x3c) : QColor(0xd5, 0x5e, 0x00); }
QColor Theme::isolated_colour() const { return dark_ ? QColor(0x2f, 0xc4, 0x9d) : QColor(0x00, 0x8a, 0x66); }
QColor Theme::ghost_colour() const { return dark_ ? QColor(0x8a, 0x90, 0x9b) : QColor(0x8d, 0x93, 0x9e); }
QColor Theme::good() const { return isolated_colour(); }
QColor Theme::warning() const { return integer_colour(); }
QColor Theme::muted() const { return dark_ ? QColor(0x9b, 0xa1, 0xab) : QColor(0x63, 0x69, 0x73); }
QColor Theme::grid() const { return dark_ ? QColor(0x33, 0x37, 0x3f) : QColor(0xdd, 0xe0, 0xe5); }
QColor Theme::panel() const { return dark_ ? QColor(0x24, 0x27, 0x2d) : QColor(0xff, 0xff, 0xff); }

QFont Theme::figures(int pixels, bool bold) const {
    QFont f = QApplication::font();
    f.setPixelSize(pixels);
    f.setBold(bold);
    return f;
}
