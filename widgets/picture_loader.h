// SPDX-License-Identifier: GPL-3.0-or-later
// Reads picture files off the GUI thread: thumbnails in the order of the strip, those that are looked at
// before the others, the selected picture before all of them.
#pragma once
#include <QImage>
#include <QObject>
#include <QThreadPool>
#include <atomic>

#include "engine/calibration.h"
#include "widgets/models/picture_list_model.h"

ivit::Image to_image(const QImage& q);
QImage to_qimage(const ivit::Image& image);
QImage to_qimage(const ivit::Pixels& pixels, int size);  // RGB [size, size, 3]
// The crop that preprocess() takes, at the size it has in the picture, at most 640.
QImage sharp_crop(const ivit::Image& image, int size, double crop_pct);

class PictureLoader : public QObject {
    Q_OBJECT
  public:
    static constexpr int thumbnail_size = 128;  // pixels: 64 on a screen of scale 2

    explicit PictureLoader(QObject* parent = nullptr);
    ~PictureLoader() override;

    // The pictures of a folder, before anything else; `select` comes back with them.
    void list(const QString& folder, bool select);
    void load_thumbnail(const Picture& p, bool looked_at = false);
    // Decodes and prepares for a network; an earlier request that has not started is dropped.
    void prepare(const Picture& p, int image_size, double crop_pct);

  signals:
    // problem: why there are none, a sentence; else empty.
    void listed(const QString& folder, const std::vector<std::filesystem::path>& files, bool select,
                const QString& problem);
    void thumbnail_ready(int id, const QImage& thumbnail);
    // sharp: the same part of the picture, for people.
    void prepared(int id, int image_size, const ivit::Pixels& pixels, const QImage& sharp);
    void failed(int id, const QString& sentence);

  private:
    QThreadPool pool_;
    std::shared_ptr<std::atomic<int>> wanted_;  // number of the newest prepare()
};
