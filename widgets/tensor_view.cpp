// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tensor_view.h"

#include <QPushButton>
#include <QSignalBlocker>
#include <QVBoxLayout>
#include <algorithm>

#include "widgets/exporting.h"
#include "widgets/numbers.h"
#include "widgets/tensor_canvas.h"
#include "widgets/theme.h"

namespace {

QWidget* sentence(const QString& text) {
    auto* label = new QLabel(text);
    label->setAlignment(Qt::AlignCenter);
    label->setWordWrap(true);
    label->setMargin(20);
    return label;
}

}  // namespace

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
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addLayout(make_bar());
    static const QString problem = GlCanvas::problem();
    column->addWidget(problem.isEmpty() ? make_canvas() : sentence(problem), 1);
}

QLayout* TensorView::make_bar() {
    set_up_layout();
    colours_->addItems({QStringLiteral("viridis"), QStringLiteral("cividis")});
    colours_->setAccessibleName(QStringLiteral("Colours of magnitudes"));
    colours_->setToolTip(QStringLiteral(
        "For values without a sign; signed values and differences run from blue over neutral to orange"));
    contrast_->addItem(QStringLiteral("all"), 1.0);
    contrast_->addItem(QStringLiteral("99.9 %"), 0.999);
    contrast_->addItem(QStringLiteral("99 %"), 0.99);
    contrast_->setCurrentIndex(1);
    contrast_->setAccessibleName(QStringLiteral("Contrast"));
    contrast_->setToolTip(QStringLiteral(
        "Share of the values that the colours span; what lies beyond takes the end colour. A few outlier "
        "channels would hide all others."));
    for (QComboBox* b : {layout_, colours_, contrast_})
        connect(b, &QComboBox::currentIndexChanged, this, &TensorView::update_canvas);
    set_up_places();
    auto* bar = new QHBoxLayout;
    bar->setContentsMargins(4, 4, 4, 4);
    bar->setSpacing(4);
    bar->addLayout(make_switch());
    bar->addWidget(title_, 1);
    bar->addWidget(channel_label_);
    bar->addWidget(channel_);
    bar->addWidget(token_label_);
    bar->addWidget(token_);
    bar->addWidget(layout_);
    bar->addWidget(contrast_);
    bar->addWidget(colours_);
    return bar;
}

// Integer, float or their difference.
QLayout* TensorView::make_switch() {
    const struct {
        What what;
        const char *text, *tip;
    } choices[] = {
        {integer, "Integer", "The integer network's values, as real numbers (Space flips to float)"},
        {floating, "Float", "The float network's values, on the same colours"},
        {difference, "Difference", "Integer minus float, on colours of its own (D)"}};
    auto* row = new QHBoxLayout;
    row->setSpacing(0);
    for (const auto& c : choices) {
        auto* b = new QPushButton(c.text);
        b->setCheckable(true);
        b->setToolTip(c.tip);
        b->setAccessibleName(QStringLiteral("Show %1").arg(QString(c.text).toLower()));
        b->setObjectName(QStringLiteral("tensor_%1").arg(QString(c.text).toLower()));
        b->setFixedWidth(b->fontMetrics().horizontalAdvance(b->text()) + 16);  // the row is full as it is
        what_->addButton(b, c.what);
        row->addWidget(b);
    }
    what_->button(integer)->setChecked(true);
    connect(what_, &QButtonGroup::idClicked, this, &TensorView::update_canvas);
    return row;
}

void TensorView::set_up_layout() {
    layout_->addItem(QStringLiteral("tokens × channels"));
    layout_->addItem(QStringLiteral("patches as a picture"));
    layout_->setMinimumContentsLength(9);  // on a small screen
    layout_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    layout_->setAccessibleName(QStringLiteral("Layout"));
    layout_->setObjectName("tensor_layout");
    layout_->setToolTip(QStringLiteral(
        "All values, or one channel (of attention: one row) laid out as the picture's patches"));
}

// The channel and the token, which the selection has.
void TensorView::set_up_places() {
    channel_->setObjectName("tensor_channel");
    channel_->setAccessibleName(QStringLiteral("Channel"));
    channel_->setToolTip(QStringLiteral("The channel shown: the selected one everywhere"));
    connect(channel_, &QSpinBox::valueChanged, this, [this](int c) { this->selection().set_channel(c); });
    token_->setAccessibleName(QStringLiteral("Token"));
    token_->setToolTip(QStringLiteral("The token whose row is shown; 0 is the class token"));
    connect(token_, &QSpinBox::valueChanged, this, [this](int t) { this->selection().set_token(t); });
    // Shown once a tensor needs them; a window that opens with all of them is wider than a small screen.
    for (QWidget* w : std::initializer_list<QWidget*>{channel_label_, channel_, token_label_, token_})
        w->hide();
}

QWidget* TensorView::make_canvas() {
    canvas_ = new TensorCanvas;
    canvas_->setObjectName("tensor_canvas");
    canvas_->setAccessibleName(QStringLiteral("Tensor of the selected node"));
    canvas_->setToolTip(
        QStringLiteral("<p>The selected node's output on the picture shown. Wheel, drag, double click: "
                       "zoom, move, all of it; a click selects. The strips are root mean square errors, "
                       "integer − float, of every row and column.</p>"));
    canvas_->setMinimumSize(240, 140);
    exporting::offer_image(canvas_, QStringLiteral("tensor"));
    connect(canvas_, &TensorCanvas::picked, this, [this](int row, int col) {
        const bool tokens = slice_.planes == 1 || slice_.attention;
        if (tokens && slice_.rows > 1) this->selection().set_token(row);
        if (!slice_.attention && slice_.planes == 1) this->selection().set_channel(col);
    });
    return canvas_;
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
    // Showing another tensor is no choice of another channel, even where it has fewer.
    const auto show = [](QSpinBox* box, int count, int value) {
        const QSignalBlocker quiet(box);
        box->setRange(0, std::max(0, count - 1));
        box->setValue(value);
    };
    show(channel_, slice_.planes > 1 && !slice_.attention ? slice_.planes : slice_.cols,
         selection().channel());
    show(token_, slice_.rows, selection().token());
    if (canvas_) {
        canvas_->set_invitation(shown().invitation(QStringLiteral("to look into its tensors.")));
        canvas_->set_slice(slice_);
    }
    update_canvas();
}

void TensorView::update_canvas() {
    update_bar();
    if (canvas_) canvas_->set_look(look());
}

bool TensorView::as_picture() const { return slice_.side > 0 && layout_->currentIndex() == 1; }

// Values without a sign.
bool TensorView::magnitudes() const { return slice_.grid.is_unsigned && what() != difference; }

// Names what is shown, and leaves on the bar what can be chosen for it.
void TensorView::update_bar() {
    const ivit::Node* n = node();
    if (n && !slice_.empty()) {
        const QString head = slice_.attention ? QStringLiteral(", head %1").arg(slice_.plane) : QString(),
                      size = QStringLiteral("%1 × %2").arg(slice_.rows).arg(slice_.cols);
        title_->set_text(QString::fromStdString(n->name) + head + QStringLiteral("  ") + size, size);
    } else {
        title_->set_text({});
    }
    const bool both = !slice_.integers.empty() && !slice_.floats.empty();
    what_->button(floating)->setEnabled(!slice_.floats.empty());
    what_->button(difference)->setEnabled(both);
    if (!both && what() != integer && !slice_.empty()) what_->button(integer)->setChecked(true);
    layout_->setEnabled(slice_.side > 0);
    colours_->setEnabled(magnitudes());
    layout_->setItemText(0, slice_.attention    ? QStringLiteral("tokens × tokens")
                            : slice_.planes > 1 ? QStringLiteral("one colour plane")
                                                : QStringLiteral("tokens × channels"));
    const bool channel_matters = !slice_.attention && (as_picture() || slice_.planes > 1);
    channel_->setVisible(channel_matters);
    channel_label_->setVisible(channel_matters);
    token_->setVisible(as_picture() && slice_.attention);
    token_label_->setVisible(as_picture() && slice_.attention);
}

TensorLook TensorView::look() const {
    TensorLook look;
    look.what = what();
    look.layout = !as_picture()      ? TensorLook::matrix
                  : slice_.attention ? TensorLook::patches_of_row
                                     : TensorLook::patches_of_column;
    look.row = std::min(selection().token(), std::max(0, slice_.rows - 1));
    look.column = std::min(selection().channel(), std::max(0, slice_.cols - 1));
    if (slice_.empty()) return look;
    // Integer and float share their colours, so that flipping between them shows what differs and nothing
    // else.
    const auto limit = [&](double share) {
        return what() == difference ? slice_.magnitude(difference, share)
                                    : std::max(slice_.integers.empty() ? 0 : slice_.magnitude(integer, share),
                                               slice_.floats.empty() ? 0 : slice_.magnitude(floating, share));
    };
    const double share = contrast_->currentData().toDouble();
    const double most = std::max(limit(share), 1e-12);  // of nothing but zeros, too, a range of colours
    look.low = magnitudes() ? 0 : -most;
    look.high = most;
    look.clipped = share < 1 && limit(1) > most;
    look.colours = magnitudes() ? Colormap::sequential()[static_cast<size_t>(colours_->currentIndex())]
                   : Theme::instance().dark() ? &Colormap::diverging_dark()
                                              : &Colormap::diverging();
    return look;
}
