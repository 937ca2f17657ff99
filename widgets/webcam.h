// SPDX-License-Identifier: GPL-3.0-or-later
// Frames of the first webcam, on a thread of their own. Unplugging it ends the stream with a sentence.
#pragma once
#include <QImage>
#include <QObject>
#include <thread>

class Webcam : public QObject {
    Q_OBJECT
  public:
    using QObject::QObject;
    ~Webcam() override { stop(); }
    void start();
    void stop();
    bool running() const { return thread_.joinable(); }

  signals:
    void frame(const QImage& picture);
    void ended(const QString& why);  // not after stop()

  private:
    std::jthread thread_;
};
