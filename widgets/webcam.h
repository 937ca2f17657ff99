// SPDX-License-Identifier: GPL-3.0-or-later
// Frames of a webcam, on a thread of their own. Unplugging it ends the stream with a sentence.
#pragma once
#include <QImage>
#include <QObject>
#include <thread>
#include <vector>

class Webcam : public QObject {
    Q_OBJECT
  public:
    using QObject::QObject;
    ~Webcam() override;

    // What to open: empty for the first webcam, else a device ("/dev/video2") or numbered pictures
    // ("frame_%02d.png").
    void set_source(const QString& source) { source_ = source; }
    void start();
    void stop();  // never waits for the camera, which may be in the middle of opening
    bool running() const { return thread_.joinable(); }

  signals:
    void frame(const QImage& picture);
    void ended(const QString& why);  // not after stop()

  private:
    QString source_;
    std::jthread thread_;
    std::vector<std::jthread> stopping_;  // asked to stop; joined by the next start() and at the end
};
