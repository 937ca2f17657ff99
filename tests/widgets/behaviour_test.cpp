// SPDX-License-Identifier: GPL-3.0-or-later
// What a window must survive: no webcam, no OpenGL 3.3, files that vanish, hurried hands, being closed and
// opened again.
#include <QComboBox>
#include <QDockWidget>
#include <QFile>
#include <QLabel>
#include <QMimeData>
#include <QProcess>
#include <QSettings>
#include <QSignalSpy>
#include <QUndoStack>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/widgets/opened.h"
#include "widgets/attention_view.h"
#include "widgets/config_edit.h"
#include "widgets/distribution_view.h"
#include "widgets/exporting.h"
#include "widgets/gl_canvas.h"
#include "widgets/latency_view.h"
#include "widgets/layers_view.h"
#include "widgets/model_card.h"
#include "widgets/operator_view.h"
#include "widgets/predictions_view.h"
#include "widgets/quantization_view.h"
#include "widgets/status_area.h"
#include "widgets/tensor_view.h"
#include "widgets/webcam.h"

using fixture::wait_until;

TEST_CASE("behaviour: a fast series of changes shows only the last, and says meanwhile that it is stale",
          "[behaviour]") {
    Opened o(1);
    MainWindow& w = o.window;
    std::vector<std::string> seen;
    QObject::connect(&w.bench(), &Workbench::results_changed, &w,
                     [&] { seen.push_back(w.bench().shown().current->request->config.label()); });
    QSignalSpy stale(&w.bench(), &Workbench::stale_changed);
    for (int round = 0; round < 5; ++round) {
        for (const char* name : {"W4A8", "W6A6", "W8A8", "W4A4"}) {
            w.findChild<QAction*>(name)->trigger();
            CHECK(w.bench().stale());
        }
    }
    REQUIRE(o.settled());
    REQUIRE_FALSE(seen.empty());
    for (const std::string& label : seen) CHECK(label == "W4A4");
    CHECK(w.predictions()->caption().startsWith("W4A4"));
    CHECK(stale.count() == 2);  // once on its way, once there
    CHECK(w.bench().undo_stack().count() == 20);
    // All the way back, as fast.
    seen.clear();
    w.bench().undo_stack().setIndex(0);
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().startsWith("W8A8"));
}

TEST_CASE("behaviour: layout, tab, theme and recent files come back", "[behaviour]") {
    Folder folder;
    const QString picture = folder.picture(3, "kept.png");
    {
        MainWindow w;
        w.resize(1111, 777);
        w.show();
        REQUIRE(QTest::qWaitForWindowExposed(&w));
        w.open_model(bundled);
        w.bench().open_pictures({picture});
        REQUIRE(wait_until([&] { return w.bench().shown().current != nullptr; }));
        w.tabs()->setCurrentWidget(w.distribution());
        w.findChild<QDockWidget*>("dock_history")->hide();
        auto* model = w.findChild<QDockWidget*>("dock_model");
        w.removeDockWidget(model);
        w.addDockWidget(Qt::LeftDockWidgetArea, model);
        model->show();
        w.findChild<QDockWidget*>("dock_prediction")->setFloating(true);
        QTest::qWait(50);
        w.close();  // in the middle of the background's work
    }
    {
        MainWindow w;
        w.show();
        REQUIRE(QTest::qWaitForWindowExposed(&w));
        CHECK(w.tabs()->currentWidget() == w.distribution());
        CHECK(w.findChild<QDockWidget*>("dock_history")->isHidden());
        CHECK(w.dockWidgetArea(w.findChild<QDockWidget*>("dock_model")) == Qt::LeftDockWidgetArea);
        CHECK(w.findChild<QDockWidget*>("dock_prediction")->isFloating());
        CHECK(QSettings().value("recent/pictures").toStringList().contains(picture));
        CHECK(QSettings()
                  .value("recent/models")
                  .toStringList()
                  .first()
                  .endsWith("vit_tiny_cifar10.safetensors"));
        QApplication::setActiveWindow(&w);
        QTest::keyClick(&w, Qt::Key_0, Qt::ControlModifier);
        CHECK_FALSE(w.findChild<QDockWidget*>("dock_history")->isHidden());
        CHECK_FALSE(w.findChild<QDockWidget*>("dock_prediction")->isFloating());
        CHECK(w.dockWidgetArea(w.findChild<QDockWidget*>("dock_model")) == Qt::RightDockWidgetArea);
    }
    QSettings().clear();
}

TEST_CASE("behaviour: a model file that vanishes, or is cut short, under the window", "[behaviour]") {
    Opened o(2);
    MainWindow& w = o.window;
    const QString copy = o.folder.dir.filePath("copy.safetensors");
    REQUIRE(QFile::copy(bundled, copy));
    w.open_model(copy);
    REQUIRE(wait_until([&] {
        return w.bench().info() && QString::fromStdString(w.bench().info()->source) == copy &&
               w.bench().idle();
    }));
    REQUIRE(QFile::resize(copy, 4096));
    w.findChild<QAction*>("W6A6")->trigger();
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().startsWith("W6A6"));
    REQUIRE(QFile::remove(copy));
    w.bench().selection().set_picture(1);
    w.findChild<QAction*>("W4A8")->trigger();
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption() == "W4A8 · picture_1.png");
    w.bench().write_report((o.folder.dir.path() + "/after.json").toStdString());
    REQUIRE(wait_until([&] { return w.status()->history().last().contains("Report written"); }));
    // Opened again it is not there: a sentence, and the window goes on with what it has.
    w.open_model(copy);
    REQUIRE(wait_until(
        [&] { return w.status()->history().last().contains("copy.safetensors") && w.bench().idle(); }));
    CHECK(w.bench().model() != nullptr);
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption() == "W4A8 · picture_1.png");
    // A picture that vanishes between two models.
    REQUIRE(QFile::remove(o.folder.dir.filePath("picture_1.png")));
    w.open_model("deit_tiny_patch16_64");
    REQUIRE(wait_until([&] { return !w.bench().pictures().picture(1).error.isEmpty(); }));
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().contains("picture_0.png"));
}

TEST_CASE("behaviour: configurations survive JSON, and loading is a step of undo", "[behaviour]") {
    Opened o(1);
    MainWindow& w = o.window;
    ivit::QuantConfig mine = ivit::QuantConfig::from_spec("W4A6");
    mine.set_preset("paper");
    mine.shiftgelu.n = 17;
    ivit::QuantRule rule;
    rule.glob = "blocks.2.*";
    rule.mode = ivit::Mode::float_ops;
    mine.rules.push_back(rule);
    QFile file(o.folder.dir.filePath("mine.json"));
    REQUIRE(file.open(QIODevice::WriteOnly));
    file.write(QByteArray::fromStdString(mine.to_json().dump(2)));
    file.close();
    // By dropping it on the window, as a person would.
    QMimeData drop;
    drop.setUrls({QUrl::fromLocalFile(file.fileName())});
    REQUIRE(w.take(&drop));
    CHECK(w.bench().settings().config == mine);
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().startsWith("W4A6"));
    const QModelIndex block =
        w.quantization()->model().index_of_node(w.bench().graph()->find("blocks.2.mlp.fc1")).parent();
    CHECK(block.siblingAtColumn(QuantTreeModel::mode_column).data().toString() == "float");
    w.bench().undo_stack().undo();
    CHECK(w.bench().settings().config == ivit::QuantConfig());
    w.bench().undo_stack().redo();
    CHECK(w.bench().settings().config == mine);
}

TEST_CASE("behaviour: the ghost follows to other pictures, pinned or not", "[behaviour]") {
    Opened o(3);
    MainWindow& w = o.window;
    w.findChild<QAction*>("W4A4")->trigger();
    REQUIRE(o.settled());
    w.bench().selection().set_picture(1);
    REQUIRE(o.settled());
    // Not pinned: the previous configuration, on this picture.
    REQUIRE(w.bench().shown().ghost);
    CHECK(w.bench().shown().ghost->request->config == ivit::QuantConfig());
    CHECK(w.bench().shown().ghost->request->pixels == w.bench().shown().current->request->pixels);
    const double ghost_db = w.bench().shown().ghost->comparison.logits.sqnr_db;
    w.findChild<QAction*>("pin")->trigger();  // W4A4
    w.findChild<QAction*>("W8A8")->trigger();
    REQUIRE(o.settled());
    // What the ghost said of W8A8 on this picture is what a run says.
    CHECK(w.bench().shown().comparison()->logits.sqnr_db == ghost_db);
    for (const int picture : {2, 0}) {
        w.bench().selection().set_picture(picture);
        REQUIRE(o.settled());
        REQUIRE(w.bench().shown().ghost);
        CHECK(w.bench().shown().ghost_pinned);
        CHECK(w.bench().shown().ghost->request->config.weight_bits == 4);
        CHECK(w.bench().shown().ghost->request->pixels == w.bench().shown().current->request->pixels);
        CHECK(w.layers()->model().value(5, metrics::Id::sqnr_cumulative, true));
        REQUIRE(w.predictions()->integer_rows()[0].before);
    }
    // Ranges that come from the picture at hand come from the new one.
    w.open_model("deit_tiny_patch16_64");
    REQUIRE(o.settled());
    w.findChild<QAction*>("W4A8")->trigger();
    REQUIRE(o.settled());
    w.bench().selection().set_picture(1);
    REQUIRE(o.settled());
    REQUIRE(w.bench().shown().ghost);
    CHECK(w.bench().shown().ghost->comparison.model->calibration.from_input);
}

TEST_CASE("behaviour: a webcam that is not there, and one that is pulled out", "[behaviour]") {
    Opened o(1);
    MainWindow& w = o.window;
    auto* action = w.findChild<QAction*>("webcam");
    REQUIRE(action);
    w.webcam().set_source(QStringLiteral("/dev/no_such_camera"));
    action->trigger();
    REQUIRE(wait_until([&] { return !action->isChecked(); }));
    CHECK(w.status()->history().last().contains("There is no webcam"));
    // Three frames, then none: what a pulled plug looks like.
    for (int i = 0; i < 3; ++i) o.folder.picture(i, QStringLiteral("frame_%1.png").arg(i, 2, 10, QChar('0')));
    w.webcam().set_source(o.folder.dir.filePath("frame_%02d.png"));
    action->trigger();
    REQUIRE(wait_until([&] { return !action->isChecked(); }));
    CHECK(w.status()->history().last().contains("unplugged"));
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().endsWith("webcam"));
    CHECK(w.predictions()->integer_rows().size() == 5);
    // The strip's picture comes back when it is clicked.
    w.bench().show_picture(0);
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().endsWith("picture_0.png"));
    // Switched off and on in a hurry, and left running while the window closes.
    for (int i = 0; i < 6; ++i) action->trigger();
    action->trigger();
}

TEST_CASE("behaviour: without OpenGL 3.3 a sentence stands for the lens", "[behaviour]") {
    QProcess child;
    QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
    environment.insert("LIBGL_ALWAYS_SOFTWARE", "1");
    environment.insert("MESA_GL_VERSION_OVERRIDE", "2.1");
    child.setProcessEnvironment(environment);
    child.setProcessChannelMode(QProcess::MergedChannels);
    child.start(QCoreApplication::applicationFilePath(), {"[.old_gl]"});
    REQUIRE(child.waitForFinished(120000));
    INFO(child.readAll().toStdString());
    CHECK(child.exitStatus() == QProcess::NormalExit);
    CHECK(child.exitCode() == 0);
}

// Run by the test above, in a process whose driver offers OpenGL 2.1.
TEST_CASE("with OpenGL 2.1: every other view works", "[.old_gl]") {
    CHECK_FALSE(GlCanvas::problem().isEmpty());
    Opened o(1);
    MainWindow& w = o.window;
    CHECK_FALSE(w.tensor()->has_canvas());
    w.tabs()->setCurrentWidget(w.tensor());
    bool said = false;
    for (const QLabel* l : w.tensor()->findChildren<QLabel*>())
        said = said || (l->isVisible() && l->text() == GlCanvas::problem());
    CHECK(said);
    w.bench().selection().set_node(w.bench().graph()->find("blocks.1.mlp.fc1"));
    for (const int key : {Qt::Key_Space, Qt::Key_D, Qt::Key_M, Qt::Key_Plus, Qt::Key_F})
        QTest::keyClick(&w, static_cast<Qt::Key>(key));
    QString problem;
    CHECK(exporting::save_widget(w.tensor()->canvas(), o.folder.dir.filePath("lens.png"), &problem));
    w.tabs()->setCurrentWidget(w.attention());
    CHECK(w.attention()->integer_row().size() == 65);
    w.tabs()->setCurrentWidget(w.distribution());
    CHECK(w.distribution()->limits().size() == 2);
    w.tabs()->setCurrentWidget(w.operators());
    CHECK_FALSE(w.operators()->curve().empty());
    w.findChild<QAction*>("W4A8")->trigger();
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().startsWith("W4A8"));
}

TEST_CASE("operator view: the curve is what the network computes", "[behaviour]") {
    const Shown& shown = fixture::shown();
    const ivit::Comparison& c = *shown.comparison();
    const ivit::Graph& g = *shown.graph();
    const int gelu = g.find("blocks.1.mlp.act"), softmax = g.find("blocks.1.attn.softmax");
    REQUIRE(gelu >= 0);
    const OperatorCurve curve = operator_curve(*c.model, *c.integer_trace, gelu, 0, 0);
    REQUIRE_FALSE(curve.empty());
    CHECK(curve.integer.size() == curve.x.size());
    // Requantized to the node's grid, the curve gives the very integers of the node's output.
    const ivit::IntTensor& in = c.integer_trace->tap(g.nodes[size_t(gelu)].inputs[0])->integers;
    const ivit::IntTensor& out = c.integer_trace->tap(gelu)->integers;
    const double step = in.grid.scale[0];
    int compared = 0;
    for (size_t i = 0; i < in.data.size(); i += 97) {
        const double x = in.data[i] * step;
        const auto at = size_t(std::lround((x - curve.x.front()) / (curve.x[1] - curve.x[0])));
        REQUIRE(at < curve.x.size());
        if (std::abs(curve.x[at] - x) > step / 2) continue;
        const double real = std::clamp(curve.integer[at], out.grid.scale[0] * double(out.grid.low()),
                                       out.grid.scale[0] * double(out.grid.high()));
        CHECK(std::abs(real - out.real(int64_t(i))) <= out.grid.scale[0] * 0.51);
        ++compared;
    }
    CHECK(compared > 50);
    double inputs = 0;
    for (const double n : curve.count) inputs += n;
    CHECK(inputs == double(in.data.size()));

    const OperatorCurve e = operator_curve(*c.model, *c.integer_trace, softmax, 1, 0);
    REQUIRE_FALSE(e.empty());
    CHECK(e.x.back() == 0);
    CHECK(e.integer.back() == Approx(1));
    CHECK(e.exact.back() == Approx(1));
    for (size_t i = 0; i < e.x.size(); ++i) CHECK(std::abs(e.integer[i] - e.exact[i]) < 0.08);
    CHECK(e.worst < 0.08);
    CHECK(e.rms <= e.worst);
    CHECK(operator_curve(*c.model, *c.integer_trace, g.find("blocks.1.norm1"), 0, 0).empty());
    CHECK(operator_curve(*c.model, *c.integer_trace, -1, 0, 0).empty());
    CHECK(operator_of(g, g.find("blocks.1.attn.qkv")) == softmax);
    CHECK(operator_of(g, g.find("blocks.1.mlp.fc2")) == gelu);
    CHECK(operator_of(g, g.find("input")) == -1);
}

TEST_CASE("attention view: the map is named after what made it", "[behaviour]") {
    Opened o(1);
    auto* view = o.window.findChild<AttentionView*>();
    REQUIRE(view);
    CHECK(view->integer_name() == "Shiftmax");
    for (const auto& [mode, name] :
         {std::pair(ivit::Mode::exact, "Exact softmax"), std::pair(ivit::Mode::float_ops, "Float softmax")}) {
        ivit::QuantConfig config = o.window.bench().settings().config;
        config_edit::set_operator_mode(config, *o.window.bench().graph(), ivit::Op::softmax, mode);
        o.window.bench().change_config(config, "softmax");
        REQUIRE(o.settled());
        CHECK(view->integer_name() == name);
    }
}

TEST_CASE("behaviour: the ranges' method changes without a new calibration", "[behaviour]") {
    Opened o(1);
    MainWindow& w = o.window;
    const auto before = w.bench().settings().calibration;
    REQUIRE(before);
    auto* box = w.model_card()->findChild<QComboBox*>("range_method");
    REQUIRE(box);
    REQUIRE(box->isEnabled());
    const double mse = w.bench().shown().comparison()->logits.sqnr_db;
    box->setCurrentIndex(box->findText("minmax"));
    emit box->activated(box->currentIndex());
    REQUIRE(o.settled());
    CHECK(w.bench().settings().calibration->method == ivit::RangeMethod::minmax);
    CHECK(w.bench().settings().calibration->pictures == before->pictures);
    CHECK(w.bench().shown().comparison()->logits.sqnr_db != mse);
    CHECK(w.model_card()->text().contains("minmax"));
    w.bench().undo_stack().undo();
    REQUIRE(o.settled());
    CHECK(box->currentText() == "mse");
    CHECK(w.bench().shown().comparison()->logits.sqnr_db == mse);
}
