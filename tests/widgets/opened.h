// SPDX-License-Identifier: GPL-3.0-or-later
// A window with a model and pictures in it, all results there.
#pragma once
#include <QApplication>
#include <QTemporaryDir>
#include <catch2/catch.hpp>

#include "tests/widgets/fixture.h"
#include "widgets/main_window.h"

inline const char* const bundled = IVIT_SOURCE_DIR "/assets/vit_tiny_cifar10.safetensors";

// A photograph-like picture, the same on every machine.
inline QImage painted(int seed) {
    QImage image(96, 72, QImage::Format_RGB32);
    for (int y = 0; y < image.height(); ++y) {
        for (int x = 0; x < image.width(); ++x) {
            const double dx = x - 30 - 9 * seed, dy = y - 36;
            const bool inside = dx * dx + dy * dy < 400;
            image.setPixel(
                x, y, inside ? qRgb(190 - y, 120, 40 + 30 * seed) : qRgb(90 + y, 140 + y / 2, 220 - x / 2));
        }
    }
    return image;
}

struct Folder {
    QTemporaryDir dir;
    QString picture(int seed, const QString& name = {}) {
        const QString path = dir.filePath(name.isEmpty() ? QStringLiteral("picture_%1.png").arg(seed) : name);
        REQUIRE(painted(seed).save(path));
        return path;
    }
};

struct Opened {
    Folder folder;
    MainWindow window;
    explicit Opened(int pictures = 2, const QString& model = bundled) {
        window.take_size({1280, 800});
        window.show();
        REQUIRE(QTest::qWaitForWindowExposed(&window));
        QApplication::setActiveWindow(&window);  // Xvfb has no window manager that would
        window.open_model(model);
        QStringList files;
        for (int i = 0; i < pictures; ++i) files << folder.picture(i);
        window.bench().open_pictures(files);
        REQUIRE(settled());
    }
    bool settled() {
        return fixture::wait_until([this] {
            return window.bench().idle() &&
                   (window.bench().shown().current || window.bench().pictures().rowCount() == 0);
        });
    }
};
