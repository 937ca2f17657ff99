// SPDX-License-Identifier: GPL-3.0-or-later
// The newcomer's first questions: which layer hurts most, and where do the integers leave the float network.
#include <qcustomplot.h>

#include <QMouseEvent>
#include <QUndoStack>

#include "engine/report/causes.h"
#include "tests/widgets/opened.h"
#include "widgets/causes_view.h"
#include "widgets/exporting.h"
#include "widgets/layers_view.h"
#include "widgets/lens_view.h"
#include "widgets/predictions_view.h"
#include "widgets/tensor_canvas.h"
#include "widgets/tensor_view.h"

TEST_CASE("lens: the view, its table, one selection", "[lens]") {
    Opened o(2);
    MainWindow& w = o.window;
    QTest::keyClick(&w, Qt::Key_6);
    auto* lens = qobject_cast<LensView*>(w.tabs()->currentWidget());
    REQUIRE(lens);
    const ivit::Graph& g = *w.bench().graph();
    REQUIRE(lens->table()->rowCount() == g.depth);
    // A row selects the block's last node everywhere.
    lens->table()->setCurrentCell(3, 0);
    const int node = lens->blocks()[3].node;
    CHECK(w.bench().selection().node() == node);
    CHECK(g.nodes[size_t(node)].name == "blocks.3.add2");
    CHECK(w.layers()->table()->currentIndex().row() == node);
    // And any node of a block selects its row.
    w.bench().selection().set_node(g.find("blocks.7.attn.softmax"));
    CHECK(lens->table()->currentRow() == 7);
    w.bench().selection().set_node(g.find("head"));
    CHECK(lens->table()->currentRow() == -1);
    // The last row is the answer that stands above.
    CHECK(lens->table()->item(g.depth - 1, 1)->text() == w.predictions()->float_rows()[0].label);
    const QString before = lens->table()->item(5, 5)->text();
    w.findChild<QAction*>("W4A4")->trigger();
    REQUIRE(o.settled());
    CHECK(lens->table()->item(5, 5)->text() != before);
    const QString csv = exporting::to_csv(*lens->table()->model());
    CHECK(csv.count("\r\n") == g.depth + 1);
}

TEST_CASE("lens: the node that is worst alone is named, and a click or a key goes there", "[lens]") {
    Opened o(1);
    MainWindow& w = o.window;
    PredictionsView& p = *w.predictions();
    const int worst = p.worst_alone();
    REQUIRE(worst >= 0);
    const auto& isolated = w.bench().shown().comparison()->isolated;
    for (const ivit::NodeError& e : isolated) CHECK(e.sqnr_db >= isolated[size_t(worst)].sqnr_db);
    p.repaint();
    REQUIRE(p.rect().contains(p.worst_alone_place()));
    w.bench().selection().set_node(0);
    QTest::mouseClick(&p, Qt::LeftButton, {}, p.worst_alone_place().center());
    CHECK(w.bench().selection().node() == worst);
    // And so does a key.
    w.bench().selection().set_node(0);
    QTest::keyClick(&w, Qt::Key_H);
    CHECK(w.bench().selection().node() == worst);
    // The table shows the selected row, not only marks it somewhere below.
    QTest::qWait(20);
    QTableView* table = w.layers()->table();
    CHECK(table->viewport()->rect().intersects(table->visualRect(table->currentIndex())));
}

TEST_CASE("lens: the first row selected is in sight", "[lens]") {
    Opened o(1);
    QTest::qWait(20);
    QTableView* table = o.window.layers()->table();
    CHECK(table->currentIndex().row() == o.window.bench().selection().node());
    CHECK(table->viewport()->rect().intersects(table->visualRect(table->currentIndex())));
}

TEST_CASE("lens: zooming stops where cells can be read, and nothing is dragged out of sight", "[lens]") {
    Opened o(1);
    MainWindow& w = o.window;
    if (!w.tensor()->has_canvas()) return;
    w.tabs()->setCurrentWidget(w.tensor());
    w.bench().selection().set_node(w.bench().graph()->find("blocks.0.mlp.fc1"));
    QTest::qWait(60);
    auto* canvas = qobject_cast<TensorCanvas*>(w.tensor()->canvas());
    const QPointF middle(canvas->width() / 2.0, canvas->height() / 3.0);
    canvas->set_zoom(1e9, middle);
    const double most = canvas->zoom();
    CHECK(most < 1e4);
    canvas->set_zoom(most * 2, middle);
    CHECK(canvas->zoom() == most);
    // QTest's moves hold no button: a drag towards the lower right, far beyond the upper left corner.
    const auto send = [canvas](QEvent::Type type, QPointF at, Qt::MouseButtons held) {
        QMouseEvent e(type, at, canvas->mapToGlobal(at),
                      type == QEvent::MouseMove ? Qt::NoButton : Qt::LeftButton, held, {});
        QApplication::sendEvent(canvas, &e);
    };
    const QImage there = canvas->grabFramebuffer();
    for (int i = 0; i < 300; ++i) {
        send(QEvent::MouseButtonPress, {20, 20}, Qt::LeftButton);
        send(QEvent::MouseMove, {canvas->width() - 60.0, canvas->height() - 60.0}, Qt::LeftButton);
        send(QEvent::MouseButtonRelease, {canvas->width() - 60.0, canvas->height() - 60.0}, Qt::NoButton);
    }
    CHECK(canvas->grabFramebuffer() != there);
    // A click in the corner still selects a value: the image is under it.
    w.bench().selection().set_channel(700);
    QTest::mouseClick(canvas, Qt::LeftButton, {}, {14, 14});
    CHECK(w.bench().selection().channel() < 20);
}

TEST_CASE("lens: pictures without a calibration have both predictions in the strip", "[lens]") {
    Opened o(4, "deit_tiny_patch16_64");
    MainWindow& w = o.window;
    REQUIRE(w.bench().shown().current->comparison.model->calibration.from_input);
    const auto answers = [&] {
        std::vector<std::pair<QString, double>> out;
        for (const Picture& p : w.bench().pictures().pictures()) {
            REQUIRE(p.float_top);
            REQUIRE(p.integer_top);
            out.push_back({p.integer_top->label, p.integer_top->probability});
        }
        return out;
    };
    const auto strip = answers();
    // What the strip said is what selecting it shows.
    for (int i = 1; i < 4; ++i) {
        w.bench().selection().set_picture(i);
        REQUIRE(o.settled());
        CHECK(w.predictions()->integer_rows()[0].label == strip[size_t(i)].first);
        CHECK(w.predictions()->integer_rows()[0].probability == strip[size_t(i)].second);
    }
    w.findChild<QAction*>("W4A4")->trigger();
    REQUIRE(o.settled());
    CHECK(answers() != strip);
}

TEST_CASE("lens: what to turn is measured, and turning it brings what was said", "[lens]") {
    Opened o(1);
    MainWindow& w = o.window;
    w.findChild<QAction*>("W4A4")->trigger();
    REQUIRE(o.settled());
    auto* causes = w.findChild<CausesView*>();
    REQUIRE(causes);
    CHECK(w.bench().causes() == nullptr);  // nobody has looked
    QTest::keyClick(&w, Qt::Key_7);
    REQUIRE(o.settled());
    REQUIRE(causes->table()->rowCount() > w.bench().graph()->depth);
    CHECK(causes->title().startsWith("Logits at"));
    const double before = w.bench().shown().comparison()->logits.sqnr_db;
    CHECK(w.bench().causes()->logits_sqnr_db == Approx(before).epsilon(1e-9));
    const double gain = causes->table()->item(0, 2)->data(exporting::csv_role).toDouble();
    CHECK(gain > 0);
    // A row selects its node or block everywhere.
    const ivit::Graph& g = *w.bench().graph();
    for (int row = 0; row < causes->table()->rowCount(); ++row) {
        const QString where = causes->table()->item(row, 0)->text();
        if (g.find(where.toStdString()) < 0) continue;
        causes->table()->setCurrentCell(row, 0);
        CHECK(g.nodes[size_t(w.bench().selection().node())].name == where.toStdString());
        break;
    }
    causes->apply(0);
    REQUIRE(o.settled());
    CHECK(w.bench().shown().comparison()->logits.sqnr_db == Approx(before + gain).epsilon(1e-6));
    CHECK(w.bench().settings().config.rules.size() == 1);  // as a person would have made it
    w.bench().undo_stack().undo();
    REQUIRE(o.settled());
    CHECK(w.bench().shown().comparison()->logits.sqnr_db == before);
    // Left in the middle: nothing comes late, and the view begins anew where it is looked at.
    w.tabs()->setCurrentIndex(0);
    w.findChild<QAction*>("W8A8")->trigger();
    REQUIRE(o.settled());
    CHECK(w.bench().causes() == nullptr);
    w.tabs()->setCurrentWidget(causes);
    w.findChild<QAction*>("W6A6")->trigger();
    REQUIRE(o.settled());
    REQUIRE(w.bench().causes());
    CHECK(w.bench().causes()->logits_sqnr_db ==
          Approx(w.bench().shown().comparison()->logits.sqnr_db).epsilon(1e-9));
}
