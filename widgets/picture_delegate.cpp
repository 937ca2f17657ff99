// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/picture_delegate.h"

#include <QPainter>

#include "widgets/models/picture_list_model.h"
#include "widgets/theme.h"

namespace {

constexpr int thumb = 56, pad = 6;

void paint_background(QPainter& p, const QStyleOptionViewItem& option) {
    const QPalette& palette = option.palette;
    const QRect& r = option.rect;
    if (option.state & QStyle::State_Selected) {
        QColor c = palette.color(QPalette::Highlight);
        c.setAlpha(48);
        p.fillRect(r, c);
        p.fillRect(QRect(r.left(), r.top(), 3, r.height()), palette.color(QPalette::Highlight));
    } else if (option.state & QStyle::State_MouseOver) {
        p.fillRect(r, palette.color(QPalette::AlternateBase));
    }
}

void paint_thumbnail(QPainter& p, const QRect& place, const QImage& image, bool broken) {
    if (!image.isNull()) return p.drawImage(place, image);
    const Theme& theme = Theme::instance();
    p.fillRect(place, theme.grid());
    p.setPen(theme.muted());
    p.setFont(theme.figures(18));
    p.drawText(place, Qt::AlignCenter, broken ? QStringLiteral("⚠") : QStringLiteral("…"));
}

// One network's answer in the painter's font: "golden retriever, ... 0.931", of which the number must not be
// what is cut. Without an answer: why there is none.
void paint_answer(QPainter& p, const QRect& place, const QString& answer, const QString& otherwise,
                  const QColor& colour, const QColor& ink) {
    const Theme& theme = Theme::instance();
    const QFontMetrics fm(p.font());
    p.setPen(Qt::NoPen);
    p.setBrush(answer.isEmpty() ? theme.grid() : colour);
    p.drawEllipse(QPointF(place.left() + 3.5, place.top() + fm.height() / 2.0), 3, 3);
    const int x = place.left() + 11, y = place.top() + fm.ascent();
    p.setPen(theme.muted());
    if (answer.isEmpty()) return p.drawText(x, y, otherwise);
    p.drawText(place, Qt::AlignRight, answer.section(QLatin1Char(' '), -1));
    const QString label = answer.section(QLatin1Char(' '), 0, -2).section(QLatin1Char(','), 0, 0);
    const int number_width = fm.horizontalAdvance(QStringLiteral("0.000"));
    p.setPen(ink);
    p.drawText(x, y, fm.elidedText(label, Qt::ElideRight, place.width() - 11 - number_width - 4));
}

void paint_badge(QPainter& p, const QRect& picture) {
    const Theme& theme = Theme::instance();
    const QRectF badge(picture.right() - 17, picture.top() - 1, 18, 18);
    p.setPen(Qt::NoPen);
    p.setBrush(theme.warning());
    p.drawEllipse(badge);
    p.setPen(Qt::white);
    p.setFont(theme.figures(13, true));
    p.drawText(badge, Qt::AlignCenter, QStringLiteral("≠"));
}

}  // namespace

QSize PictureDelegate::sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const {
    return {140, thumb + 2 * pad};
}

void PictureDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option,
                            const QModelIndex& index) const {
    const Theme& theme = Theme::instance();
    const QColor ink = option.palette.color(QPalette::Text);
    const bool broken = !index.data(PictureListModel::error_role).toString().isEmpty();
    QPainter& p = *painter;
    p.save();
    p.setRenderHint(QPainter::Antialiasing);
    p.setRenderHint(QPainter::SmoothPixmapTransform);
    paint_background(p, option);
    const QRect& r = option.rect;
    const QRect picture(r.left() + pad + 3, r.top() + pad, thumb, thumb);
    paint_thumbnail(p, picture, index.data(Qt::DecorationRole).value<QImage>(), broken);

    const QRect text(picture.right() + 9, r.top() + pad, r.right() - picture.right() - 9 - pad, thumb);
    p.setFont(theme.figures(12, option.state & QStyle::State_Selected));
    p.setPen(ink);
    const QFontMetrics name(p.font());
    p.drawText(
        text.left(), text.top() + name.ascent(),
        name.elidedText(index.data(PictureListModel::name_role).toString(), Qt::ElideMiddle, text.width()));
    p.setFont(theme.figures(11));
    const QFontMetrics fm(p.font());
    QRect line(text.left(), text.top() + name.height() + 3, text.width(), fm.height());
    if (broken) {
        p.setPen(theme.warning());
        line.setBottom(text.bottom());
        p.drawText(line, Qt::TextWordWrap, QStringLiteral("cannot be read"));
    } else {
        const QString floats = index.data(PictureListModel::float_role).toString(),
                      integers = index.data(PictureListModel::integer_role).toString(),
                      not_yet = QStringLiteral("not run yet");
        paint_answer(p, line, floats, integers.isEmpty() ? not_yet : QStringLiteral("no float network"),
                     theme.float_colour(), ink);
        line.translate(0, fm.height() + 1);
        paint_answer(p, line, integers, not_yet, theme.integer_colour(), ink);
        if (index.data(PictureListModel::differs_role).toBool()) paint_badge(p, picture);
    }
    p.restore();
}
