// SPDX-License-Identifier: GPL-3.0-or-later
// The window driven as a person drives it, with the results read back from the views.
#include "tests/widgets/opened.h"

#include <qcustomplot.h>
#include <QFile>
#include <QFileDialog>
#include <QSlider>
#include <QTimer>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "widgets/attention_view.h"
#include "widgets/distribution_view.h"
#include "widgets/exporting.h"
#include "widgets/layers_view.h"
#include "widgets/main_window.h"
#include "widgets/model_card.h"
#include "widgets/predictions_view.h"
#include "widgets/quantization_view.h"
#include "widgets/status_area.h"
#include "widgets/tensor_canvas.h"
#include "widgets/tensor_view.h"

using fixture::wait_until;

TEST_CASE("window: with nothing open every view says what to do", "[window]") {
    MainWindow window;
    window.show();
    REQUIRE(QTest::qWaitForWindowExposed(&window));
    for (int i = 0; i < window.tabs()->count(); ++i) {
        window.tabs()->setCurrentIndex(i);
        QTest::qWait(20);
    }
    CHECK(window.predictions()->verdict().isEmpty());
    CHECK(window.layers()->model().rowCount() == 0);
    CHECK(window.model_card()->text().contains("No model"));
    for (const int key : {Qt::Key_Up, Qt::Key_Down, Qt::Key_Left, Qt::Key_Right, Qt::Key_Space, Qt::Key_D,
                          Qt::Key_P, Qt::Key_BracketRight}) {
        QTest::keyClick(&window, static_cast<Qt::Key>(key));
    }
    window.bench().change_config(ivit::QuantConfig::from_spec("W4A8"), "W4A8");
    window.bench().undo_stack().undo();
}

TEST_CASE("window: open a picture, change a bit-width, pick a patch, export", "[window]") {
    Opened o;
    MainWindow& w = o.window;
    PredictionsView& p = *w.predictions();
    REQUIRE(p.integer_rows().size() == 5);
    REQUIRE(p.float_rows().size() == 5);
    CHECK_FALSE(p.verdict().isEmpty());
    double total = 0;
    for (const auto& r : p.integer_rows()) total += r.probability;
    CHECK(total <= 1 + 1e-9);
    const double before = w.bench().shown().comparison()->logits.sqnr_db;
    CHECK(before > 15);

    // A bit-width, by the switch in the toolbar.
    auto* w4a4 = w.findChild<QAction*>("W4A4");
    REQUIRE(w4a4);
    w4a4->trigger();
    CHECK(w.bench().stale());
    REQUIRE(o.settled());
    CHECK(p.caption().startsWith("W4A4"));
    CHECK(w.bench().shown().comparison()->logits.sqnr_db < before);
    // What was before is the ghost.
    REQUIRE(w.bench().shown().ghost);
    CHECK(w.bench().shown().ghost->comparison.logits.sqnr_db == before);
    REQUIRE(p.integer_rows()[0].before);
    const int fc1 = w.bench().graph()->find("blocks.0.mlp.fc1");
    CHECK(w.layers()->model().index(fc1, NodeTableModel::bits_column).data().toString() == "W4 A4");

    // Undone and done again, by the keys.
    QTest::keyClick(&w, Qt::Key_Z, Qt::ControlModifier);
    REQUIRE(o.settled());
    CHECK(p.caption().startsWith("W8A8"));
    CHECK(w.bench().shown().comparison()->logits.sqnr_db == before);
    QTest::keyClick(&w, Qt::Key_Y, Qt::ControlModifier);
    REQUIRE(o.settled());
    CHECK(p.caption().startsWith("W4A4"));

    // A patch, by the mouse.
    w.tabs()->setCurrentWidget(w.attention());
    auto* panels = w.attention()->canvas();
    QTest::qWait(50);
    const std::vector<double> class_row = w.attention()->integer_row();
    REQUIRE_FALSE(class_row.empty());
    bool picked = false;
    for (int y = 60; y < panels->height() - 40 && !picked; y += 15) {
        for (int x = 10; x < panels->width() && !picked; x += 15) {
            QTest::mouseClick(panels, Qt::LeftButton, {}, {x, y});
            picked = w.bench().selection().token() > 0;
        }
    }
    REQUIRE(picked);
    QTest::mouseMove(panels, {1, 1});
    QTest::qWait(20);
    CHECK(w.attention()->integer_row() != class_row);
    CHECK(w.attention()->row_kl() >= 0);

    // Exports.
    QString problem;
    for (const char* name : {"sqnr.png", "sqnr.svg", "sqnr.pdf"}) {
        const QString file = o.folder.dir.filePath(name);
        INFO(problem.toStdString());
        REQUIRE(exporting::save_widget(w.layers()->plot(), file, &problem));
        CHECK(QFile(file).size() > 1000);
    }
    QFile svg(o.folder.dir.filePath("sqnr.svg"));
    REQUIRE(svg.open(QIODevice::ReadOnly));
    CHECK(svg.readAll().contains("<svg"));
    QFile pdf(o.folder.dir.filePath("sqnr.pdf"));
    REQUIRE(pdf.open(QIODevice::ReadOnly));
    CHECK(pdf.read(5) == "%PDF-");
    CHECK(exporting::save_widget(panels, o.folder.dir.filePath("attention.png"), &problem));
    CHECK_FALSE(exporting::save_widget(panels, "/nowhere/at/all.png", &problem));
    CHECK_FALSE(problem.isEmpty());
    CHECK_FALSE(exporting::save_widget(panels, o.folder.dir.filePath("x.xyz"), &problem));
    CHECK_FALSE(exporting::save_widget(panels, o.folder.dir.filePath("x.csv"), &problem));
    CHECK(problem.endsWith(".png, .svg or .pdf"));
    REQUIRE(exporting::save_widget(w.layers()->plot(), o.folder.dir.filePath("sqnr.csv"), &problem));
    QFile csv(o.folder.dir.filePath("sqnr.csv"));
    REQUIRE(csv.open(QIODevice::ReadOnly));
    CHECK(csv.readAll().startsWith("curve,x,y\r\n"));
    // What came of it is said.
    const auto export_as = [&](const QString& file) {
        QTimer::singleShot(0, &w, [file] {
            auto* dialog = qobject_cast<QFileDialog*>(QApplication::activeModalWidget());
            REQUIRE(dialog);
            dialog->selectFile(file);
            QMetaObject::invokeMethod(dialog, "accept");
        });
        exporting::ask_and_save(panels, "a_map");
    };
    export_as(o.folder.dir.filePath("said.png"));
    CHECK(w.status()->history().last().endsWith("Saved said.png"));
    export_as(o.folder.dir.filePath("said.xyz"));
    CHECK(w.status()->history().last().endsWith("the name must end in .png, .svg or .pdf"));
    CHECK(p.to_csv().count("\r\n") == 11);
    w.bench().write_report((o.folder.dir.path() + "/report.html").toStdString());
    REQUIRE(wait_until([&] { return w.status()->history().last().contains("Report written"); }));
    CHECK(QFile(o.folder.dir.path() + "/report.html").size() > 10000);
}

TEST_CASE("window: one selection for every view", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    Selection& s = w.bench().selection();
    const ivit::Graph& g = *w.bench().graph();
    const int fc2 = g.find("blocks.1.mlp.fc2");
    s.set_node(fc2);
    CHECK(
        w.layers()->table()->currentIndex().siblingAtColumn(NodeTableModel::name_column).data().toString() ==
        "blocks.1.mlp.fc2");
    // A row of the table.
    w.layers()->sort_worst_first();
    const QModelIndex worst = w.layers()->table()->model()->index(0, NodeTableModel::name_column);
    w.layers()->table()->setCurrentIndex(worst);
    CHECK(g.nodes[size_t(s.node())].name == worst.data().toString().toStdString());
    // A point of the plot.
    QCustomPlot* plot = w.layers()->plot();
    plot->replot();
    const double db = w.bench().shown().comparison()->cumulative[size_t(fc2)].sqnr_db;
    const int x = qRound(plot->xAxis->coordToPixel(fc2)), y = qRound(plot->yAxis->coordToPixel(db));
    QTest::mouseClick(plot, Qt::LeftButton, {}, {x, y});
    CHECK(s.node() == fc2);
    // Keys walk it.
    w.layers()->table()->sortByColumn(-1, Qt::AscendingOrder);
    w.setFocus();
    QTest::keyClick(&w, Qt::Key_Down);
    CHECK(s.node() == fc2 + 1);
    s.set_node(g.find("blocks.2.attn.softmax"));
    CHECK(w.attention()->layer_node() == s.node());
    QTest::keyClick(&w, Qt::Key_BracketRight);
    CHECK(s.head() == 1);
    s.set_head(99);
    CHECK(s.head() == g.heads - 1);

    w.tabs()->setCurrentWidget(w.distribution());
    s.set_node(g.find("blocks.1.mlp.fc1"));
    CHECK(w.distribution()->limits().size() == 2);
    s.set_node(g.find("head"));
    CHECK(w.distribution()->limits().empty());
    w.tabs()->setCurrentWidget(w.tensor());
    for (int i = 0; i < int(g.nodes.size()); ++i) {
        s.set_node(i);
        CHECK(w.tensor()->slice().rows == int(g.nodes[size_t(i)].rows()));
    }
    QTest::keyClick(&w, Qt::Key_Space);
    CHECK(w.tensor()->what() == TensorView::floating);
    QTest::keyClick(&w, Qt::Key_D);
    CHECK(w.tensor()->what() == TensorView::difference);
    QTest::keyClick(&w, Qt::Key_D);
    CHECK(w.tensor()->what() == TensorView::floating);
    QTest::keyClick(&w, Qt::Key_3);
    CHECK(w.tabs()->currentWidget() == w.distribution());
}

TEST_CASE("window: pin holds the ghost, sliders are one step of undo", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    const auto first = w.bench().shown().current;
    w.findChild<QAction*>("pin")->trigger();
    auto* slider = w.findChild<QSlider*>("shiftmax_t");
    REQUIRE(slider);
    for (int t = 3; t >= 0; --t) slider->setValue(t);
    CHECK(w.bench().undo_stack().count() == 1);
    REQUIRE(o.settled());
    CHECK(w.bench().shown().ghost == first);
    CHECK(w.bench().shown().ghost_pinned);
    CHECK(w.bench().settings().config.shiftmax.t == 0);
    w.findChild<QAction*>("W6A6")->trigger();
    REQUIRE(o.settled());
    CHECK(w.bench().shown().ghost == first);
    w.findChild<QAction*>("pin")->trigger();
    CHECK(w.bench().shown().ghost != first);
    w.bench().undo_stack().setIndex(0);
    CHECK(w.bench().settings().config == ivit::QuantConfig());

    // A node of its own, through the tree.
    QuantTreeModel& tree = w.quantization()->model();
    const QModelIndex fc1 = tree.index_of_node(w.bench().graph()->find("blocks.1.mlp.fc1"));
    REQUIRE(tree.setData(fc1.siblingAtColumn(QuantTreeModel::weight_column), "3", Qt::EditRole));
    CHECK(fc1.siblingAtColumn(QuantTreeModel::weight_column).data().toString() == "3");
    REQUIRE(o.settled());
    const int node = w.bench().graph()->find("blocks.1.mlp.fc1");
    CHECK(w.layers()->model().index(node, NodeTableModel::bits_column).data().toString() == "W3 A8");

    // Saved as JSON and loaded again.
    const ivit::QuantConfig mine = w.bench().settings().config;
    const QString file = o.folder.dir.filePath("mine.json");
    QFile out(file);
    REQUIRE(out.open(QIODevice::WriteOnly));
    out.write(QByteArray::fromStdString(mine.to_json().dump()));
    out.close();
    w.bench().undo_stack().undo();
    CHECK_FALSE(w.bench().settings().config == mine);
    CHECK(w.quantization()->load_config(file));
    CHECK(w.bench().settings().config == mine);
    QFile broken(o.folder.dir.filePath("broken.json"));
    REQUIRE(broken.open(QIODevice::WriteOnly));
    broken.write("{\"default\": \"W99A1\"}");
    broken.close();
    CHECK_FALSE(w.quantization()->load_config(broken.fileName()));
    CHECK(w.bench().settings().config == mine);
}

TEST_CASE("window: the canvas draws what the slice holds", "[window]") {
    if (!GlCanvas::problem().isEmpty()) {
        WARN("skipped: " << GlCanvas::problem().toStdString());
        return;
    }
    Opened o(1);
    MainWindow& w = o.window;
    w.tabs()->setCurrentWidget(w.tensor());
    w.bench().selection().set_node(w.bench().graph()->find("blocks.0.attn.softmax"));
    QTest::qWait(100);
    auto* canvas = qobject_cast<TensorCanvas*>(w.tensor()->canvas());
    REQUIRE(canvas);
    const QImage integer = canvas->grabFramebuffer();
    int coloured = 0;
    for (int y = 0; y < integer.height(); y += 4) {
        for (int x = 0; x < integer.width(); x += 4)
            coloured += QColor(integer.pixel(x, y)).saturation() > 60;
    }
    CHECK(coloured > 200);
    w.tensor()->set_what(TensorView::difference);
    CHECK(canvas->grabFramebuffer() != integer);
    w.tensor()->set_what(TensorView::integer);
    CHECK(canvas->grabFramebuffer() == integer);
    canvas->set_zoom(30, QPointF(canvas->width() / 2.0, canvas->height() / 3.0));
    CHECK(canvas->zoom() == 30);
    CHECK(canvas->grabFramebuffer() != integer);
    QTest::mouseDClick(canvas, Qt::LeftButton, {}, {100, 100});
    CHECK(canvas->zoom() == 1);
}
