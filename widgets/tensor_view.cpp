// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_view.h"

#include <QPushButton>
#include <QVBoxLayout>
#include <cmath>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/tensor_canvas.h"
#include "widgets/theme.h"

TensorView::TensorView(Selection& selection, QWidget* parent)
    : View(QStringLiteral("Tensor"), selection, parent),
      what_(new QButtonGroup(this)),
      layout_(new QComboBox),
      colours_(new QComboBox),
      contrast_(new QComboBox),
      channel_(new QSpinBox),
      token_(new QSpinBox),
      title_(new ElidedLabel(Qt::ElideMiddle)),
      channel_label_(new QLabel("Channel")),
      token_label_(new QLabel("Token")) {
    auto* bar = new QHBoxLayout;
    bar->setContentsMargins(4, 4, 4, 4);
    bar->setSpacing(4);
    const char* names[] = {"Integer", "Float", "Difference"};
    const char* tips[] = {"The integer network's values, as real numbers (Space flips to float)",
                          "The float network's values, on the same colours",
                          "Integer minus float, on colours of its own (D)"};
    auto* group = new QHBoxLayout;
    group->setSpacing(0);
    for (int i = 0; i < 3; ++i) {
        auto* b = new QPushButton(names[i]);
        b->setCheckable(true);
        b->setToolTip(tips[i]);
        b->setAccessibleName(QStringLiteral("Show %1").arg(QString(names[i]).toLower()));
        b->setObjectName(QStringLiteral("tensor_%1").arg(QString(names[i]).toLower()));
        b->setFixedWidth(b->fontMetrics().horizontalAdvance(b->text()) + 16);  // the row is full as it is
        what_->addButton(b, i);
        group->addWidget(b);
    }
    what_->button(0)->setChecked(true);
    layout_->addItem(QStringLiteral("tokens × channels"));
    layout_->addItem(QStringLiteral("patches as a picture"));
    layout_->setMinimumContentsLength(9);
    layout_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    layout_->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    layout_->setMaximumWidth(layout_->fontMetrics().horizontalAdvance(layout_->itemText(1)) + 44);
    layout_->setAccessibleName(QStringLiteral("Layout"));
    layout_->setObjectName("tensor_layout");
    layout_->setToolTip(QStringLiteral(
        "All values, or one channel (of attention: one row) laid out as the picture's patches"));
    colours_->addItem(QStringLiteral("viridis"));
    colours_->addItem(QStringLiteral("cividis"));
    colours_->setAccessibleName(QStringLiteral("Colours of magnitudes"));
    colours_->setToolTip(QStringLiteral(
        "For values without a sign; signed values and differences run from blue over neutral to orange"));
    for (const char* c : {"all", "99.9 %", "99 %"}) contrast_->addItem(QString(c));
    contrast_->setCurrentIndex(1);
    contrast_->setAccessibleName(QStringLiteral("Contrast"));
    contrast_->setToolTip(QStringLiteral(
        "Share of the values that the colours span; what lies beyond takes the end colour. A few outlier "
        "channels would hide all others."));
    channel_->setObjectName("tensor_channel");
    channel_->setAccessibleName(QStringLiteral("Channel"));
    token_->setAccessibleName(QStringLiteral("Token"));
    channel_->setToolTip(QStringLiteral("The channel shown: the selected one everywhere"));
    token_->setToolTip(QStringLiteral("The token whose row is shown; 0 is the class token"));
    bar->addLayout(group);
    bar->addWidget(title_, 1);
    bar->addWidget(channel_label_);
    bar->addWidget(channel_);
    bar->addWidget(token_label_);
    bar->addWidget(token_);
    bar->addWidget(layout_, 1);
    bar->addWidget(contrast_);
    bar->addWidget(colours_);
    // Shown once a tensor needs them; a window that opens with all of them is wider than a small screen.
    for (QWidget* w : std::initializer_list<QWidget*>{channel_label_, channel_, token_label_, token_})
        w->hide();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addLayout(bar);
    static const QString problem = GlCanvas::problem();
    if (problem.isEmpty()) {
        canvas_ = new TensorCanvas;
        canvas_->setObjectName("tensor_canvas");
        canvas_->setAccessibleName(QStringLiteral("Tensor of the selected node"));
        canvas_->setToolTip(
            QStringLiteral("<p>The selected node's output on the picture shown. Wheel, drag, double click: "
                           "zoom, move, all of it; "
                           "a click selects. The strips are root mean square errors, integer − float, of "
                           "every row and column.</p>"));
        canvas_->setMinimumSize(240, 140);
        exporting::offer_image(canvas_, QStringLiteral("tensor"));
        connect(canvas_, &TensorCanvas::picked, this, [this](int row, int col) {
            const bool tokens = slice_.planes == 1 || slice_.attention;
            if (tokens && slice_.rows > 1) this->selection().set_token(row);
            if (!slice_.attention && slice_.planes == 1) this->selection().set_channel(col);
        });
        column->addWidget(canvas_, 1);
    } else {
        auto* sentence = new QLabel(problem);
        sentence->setAlignment(Qt::AlignCenter);
        sentence->setWordWrap(true);
        sentence->setMargin(20);
        column->addWidget(sentence, 1);
    }
    connect(what_, &QButtonGroup::idClicked, this, &TensorView::update_canvas);
    for (QComboBox* b : {layout_, colours_, contrast_})
        connect(b, &QComboBox::currentIndexChanged, this, &TensorView::update_canvas);
    connect(channel_, &QSpinBox::valueChanged, this, [this](int c) {
        if (!refreshing_) this->selection().set_channel(c);
    });
    connect(token_, &QSpinBox::valueChanged, this, [this](int t) {
        if (!refreshing_) this->selection().set_token(t);
    });
}

QWidget* TensorView::canvas() { return canvas_ ? static_cast<QWidget*>(canvas_) : this; }

TensorView::What TensorView::what() const { return static_cast<What>(what_->checkedId()); }

void TensorView::set_what(What w) {
    if (w == difference && what() != difference) before_difference_ = what();
    what_->button(w)->setChecked(true);
    update_canvas();
}

void TensorView::flip() { set_what(what() == integer ? floating : integer); }

void TensorView::show_difference() { set_what(what() == difference ? before_difference_ : difference); }

void TensorView::zoom(double factor) {
    if (!canvas_) return;
    if (factor == 0) return canvas_->fit();
    canvas_->set_zoom(canvas_->zoom() * factor, QPointF(canvas_->width() / 2.0, canvas_->height() / 2.0));
}

void TensorView::refresh() {
    const ivit::Comparison* c = shown().comparison();
    slice_ = c ? tensor_slice(c->integer_trace.get(), c->float_trace.get(), selection().node(),
                              selection().head(), selection().channel())
               : TensorSlice();
    refreshing_ = true;
    channel_->setRange(
        0, std::max(0, (slice_.planes > 1 && !slice_.attention ? slice_.planes : slice_.cols) - 1));
    channel_->setValue(selection().channel());
    token_->setRange(0, std::max(0, slice_.rows - 1));
    token_->setValue(selection().token());
    refreshing_ = false;
    if (canvas_) {
        canvas_->set_invitation(shown().invitation(QStringLiteral("to look into its tensors.")));
        canvas_->set_slice(slice_);
    }
    update_canvas();
}

void TensorView::update_canvas() {
    const ivit::Node* n = node();
    if (!n || slice_.empty()) {
        title_->set_text({});
    } else {
        QString title = QString::fromStdString(n->name);
        if (slice_.attention) title += QStringLiteral(", head %1").arg(slice_.plane);
        title += QStringLiteral("  %1 × %2").arg(slice_.rows).arg(slice_.cols);
        title_->set_text(title);
    }
    const bool both = !slice_.integers.empty() && !slice_.floats.empty();
    what_->button(floating)->setEnabled(!slice_.floats.empty());
    what_->button(difference)->setEnabled(both);
    if (!both && what() != integer && !slice_.empty()) what_->button(integer)->setChecked(true);
    const bool picture = slice_.side > 0;
    layout_->setEnabled(picture);
    layout_->setItemText(0, slice_.attention    ? QStringLiteral("tokens × tokens")
                            : slice_.planes > 1 ? QStringLiteral("one colour plane")
                                                : QStringLiteral("tokens × channels"));
    const bool as_picture = picture && layout_->currentIndex() == 1;
    const bool channel_matters = !slice_.attention && (as_picture || slice_.planes > 1);
    channel_->setVisible(channel_matters);
    channel_label_->setVisible(channel_matters);
    token_->setVisible(as_picture && slice_.attention);
    token_label_->setVisible(as_picture && slice_.attention);
    if (!canvas_) return;
    TensorLook look;
    look.what = what();
    look.layout = !as_picture        ? TensorLook::matrix
                  : slice_.attention ? TensorLook::patches_of_row
                                     : TensorLook::patches_of_column;
    look.row = std::min(selection().token(), std::max(0, slice_.rows - 1));
    look.column = std::min(selection().channel(), std::max(0, slice_.cols - 1));
    if (!slice_.empty()) {
        const double share = contrast_->currentIndex() == 0   ? 1
                             : contrast_->currentIndex() == 1 ? 0.999
                                                              : 0.99;
        const bool magnitudes = slice_.grid.is_unsigned && what() != difference;
        // Integer and float share their colours, so that flipping between them shows what differs and nothing
        // else.
        const auto limit = [&](double q) {
            return what() == difference ? slice_.magnitude(2, q)
                                        : std::max(slice_.integers.empty() ? 0 : slice_.magnitude(0, q),
                                                   slice_.floats.empty() ? 0 : slice_.magnitude(1, q));
        };
        const double most = std::max(limit(share), 1e-12);
        look.low = magnitudes ? 0 : -most;
        look.high = most;
        look.clipped = share < 1 && limit(1) > most;
        look.colours = magnitudes ? Colormap::sequential()[static_cast<size_t>(colours_->currentIndex())]
                       : Theme::instance().dark() ? &Colormap::diverging_dark()
                                                  : &Colormap::diverging();
    }
    canvas_->set_look(look);
}
