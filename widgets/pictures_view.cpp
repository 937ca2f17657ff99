// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/pictures_view.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QLabel>
#include <QPainter>
#include <QStackedLayout>
#include <QStyledItemDelegate>
#include <QVBoxLayout>

#include "widgets/theme.h"

namespace {

constexpr int thumb = 56, pad = 6;

class PictureDelegate : public QStyledItemDelegate {
  public:
    using QStyledItemDelegate::QStyledItemDelegate;

    QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override {
        return {140, thumb + 2 * pad};
    }

    void paint(QPainter* p, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
        const Theme& theme = Theme::instance();
        const QPalette& palette = option.palette;
        const bool selected = option.state & QStyle::State_Selected;
        p->save();
        p->setRenderHint(QPainter::Antialiasing);
        p->setRenderHint(QPainter::SmoothPixmapTransform);
        QRect r = option.rect;
        if (selected) {
            QColor c = palette.color(QPalette::Highlight);
            c.setAlpha(48);
            p->fillRect(r, c);
            p->fillRect(QRect(r.left(), r.top(), 3, r.height()), palette.color(QPalette::Highlight));
        } else if (option.state & QStyle::State_MouseOver) {
            p->fillRect(r, palette.color(QPalette::AlternateBase));
        }
        const QRect picture(r.left() + pad + 3, r.top() + pad, thumb, thumb);
        const QImage image = index.data(Qt::DecorationRole).value<QImage>();
        const QString error = index.data(PictureListModel::error_role).toString();
        if (image.isNull()) {
            p->fillRect(picture, theme.grid());
            p->setPen(theme.muted());
            p->setFont(theme.figures(18));
            p->drawText(picture, Qt::AlignCenter,
                        error.isEmpty() ? QStringLiteral("…") : QStringLiteral("⚠"));
        } else {
            p->drawImage(picture, image);
        }
        QRect text(picture.right() + 9, r.top() + pad, r.right() - picture.right() - 9 - pad, thumb);
        const QFont name_font = theme.figures(12, selected), small = theme.figures(11);
        const QFontMetrics name_metrics(name_font), small_metrics(small);
        p->setFont(name_font);
        p->setPen(palette.color(QPalette::Text));
        p->drawText(text.left(), text.top() + name_metrics.ascent(),
                    name_metrics.elidedText(index.data(PictureListModel::name_role).toString(),
                                            Qt::ElideMiddle, text.width()));
        p->setFont(small);
        int y = text.top() + name_metrics.height() + 3;
        if (!error.isEmpty()) {
            p->setPen(theme.warning());
            p->drawText(QRect(text.left(), y, text.width(), text.bottom() - y), Qt::TextWordWrap,
                        QStringLiteral("cannot be read"));
        } else {
            const bool differs = index.data(PictureListModel::differs_role).toBool();
            const auto line = [&](int role, const QColor& colour) {
                const QString full = index.data(role).toString();
                p->setPen(Qt::NoPen);
                p->setBrush(full.isEmpty() ? theme.grid() : colour);
                p->drawEllipse(QPointF(text.left() + 3.5, y + small_metrics.height() / 2.0), 3, 3);
                // "golden retriever, ... 0.931": the number must not be what is cut.
                const QString number = full.section(QLatin1Char(' '), -1),
                              label = full.section(QLatin1Char(' '), 0, -2);
                const int number_width = small_metrics.horizontalAdvance(QStringLiteral("0.000"));
                p->setPen(theme.muted());
                p->drawText(QRect(text.left(), y, text.width(), small_metrics.height()), Qt::AlignRight,
                            number);
                if (full.isEmpty()) {
                    const bool alone = role == PictureListModel::float_role &&
                                       !index.data(PictureListModel::integer_role).toString().isEmpty();
                    p->drawText(text.left() + 11, y + small_metrics.ascent(),
                                alone ? QStringLiteral("no float network") : QStringLiteral("not run yet"));
                    y += small_metrics.height() + 1;
                    return;
                }
                p->setPen(palette.color(QPalette::Text));
                p->drawText(text.left() + 11, y + small_metrics.ascent(),
                            small_metrics.elidedText(label.section(QLatin1Char(','), 0, 0), Qt::ElideRight,
                                                     text.width() - 11 - number_width - 4));
                y += small_metrics.height() + 1;
            };
            line(PictureListModel::float_role, theme.float_colour());
            line(PictureListModel::integer_role, theme.integer_colour());
            if (differs) {
                const QRectF badge(picture.right() - 17, picture.top() - 1, 18, 18);
                p->setPen(Qt::NoPen);
                p->setBrush(theme.warning());
                p->drawEllipse(badge);
                p->setPen(Qt::white);
                p->setFont(theme.figures(13, true));
                p->drawText(badge, Qt::AlignCenter, QStringLiteral("≠"));
            }
        }
        p->restore();
    }
};

}  // namespace

PicturesView::PicturesView(Workbench& bench, QWidget* parent)
    : QWidget(parent), bench_(bench), list_(new QListView) {
    setAccessibleName(QStringLiteral("Pictures"));
    list_->setAccessibleName(QStringLiteral("Pictures"));
    list_->setObjectName("pictures");
    list_->setToolTip(
        QStringLiteral("What both networks say of every picture; ≠ marks where they differ. Drop files, "
                       "folders or pictures anywhere."));
    list_->setModel(&bench.pictures());
    list_->setItemDelegate(new PictureDelegate(list_));
    list_->setUniformItemSizes(true);  // 2000 of them scroll as 20 do
    list_->setMouseTracking(true);
    list_->setFrameShape(QFrame::NoFrame);
    list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    list_->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    auto* hint = new QLabel(QStringLiteral("Drop pictures or folders here,\nor press Ctrl+O."));
    hint->setAlignment(Qt::AlignCenter);
    hint->setWordWrap(true);
    hint->setAttribute(Qt::WA_TransparentForMouseEvents);
    auto* layout = new QStackedLayout(this);
    layout->setStackingMode(QStackedLayout::StackAll);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(hint);
    layout->addWidget(list_);
    const auto update_hint = [this, hint, layout] {
        const bool empty = bench_.pictures().rowCount() == 0;
        hint->setVisible(empty);
        layout->setCurrentWidget(empty ? static_cast<QWidget*>(hint) : list_);
    };
    update_hint();
    connect(&bench.pictures(), &QAbstractItemModel::rowsInserted, this, update_hint);
    connect(&bench.pictures(), &QAbstractItemModel::rowsRemoved, this, update_hint);

    connect(list_->selectionModel(), &QItemSelectionModel::currentChanged, this,
            [this](const QModelIndex& now) {
                if (now.isValid()) bench_.selection().set_picture(now.row());
            });
    connect(list_, &QListView::clicked, this, [this](const QModelIndex& i) { bench_.show_picture(i.row()); });
    const auto follow = [this] {
        const int row = bench_.selection().picture();
        if (list_->currentIndex().row() != row) list_->setCurrentIndex(bench_.pictures().index(row));
    };
    connect(&bench.selection(), &Selection::picture_changed, this, follow);
    connect(&bench.pictures(), &QAbstractItemModel::rowsRemoved, this, follow, Qt::QueuedConnection);
    auto* remove = new QAction(QStringLiteral("Remove from the strip"), this);
    remove->setShortcut(QKeySequence::Delete);
    remove->setShortcutContext(Qt::WidgetWithChildrenShortcut);
    connect(remove, &QAction::triggered, this,
            [this] { bench_.remove_picture(list_->currentIndex().row()); });
    auto* copy = new QAction(QStringLiteral("Copy as CSV"), this);
    copy->setShortcut(QKeySequence::Copy);
    copy->setShortcutContext(Qt::WidgetShortcut);
    connect(copy, &QAction::triggered, this,
            [this] { QGuiApplication::clipboard()->setText(bench_.pictures().to_csv()); });
    list_->addAction(copy);
    list_->addAction(remove);
    list_->setContextMenuPolicy(Qt::ActionsContextMenu);
}
