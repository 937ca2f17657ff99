// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/picture_loader.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"

ivit::Image to_image(const QImage& q) {
    // Alpha over white, as read_image() does.
    QImage flat(q.size(), QImage::Format_RGB32);
    flat.fill(Qt::white);
    const QImage source = q.convertToFormat(QImage::Format_ARGB32);
    ivit::Image image;
    image.width = q.width();
    image.height = q.height();
    image.rgb.reserve(static_cast<size_t>(q.width()) * static_cast<size_t>(q.height()) * 3);
    for (int y = 0; y < source.height(); ++y) {
        const QRgb* line = reinterpret_cast<const QRgb*>(source.constScanLine(y));
        for (int x = 0; x < source.width(); ++x) {
            const int a = qAlpha(line[x]);
            for (const int c : {qRed(line[x]), qGreen(line[x]), qBlue(line[x])}) {
                image.rgb.push_back(static_cast<uint8_t>((c * a + 255 * (255 - a) + 127) / 255));
            }
        }
    }
    return image;
}

QImage to_qimage(const ivit::Image& image) {
    QImage q(image.width, image.height, QImage::Format_RGB888);
    for (int y = 0; y < image.height; ++y) {
        std::memcpy(q.scanLine(y), &image.rgb[static_cast<size_t>(y) * static_cast<size_t>(image.width) * 3],
                    static_cast<size_t>(image.width) * 3);
    }
    return q;
}

QImage to_qimage(const ivit::Pixels& pixels, int size) {
    if (pixels.size() != static_cast<size_t>(size) * static_cast<size_t>(size) * 3) return {};
    ivit::Image image{size, size, pixels};
    return to_qimage(image);
}

QImage sharp_crop(const ivit::Image& image, int size, double crop_pct) {
    const double side = std::min(image.width, image.height) * std::min(1.0, crop_pct);
    const int sharp = std::clamp(static_cast<int>(side), size, 640);
    return to_qimage(ivit::preprocess(image, sharp, crop_pct), sharp);
}

PictureLoader::PictureLoader(QObject* parent)
    : QObject(parent), wanted_(std::make_shared<std::atomic<int>>(0)) {
    pool_.setMaxThreadCount(1);
}

PictureLoader::~PictureLoader() {
    ++*wanted_;
    pool_.clear();
    pool_.waitForDone();
}

namespace {

// Without the file, which stands beside it.
QString what_and_hint(const ivit::Error& e) {
    QString text = QString::fromStdString(e.sentence());
    if (!e.hint().empty()) text += QStringLiteral(" — ") + QString::fromStdString(e.hint());
    return text;
}

ivit::Image read(const std::filesystem::path& file, const std::shared_ptr<const ivit::Image>& image) {
    return image ? *image : ivit::read_image(file);
}

}  // namespace

void PictureLoader::list(const QString& folder, bool select) {
    const auto job = [this, folder, select] {
        try {
            emit listed(folder, ivit::list_pictures(folder.toStdString()), select, {});
        } catch (const ivit::Error& e) {
            emit listed(folder, {}, select, folder + QStringLiteral(": ") + what_and_hint(e));
        } catch (const std::exception& e) {
            emit listed(folder, {}, select, folder + QStringLiteral(": ") + QString::fromUtf8(e.what()));
        }
    };
    pool_.start(job, 3);
}

void PictureLoader::load_thumbnail(const Picture& p, bool looked_at) {
    const auto job = [this, id = p.id, file = p.file, image = p.image] {
        try {
            const ivit::Image full = read(file, image);
            const double scale =
                std::min(1.0, static_cast<double>(thumbnail_size) / std::min(full.width, full.height));
            QImage q = to_qimage(full).scaled(std::max(1, static_cast<int>(full.width * scale + 0.5)),
                                              std::max(1, static_cast<int>(full.height * scale + 0.5)),
                                              Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
            const int side = std::min(q.width(), q.height());
            emit thumbnail_ready(id, q.copy((q.width() - side) / 2, (q.height() - side) / 2, side, side));
        } catch (const ivit::Error& e) {
            emit failed(id, what_and_hint(e));
        } catch (const std::exception& e) {
            emit failed(id, QString::fromUtf8(e.what()));
        }
    };
    pool_.start(job, looked_at ? 1 : 0);
}

void PictureLoader::prepare(const Picture& p, int image_size, double crop_pct) {
    const int number = ++*wanted_;
    const auto job = [this, wanted = wanted_, number, id = p.id, file = p.file, image = p.image, image_size,
                      crop_pct] {
        if (*wanted != number) return;
        try {
            const ivit::Image full = read(file, image);
            emit prepared(id, image_size, ivit::preprocess(full, image_size, crop_pct),
                          sharp_crop(full, image_size, crop_pct));
        } catch (const ivit::Error& e) {
            emit failed(id, what_and_hint(e));
        } catch (const std::exception& e) {
            emit failed(id, QString::fromUtf8(e.what()));
        }
    };
    pool_.start(job, 2);  // before every thumbnail
}
