// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/webcam.h"

#include <chrono>
#include <opencv2/videoio.hpp>

Webcam::~Webcam() {
    stop();
    stopping_.clear();
}

void Webcam::start() {
    stop();
    stopping_.clear();  // a camera can be opened once
    thread_ = std::jthread([this, source = source_](std::stop_token stop) {
        QString why;
        try {
            cv::VideoCapture camera;
            // By name of the interface: OpenCV's search through all of them takes seconds and asks every USB
            // device.
            if (source.isEmpty()) {
                camera.open(0, cv::CAP_V4L2);
            } else {
                camera.open(source.toStdString(), source.contains('%') ? cv::CAP_IMAGES : cv::CAP_V4L2);
            }
            if (!camera.isOpened()) why = QStringLiteral("There is no webcam, or another program uses it");
            cv::Mat bgr;
            while (why.isEmpty() && !stop.stop_requested()) {
                if (!camera.read(bgr) || bgr.empty()) {
                    why = QStringLiteral("The webcam has been unplugged");
                } else {
                    const QImage view(bgr.data, bgr.cols, bgr.rows, static_cast<qsizetype>(bgr.step),
                                      QImage::Format_BGR888);
                    if (!stop.stop_requested()) emit frame(view.copy());
                    std::this_thread::sleep_for(std::chrono::milliseconds(40));
                }
            }
        } catch (const cv::Exception& e) {
            why = QStringLiteral("The webcam fails: %1").arg(QString::fromStdString(e.err));
        }
        if (!stop.stop_requested()) emit ended(why);
    });
}

void Webcam::stop() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    stopping_.push_back(std::move(thread_));
    thread_ = std::jthread();
}
