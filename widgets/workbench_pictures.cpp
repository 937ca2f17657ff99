// SPDX-License-Identifier: GPL-3.0-or-later
// The workbench's pictures: what is opened, dropped, taken out, selected, and made ready for the networks.
#include <algorithm>

#include "widgets/picture_loader.h"
#include "widgets/workbench.h"
#include "widgets/workbench_parts.h"

namespace fs = std::filesystem;

void Workbench::open_pictures(const QStringList& paths) {
    std::vector<Picture> found;
    QStringList opened;
    for (const QString& path : paths) {
        const fs::path file(path.toStdString());
        std::error_code error;
        if (fs::is_directory(file, error)) {
            try {
                for (const fs::path& p : ivit::list_pictures(file)) {
                    found.push_back(
                        {0, QString::fromStdString(p.filename().string()), p, nullptr, {}, {}, {}, {}});
                }
                opened << path;
            } catch (const ivit::Error& e) {
                emit message(sentence(e), true);
            }
        } else if (!fs::exists(file, error)) {
            emit message(QStringLiteral("%1: there is no such file").arg(path), true);
        } else {
            found.push_back(
                {0, QString::fromStdString(file.filename().string()), file, nullptr, {}, {}, {}, {}});
            opened << path;
        }
    }
    if (found.empty()) return;
    const size_t n = found.size();
    const int first = pictures_.add(std::move(found));
    for (int row = first; row < pictures_.rowCount(); ++row) loader_->load_thumbnail(pictures_.picture(row));
    if (n > 1) emit message(QStringLiteral("%1 pictures added").arg(n), false);
    emit pictures_opened(opened);
    selection_.set_picture(first);
    if (shown_.current && shown_.current->complete) classify_strip();
}

void Workbench::open_image(const QImage& image, const QString& name) {
    if (image.isNull()) return emit message(QStringLiteral("%1: there is no picture in it").arg(name), true);
    Picture p;
    p.name = name;
    p.image = std::make_shared<const ivit::Image>(to_image(image));
    std::vector<Picture> one;
    one.push_back(std::move(p));
    const int row = pictures_.add(std::move(one));
    loader_->load_thumbnail(pictures_.picture(row));
    selection_.set_picture(row);
}

void Workbench::remove_picture(int row) {
    if (row < 0 || row >= pictures_.rowCount()) return;
    const int selected = selection_.picture();
    pictures_.remove(row);
    if (row > selected) return;
    if (row < selected) {
        selection_.set_picture(selected - 1);  // the same picture; picture_selected() sees that
        return;
    }
    const int next = std::min(row, pictures_.rowCount() - 1);
    if (next == selected) {
        picture_selected();
    } else {
        selection_.set_picture(next);
    }
}

void Workbench::show_picture(int row) {
    if (row == selection_.picture()) return picture_selected();
    selection_.set_picture(row);
}

void Workbench::show_frame(const QImage& frame, const QString& name) {
    const ivit::Graph* g = graph();
    if (!g || frame.isNull() || stale_) return;  // a frame that finds the worker busy is dropped
    prepared_id_ = -1;
    picture_name_ = name;
    const ivit::Image image = to_image(frame);
    pixels_ = ivit::preprocess(image, g->image_size, info()->crop_pct);
    sharp_ = sharp_crop(image, g->image_size, info()->crop_pct);
    submit();
}

void Workbench::picture_selected() {
    const ivit::Graph* g = graph();
    const int row = selection_.picture();
    if (!g) return;
    if (row < 0 || row >= pictures_.rowCount()) {
        pixels_.clear();
        prepared_id_ = -1;
        shown_.current.reset();
        update_ghost();
        set_stale(false);
        emit results_changed();
        return;
    }
    const Picture& p = pictures_.picture(row);
    if (p.id == prepared_id_) return set_stale(!answered_);  // back from one that could not be read
    if (!p.error.isEmpty()) return;
    set_stale(true);
    loader_->prepare(p, g->image_size, info()->crop_pct);
}

void Workbench::picture_prepared(int id, ivit::Pixels pixels, const QImage& sharp) {
    const int row = pictures_.row_of(id);
    if (row < 0 || row != selection_.picture()) return;  // selected another one meanwhile
    prepared_id_ = id;
    picture_name_ = pictures_.picture(row).name;
    pixels_ = std::move(pixels);
    sharp_ = sharp;
    submit();
}
