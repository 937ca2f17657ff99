// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/models/picture_list_model.h"

#include <algorithm>

#include "widgets/exporting.h"
#include "widgets/numbers.h"

namespace {
QString top_text(const std::optional<Prediction>& p) {
    return p ? p->label + QLatin1Char(' ') + numbers::probability(p->probability) : QString();
}
}  // namespace

int PictureListModel::rowCount(const QModelIndex& parent) const {
    return parent.isValid() ? 0 : static_cast<int>(pictures_.size());
}

QVariant PictureListModel::data(const QModelIndex& index, int role) const {
    if (!index.isValid() || index.row() >= rowCount()) return {};
    const Picture& p = picture(index.row());
    switch (role) {
        case Qt::DisplayRole:
        case name_role:
            return p.name;
        case Qt::DecorationRole:
            if (p.thumbnail.isNull() && p.error.isEmpty() && wanted_.insert(p.id).second)
                emit thumbnail_wanted(p.id);
            return p.thumbnail;
        case float_role:
            return top_text(p.float_top);
        case integer_role:
            return top_text(p.integer_top);
        case differs_role:
            return p.differs();
        case error_role:
            return p.error;
        case Qt::ToolTipRole: {
            QStringList lines{p.file.empty() ? p.name : QString::fromStdString(p.file.string())};
            if (!p.error.isEmpty()) lines << p.error;
            if (p.float_top) lines << QStringLiteral("float: ") + top_text(p.float_top);
            if (p.integer_top) lines << QStringLiteral("integer: ") + top_text(p.integer_top);
            if (p.differs()) lines << QStringLiteral("The networks disagree on this picture.");
            // A name may look like markup, and a long one must break somewhere: at any letter.
            return QStringLiteral("<p style='white-space: pre-wrap; word-break: break-all'>%1</p>")
                .arg(lines.join(QLatin1Char('\n')).toHtmlEscaped());
        }
        case Qt::AccessibleTextRole: {
            if (!p.error.isEmpty()) return p.name + QStringLiteral(", cannot be read");
            QString text = p.name;
            if (p.float_top) text += QStringLiteral(", float: ") + top_text(p.float_top);
            if (p.integer_top) text += QStringLiteral(", integer: ") + top_text(p.integer_top);
            return p.differs() ? text + QStringLiteral(", they differ") : text;
        }
        default:
            return {};
    }
}

QString PictureListModel::to_csv() const {
    QString csv = exporting::csv_line(
        {"picture", "float", "float probability", "integer", "integer probability", "agree", "problem"});
    const auto label = [](const std::optional<Prediction>& p) { return p ? p->label : QString(); };
    const auto value = [](const std::optional<Prediction>& p) {
        return p ? QString::number(p->probability, 'g', 9) : QString();
    };
    for (const Picture& p : pictures_) {
        const bool both = p.float_top && p.integer_top;
        csv += exporting::csv_line({p.file.empty() ? p.name : QString::fromStdString(p.file.string()),
                                    label(p.float_top), value(p.float_top), label(p.integer_top),
                                    value(p.integer_top),
                                    !both         ? QString()
                                    : p.differs() ? "no"
                                                  : "yes",
                                    p.error});
    }
    return csv;
}

QHash<int, QByteArray> PictureListModel::roleNames() const {
    return {{name_role, "name"},
            {float_role, "float"},
            {integer_role, "integer"},
            {differs_role, "differs"},
            {error_role, "error"}};
}

int PictureListModel::add(std::vector<Picture> pictures) {
    const int first = rowCount();
    if (pictures.empty()) return first;
    beginInsertRows({}, first, first + static_cast<int>(pictures.size()) - 1);
    for (Picture& p : pictures) {
        p.id = next_id_++;
        pictures_.push_back(std::move(p));
    }
    endInsertRows();
    return first;
}

void PictureListModel::remove(int row) {
    if (row < 0 || row >= rowCount()) return;
    beginRemoveRows({}, row, row);
    pictures_.erase(pictures_.begin() + row);
    endRemoveRows();
}

int PictureListModel::row_of(int id) const {
    // Ids grow along the list: rows are only ever appended and removed.
    const auto it = std::lower_bound(pictures_.begin(), pictures_.end(), id,
                                     [](const Picture& p, int wanted) { return p.id < wanted; });
    return it != pictures_.end() && it->id == id ? static_cast<int>(it - pictures_.begin()) : -1;
}

void PictureListModel::set_thumbnail(int id, const QImage& thumbnail) {
    wanted_.erase(id);
    const int row = row_of(id);
    if (row < 0) return;
    QImage& kept = pictures_[static_cast<size_t>(row)].thumbnail;
    if (kept.isNull()) thumbnails_.push_back(id);
    kept = thumbnail;
    for (; thumbnails_.size() > most_thumbnails; thumbnails_.pop_front()) {
        const int oldest = row_of(thumbnails_.front());
        if (oldest >= 0) pictures_[static_cast<size_t>(oldest)].thumbnail = {};
    }
    emit dataChanged(index(row), index(row), {Qt::DecorationRole});
}

void PictureListModel::set_error(int id, const QString& sentence) {
    wanted_.erase(id);
    const int row = row_of(id);
    if (row < 0) return;
    pictures_[static_cast<size_t>(row)].error = sentence;
    emit dataChanged(index(row), index(row));
}

void PictureListModel::set_predictions(int id, std::optional<Prediction> float_top,
                                       std::optional<Prediction> integer_top) {
    const int row = row_of(id);
    if (row < 0) return;
    pictures_[static_cast<size_t>(row)].float_top = std::move(float_top);
    pictures_[static_cast<size_t>(row)].integer_top = std::move(integer_top);
    emit dataChanged(index(row), index(row));
}

void PictureListModel::forget_predictions(bool float_too) {
    for (Picture& p : pictures_) {
        p.integer_top.reset();
        if (float_too) p.float_top.reset();
    }
    if (!pictures_.empty()) emit dataChanged(index(0), index(rowCount() - 1));
}
