// SPDX-License-Identifier: GPL-3.0-or-later
// The strip of pictures: a thumbnail, both predictions, and whether they differ.
#pragma once
#include <QAbstractListModel>
#include <QImage>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "engine/image.h"

struct Prediction {
    QString label;
    double probability = 0;
};

struct Picture {
    int id = 0;  // never reused
    QString name;
    std::filesystem::path file;                // empty for pasted ones
    std::shared_ptr<const ivit::Image> image;  // pasted ones only; files are read when needed
    QImage thumbnail;
    QString error;  // one sentence; the picture could not be read
    std::optional<Prediction> float_top, integer_top;

    bool differs() const { return float_top && integer_top && float_top->label != integer_top->label; }
};

class PictureListModel : public QAbstractListModel {
    Q_OBJECT
  public:
    // As many are kept, the newest: a folder of 50,000 pictures would fill the memory with theirs.
    static constexpr size_t most_thumbnails = 1000;
    enum Role { name_role = Qt::UserRole, float_role, integer_role, differs_role, error_role };
    using QAbstractListModel::QAbstractListModel;

    int rowCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QString to_csv()
        const;  // file, both predictions with their probabilities, whether they agree, what is wrong with it
    QHash<int, QByteArray> roleNames() const override;

    int add(std::vector<Picture> pictures);  // gives them ids; yields the row of the first
    void remove(int row);
    const Picture& picture(int row) const { return pictures_[static_cast<size_t>(row)]; }
    const std::vector<Picture>& pictures() const { return pictures_; }
    int row_of(int id) const;  // -1 when it is gone

    void set_thumbnail(int id, const QImage& thumbnail);
    void set_error(int id, const QString& sentence);
    // Either may be empty: unknown.
    void set_predictions(int id, std::optional<Prediction> float_top, std::optional<Prediction> integer_top);
    void forget_predictions(bool float_too);

  signals:
    // Of a picture that is looked at; set_thumbnail() or set_error() is the answer.
    void thumbnail_wanted(int id) const;

  private:
    std::vector<Picture> pictures_;
    std::deque<int> thumbnails_;              // ids of those that have one, the oldest first
    mutable std::unordered_set<int> wanted_;  // asked for and not answered yet
    int next_id_ = 1;
};
