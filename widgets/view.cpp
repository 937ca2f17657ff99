// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/view.h"

#include <QPainter>
#include <QTimer>

#include "widgets/theme.h"

// Dims what is beneath it. Appears only when the wait is long enough to be noticed.
class StaleVeil : public QWidget {
  public:
    explicit StaleVeil(QWidget* parent) : QWidget(parent) {
        setAttribute(Qt::WA_TransparentForMouseEvents);
        hide();
        timer_.setSingleShot(true);
        QObject::connect(&timer_, &QTimer::timeout, this, [this] {
            raise();
            show();
        });
    }
    void set(bool stale, const QString& caption) {
        caption_ = caption;
        if (stale && !timer_.isActive() && !isVisible()) timer_.start(180);
        if (!stale) {
            timer_.stop();
            hide();
        }
    }

  protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        QColor veil = palette().color(QPalette::Window);
        veil.setAlpha(140);
        p.fillRect(rect(), veil);
        const QString text = caption_.isEmpty()
                                 ? QStringLiteral("working …")
                                 : QStringLiteral("still %1 — newer on its way …").arg(caption_);
        p.setFont(Theme::instance().figures(12));
        const QFontMetrics metrics(p.font());
        const QString shown = metrics.elidedText(text, Qt::ElideMiddle, std::max(40, width() - 32));
        QRect chip = metrics.boundingRect(shown).adjusted(-10, -4, 10, 4);
        chip.moveCenter({width() / 2, 0});
        chip.moveTop(6);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(palette().color(QPalette::ToolTipBase));
        p.drawRoundedRect(chip, 6, 6);
        p.setPen(palette().color(QPalette::ToolTipText));
        p.drawText(chip, Qt::AlignCenter, shown);
    }

  private:
    QTimer timer_;
    QString caption_;
};

View::View(const QString& name, Selection& selection, QWidget* parent)
    : QWidget(parent), name_(name), selection_(selection), veil_(new StaleVeil(this)) {
    setAccessibleName(name);
    for (const auto signal : {&Selection::node_changed, &Selection::head_changed, &Selection::token_changed,
                              &Selection::channel_changed}) {
        connect(&selection_, signal, this, &View::touch);
    }
    connect(&Theme::instance(), &Theme::changed, this, &View::touch);
}

const ivit::Node* View::node() const {
    const ivit::Graph* g = shown_.graph();
    const int i = selection_.node();
    return g && i >= 0 && static_cast<size_t>(i) < g->nodes.size() ? &g->nodes[static_cast<size_t>(i)]
                                                                   : nullptr;
}

void View::set_results(const Shown& shown) {
    shown_ = shown;
    caption_.clear();
    if (shown_.current) {
        const ivit::Request& r = *shown_.current->request;
        const ivit::QuantConfig& c = r.quantized ? r.quantized->config : r.config;
        caption_ =
            QString::fromStdString(c.label()) + QStringLiteral(" · ") + QString::fromStdString(r.picture);
    }
    touch();
}

void View::set_stale(bool stale) { veil_->set(stale, caption_); }

void View::touch() {
    dirty_ = !isVisible();
    if (!dirty_) refresh();
}

void View::showEvent(QShowEvent* event) {
    QWidget::showEvent(event);
    if (!dirty_) return;
    dirty_ = false;
    refresh();
}

void View::resizeEvent(QResizeEvent* event) {
    QWidget::resizeEvent(event);
    veil_->setGeometry(rect());
}

QHBoxLayout* View::new_bar() {
    auto* bar = new QHBoxLayout;
    bar->setContentsMargins(8, 4, 4, 4);
    bar->setSpacing(4);  // else the view's own, which is 0
    return bar;
}

void View::lay_out(QHBoxLayout* bar, QWidget* body) {
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->setSpacing(0);
    layout->addLayout(bar);
    layout->addWidget(body, 1);
}
