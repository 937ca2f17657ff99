// SPDX-License-Identifier: GPL-3.0-or-later
// The window and each canvas against committed pictures of them (tests/widgets/reference).
// IVIT_RENEW_REFERENCES=1 writes them anew, after somebody has looked at them. What they look
// like now lies in the build folder as reference_NAME.png.
#include <qcustomplot.h>
#include <QDir>

#include "tests/widgets/opened.h"
#include "widgets/attention_view.h"
#include "widgets/distribution_view.h"
#include "widgets/exporting.h"
#include "widgets/gl_canvas.h"
#include "widgets/latency_view.h"
#include "widgets/layers_view.h"
#include "widgets/lens_view.h"
#include "widgets/operator_view.h"
#include "widgets/predictions_view.h"
#include "widgets/tensor_view.h"
#include "widgets/theme.h"

namespace {

// Pixels of the original whose mean is compared: larger than a letter, smaller than a panel.
constexpr int cell = 16;

// Means of cell x cell pixels. Font rasterisation, hinting and antialiasing differ between machines and
// vanish here; a panel that is missing, moved, empty or in other colours does not.
QImage means(const QImage& picture, QSize size) {
    return picture.convertToFormat(QImage::Format_RGB32)
        .scaled(size, Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
}

struct Difference {
    double mean = 0;    // of all cells and colours, 0..255
    double strong = 0;  // share of the cells that differ by more than 24 in a colour
    bool acceptable() const { return mean < 2.5 && strong < 0.02; }
};

Difference difference(const QImage& a, const QImage& b, QSize original) {
    const QSize cells(std::max(1, original.width() / cell), std::max(1, original.height() / cell));
    const QImage x = means(a, cells), y = means(b, cells);
    Difference d;
    for (int row = 0; row < cells.height(); ++row) {
        for (int column = 0; column < cells.width(); ++column) {
            const QRgb p = x.pixel(column, row), q = y.pixel(column, row);
            const int r = std::abs(qRed(p) - qRed(q)), g = std::abs(qGreen(p) - qGreen(q)),
                      blue = std::abs(qBlue(p) - qBlue(q));
            d.mean += (r + g + blue) / 3.0;
            d.strong += std::max({r, g, blue}) > 24;
        }
    }
    const double n = double(cells.width()) * cells.height();
    d.mean /= n;
    d.strong /= n;
    return d;
}

QString file_of(const char* name) {
    return QStringLiteral(IVIT_SOURCE_DIR "/tests/widgets/reference/%1.png").arg(name);
}

void check_against(const char* name, const QImage& now) {
    INFO(name);
    REQUIRE_FALSE(now.isNull());
    const QString kept = QStringLiteral(IVIT_BINARY_DIR "/reference_%1.png").arg(name);
    now.save(kept);
    if (qEnvironmentVariableIsSet("IVIT_RENEW_REFERENCES")) {
        // Half the size is enough for people, and a quarter of the bytes.
        const QImage half = now.convertToFormat(QImage::Format_RGB32)
                                .scaled(now.size() / 2, Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
        REQUIRE(half.save(file_of(name)));
        return;
    }
    const QImage reference(file_of(name));
    REQUIRE_FALSE(reference.isNull());
    CHECK(std::abs(reference.width() - now.width() / 2) <= 8);
    CHECK(std::abs(reference.height() - now.height() / 2) <= 8);
    const Difference d = difference(reference, now, now.size());
    INFO("mean difference " << d.mean << ", cells that differ strongly " << 100 * d.strong
                            << " %; what it looks like now: " << kept.toStdString());
    CHECK(d.acceptable());
}

// Timings made up, so that the picture does not depend on the machine.
LatencySamples made_up(const ivit::Graph& g) {
    LatencySamples s;
    s.backend.name = "cpu";
    s.backend.device = "a made-up machine";
    s.backend.threads = 2;
    s.gpu_absent = "this picture was made without one";
    for (int i = 0; i < 40; ++i) {
        s.integer_ms.push_back(2 + 0.01 * (i % 7));
        s.float_ms.push_back(8 + 0.05 * (i % 5));
    }
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        s.integer_node_ms.push_back(0.01 + 0.004 * double(i % 9));
        s.float_node_ms.push_back(0.04 + 0.012 * double(i % 7));
    }
    return s;
}

}  // namespace

TEST_CASE("reference: the window and each canvas look as they did", "[reference]") {
    const Theme::Choice before = Theme::instance().choice();
    Theme::instance().set_choice(Theme::Choice::light);
    {
        Opened o(3);
        MainWindow& w = o.window;
        const ivit::Graph& g = *w.bench().graph();
        w.bench().selection().set_node(g.find("blocks.6.attn.softmax"));
        w.findChild<QAction*>("W4A8")->trigger();  // a ghost, and changes beside the numbers
        REQUIRE(o.settled());
        const auto show = [&](QWidget* tab) {
            w.tabs()->setCurrentWidget(tab);
            QTest::qWait(60);
        };
        show(w.attention());
        check_against("window_light", w.picture());
        check_against("attention", exporting::grab(w.attention()->canvas()));
        check_against("prediction", exporting::grab(w.predictions()));
        check_against("sqnr", exporting::grab(w.layers()->plot()));
        show(w.distribution());
        check_against("distribution", exporting::grab(w.distribution()->canvas()));
        show(w.operators());
        check_against("operator", exporting::grab(w.operators()->canvas()));
        auto* lens = w.findChild<LensView*>();
        show(lens);
        check_against("lens", exporting::grab(lens));
        show(w.latency());
        w.latency()->set_latency(made_up(g));
        QTest::qWait(30);
        check_against("latency", exporting::grab(w.latency()));
        if (w.tensor()->has_canvas()) {
            show(w.tensor());
            check_against("tensor", exporting::grab(w.tensor()->canvas()));
            w.tensor()->set_what(TensorView::difference);
            check_against("tensor_difference", exporting::grab(w.tensor()->canvas()));
            w.tensor()->set_what(TensorView::integer);
            Theme::instance().set_choice(Theme::Choice::dark);
            QTest::qWait(60);
            check_against("window_dark", w.picture());
        } else {
            WARN("the tensor's pictures were not compared: " << GlCanvas::problem().toStdString());
        }
    }
    Theme::instance().set_choice(before);
}

// A comparison that nothing can fail would prove nothing.
TEST_CASE("reference: the comparison sees what a person would", "[reference]") {
    Opened o(1);
    MainWindow& w = o.window;
    w.bench().selection().set_node(w.bench().graph()->find("blocks.6.attn.softmax"));
    QTest::qWait(60);
    const auto differs = [](const QImage& a, const QImage& b) {
        return !difference(a, b, a.size()).acceptable();
    };
    const QImage plot = exporting::grab(w.layers()->plot()),
                 attention = exporting::grab(w.attention()->canvas()), window = w.picture();
    CHECK_FALSE(differs(window, window));
    // The same letters drawn by another rasteriser: everything moved by a third of a pixel.
    const QImage moved =
        window.scaled(window.size() + QSize(1, 1), Qt::IgnoreAspectRatio, Qt::SmoothTransformation)
            .copy(0, 0, window.width(), window.height());
    CHECK_FALSE(differs(window, moved));
    w.bench().selection().set_token(20);
    QTest::qWait(30);
    CHECK(differs(attention, exporting::grab(w.attention()->canvas())));
    w.findChild<QAction*>("W4A4")->trigger();
    REQUIRE(o.settled());
    QTest::qWait(60);
    CHECK(differs(plot, exporting::grab(w.layers()->plot())));
    w.tabs()->setCurrentWidget(w.latency());
    QTest::qWait(60);
    CHECK(differs(window, w.picture()));
}
