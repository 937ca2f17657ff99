// SPDX-License-Identifier: GPL-3.0-or-later
#define CATCH_CONFIG_RUNNER
#include <QApplication>
#include <QSettings>
#include <QTemporaryDir>
#include <catch2/catch.hpp>

#include "widgets/gl_canvas.h"
#include "widgets/theme.h"

#if defined(__SANITIZE_ADDRESS__)
// The OpenGL driver is unloaded before leaks are looked for: its own would then have no name to be told by
// (tests/lsan.supp).
extern "C" int dlclose(void*) { return 0; }
#endif

int main(int argc, char** argv) {
    Catch::Session session;
    if (const int bad = session.applyCommandLine(argc, argv)) return bad;
    const auto& config = session.configData();
    // ctest lists the tests while building, where there may be no display.
    if (config.listTests || config.listTestNamesOnly || config.listTags || config.listReporters)
        return session.run();
    GlCanvas::set_default_format();
    QTemporaryDir home;  // nobody's settings are read or changed
    QSettings::setDefaultFormat(QSettings::IniFormat);
    QSettings::setPath(QSettings::IniFormat, QSettings::UserScope, home.path());
    int qt_argc = 1;
    QApplication app(qt_argc, argv);
    QCoreApplication::setOrganizationName("ivit");
    QCoreApplication::setApplicationName("ivit-widget-tests");
    QLocale::setDefault(QLocale(QLocale::German));  // a desktop with decimal commas: nothing may show one
    Theme::instance();
    QFont font("DejaVu Sans");
    font.setPixelSize(13);
    QApplication::setFont(font);
    return session.run();
}
