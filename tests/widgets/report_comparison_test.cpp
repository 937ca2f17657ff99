// SPDX-License-Identifier: GPL-3.0-or-later
// Two reports side by side: what the page shows is what the reports say.
#include "widgets/report_comparison.h"

#include <qcustomplot.h>

#include <QFile>
#include <QMenuBar>
#include <QPushButton>
#include <QScreen>
#include <QTemporaryDir>
#include <QUndoStack>
#include <catch2/catch.hpp>
#include <fstream>

#include "engine/report/report.h"
#include "engine/report/report_parts.h"
#include "tests/widgets/opened.h"
#include "widgets/numbers.h"
#include "widgets/status_area.h"
#include "widgets/theme.h"

namespace {

// Reports of the same picture, made in the window at W8A8 and at W4A8.
struct Two {
    Opened opened{1};
    QTemporaryDir dir;
    QString a = dir.filePath("a.json"), b = dir.filePath("<b>.json");

    void write(const QString& file) {
        QStringList said;
        const auto connection = QObject::connect(&opened.window.bench(), &Workbench::message,
                                                 [&](const QString& s, bool) { said << s; });
        opened.window.bench().write_report(file.toStdString());
        REQUIRE(fixture::wait_until([&] { return !said.isEmpty(); }));
        QObject::disconnect(connection);
        INFO(said.join("; ").toStdString());
        REQUIRE(QFile::exists(file));
    }
    Two() {
        write(a);
        opened.window.bench().change_config(ivit::QuantConfig::from_spec("W4A8"), "W4A8");
        REQUIRE(opened.settled());
        write(b);
    }
};

QString shown(QTableView* view, const QString& key, int key_column, int column) {
    const QAbstractItemModel* m = view->model();
    for (int r = 0; r < m->rowCount(); ++r)
        if (m->index(r, key_column).data().toString() == key) return m->index(r, column).data().toString();
    return {};
}

}  // namespace

TEST_CASE("comparison: two reports, every number theirs", "[comparison]") {
    Two two;
    MainWindow& w = two.opened.window;
    const ivit::Json a = ivit::read_report(two.a.toStdString()), b = ivit::read_report(two.b.toStdString());
    // A report from the window says what one from the command line says.
    REQUIRE(a["reproduce"].size() >= 2);
    CHECK(a["reproduce"][0].get<std::string>().find("ivit report") == 0);
    CHECK(a.contains("latency"));
    CHECK(a["latency"]["float_ms"]["runs"].get<int>() > 0);

    QAction* action = nullptr;
    for (QAction* menu : w.menuBar()->actions())
        for (QAction* x : menu->menu()->actions())
            if (x->text().remove('&') == QStringLiteral("Compare reports …")) action = x;
    REQUIRE(action);
    CHECK(w.comparison() == nullptr);
    action->trigger();
    ReportComparison* page = w.comparison();
    REQUIRE(page);
    CHECK(page->isVisible());
    const QSize room = page->screen()->availableSize() * 0.9;
    CHECK(page->size().boundedTo(room) == page->size());
    CHECK_FALSE(page->isModal());
    CHECK(page->nodes()->model()->rowCount() == 0);

    REQUIRE(page->open(0, two.a));
    CHECK(page->nodes()->model()->rowCount() == static_cast<int>(ivit::layer_rows(a["images"][0]).size()));
    CHECK(shown(page->nodes(), "head", 1, 4) == QStringLiteral("—"));  // b is not there yet
    REQUIRE(page->open(1, two.b));
    const auto rows_a = ivit::layer_rows(a["images"][0]), rows_b = ivit::layer_rows(b["images"][0]);
    for (size_t i = 0; i < rows_a.size(); ++i) {
        const QString node = QString::fromStdString(rows_a[i].name);
        CHECK(shown(page->nodes(), node, 1, 3) == numbers::fixed(rows_a[i].cumulative_db, 1));
        CHECK(shown(page->nodes(), node, 1, 4) == numbers::fixed(rows_b[i].cumulative_db, 1));
        CHECK(shown(page->nodes(), node, 1, 7) == numbers::fixed(rows_b[i].isolated_db, 1));
        CHECK(page->plot()->graph(1)->data()->at(static_cast<int>(i))->value == rows_b[i].cumulative_db);
    }
    // What lost most comes first.
    double least = 0;
    QString worst;
    for (size_t i = 0; i < rows_a.size(); ++i)
        if (const double change = rows_b[i].cumulative_db - rows_a[i].cumulative_db; change < least) {
            least = change;
            worst = QString::fromStdString(rows_a[i].name);
        }
    CHECK(page->nodes()->model()->index(0, 1).data().toString() == worst);
    CHECK(shown(page->facts(), "config: default", 0, 1) == "W8A8");
    CHECK(shown(page->facts(), "config: default", 0, 2) == "W4A8");
    CHECK(shown(page->facts(), "Verdict", 0, 2) == QString::fromStdString(ivit::verdict(b["images"][0])));

    // No report: said, and what was there stays.
    CHECK_FALSE(page->open(1, QStringLiteral(IVIT_SOURCE_DIR "/README.md")));
    CHECK(page->problem().contains("not JSON"));
    CHECK(*page->report(1) == b);
    REQUIRE(page->open(1, two.b));

    // Back at W8A8 in the window, that is report a again.
    w.bench().undo_stack().undo();
    REQUIRE(two.opened.settled());
    page->findChild<QPushButton*>("current_b")->click();
    REQUIRE(fixture::wait_until([&] { return (*page->report(1))["quant"] == a["quant"]; }));
    CHECK(ivit::report_differences(a, *page->report(1)).empty());
    CHECK(shown(page->nodes(), "head", 1, 5) == numbers::change(0));
}

TEST_CASE("comparison: an evaluation and other models line up too", "[comparison]") {
    Two two;
    ivit::Json a = ivit::read_report(two.a.toStdString());
    a["model"]["name"] = "<b>other</b>";
    auto& layers = a["images"][0]["layers"];
    layers.erase(std::remove_if(layers.begin(), layers.end(),
                                [](const ivit::Json& l) {
                                    return l["name"].get<std::string>().find("blocks.11.") == 0;
                                }),
                 layers.end());
    a["images"].push_back(a["images"][0]);
    a["images"][0]["sha256"] = std::string(64, '0');
    a["evaluation"] = {{"dataset", {{"folder", "d"}, {"layout", "class folders"}}},
                       {"images", 10},
                       {"skipped", ivit::Json::array()},
                       {"float", {{"top1", 90.0}, {"top5", 100.0}, {"mean_margin", 0.5}}},
                       {"configurations",
                        {{{"quant", "W8A8"},
                          {"preset", "refined"},
                          {"top1", 80.0},
                          {"top5", 99.0},
                          {"agreement", 95.0},
                          {"flips", 1},
                          {"mean_kl", 0.01},
                          {"mean_margin", 0.4},
                          {"logits_sqnr_db", 20.0},
                          {"classes", ivit::Json::array()},
                          {"worst", ivit::Json::array()}}}}};
    const QString file = two.dir.filePath("other.json");
    std::ofstream(file.toStdString()) << a.dump();
    ReportComparison page(two.opened.window.bench());
    REQUIRE(page.open(0, two.b));
    REQUIRE(page.open(1, file));
    const int nodes = static_cast<int>(ivit::layer_rows((*page.report(0))["images"][0]).size());
    CHECK(page.nodes()->model()->rowCount() == nodes);
    CHECK(shown(&*page.nodes(), "blocks.11.attn.qkv", 1, 4) == QStringLiteral("—"));
    CHECK(shown(&*page.nodes(), "blocks.10.attn.qkv", 1, 4) != QStringLiteral("—"));
    CHECK(shown(&*page.facts(), "Evaluation, W8A8, refined", 0, 1) == QStringLiteral("—"));
    CHECK(shown(&*page.facts(), "Evaluation, W8A8, refined", 0, 2).contains("top-1 % 80.00"));
    // The picture both have is chosen, though it is b's second.
    CHECK(shown(&*page.facts(), "Picture SHA-256", 0, 1) == shown(&*page.facts(), "Picture SHA-256", 0, 2));
    for (const auto choice : {Theme::Choice::dark, Theme::Choice::light}) {
        Theme::instance().set_choice(choice);
        page.show();
        REQUIRE(QTest::qWaitForWindowExposed(&page));
        QTest::qWait(50);
        if (const QByteArray folder = qgetenv("IVIT_SCREENSHOTS"); !folder.isEmpty())
            CHECK(page.grab().save(QString::fromLocal8Bit(folder) + (choice == Theme::Choice::dark
                                                                         ? "/comparison_dark.png"
                                                                         : "/comparison_light.png")));
    }
    Theme::instance().set_choice(Theme::Choice::system);
}

TEST_CASE("comparison: a JSON file is what it says it is", "[comparison]") {
    Two two;
    MainWindow& w = two.opened.window;
    REQUIRE_FALSE(w.comparison());
    w.open_document(two.b);
    REQUIRE(w.comparison());
    CHECK(w.comparison()->report(0));
    CHECK_FALSE(w.comparison()->report(1));
    w.open_document(two.a);
    CHECK((*w.comparison()->report(1))["quant"] == "W8A8");

    // Ranges as `ivit calibrate` writes them are a step of undo; those of another model a sentence.
    const QString ranges = IVIT_SOURCE_DIR "/assets/vit_tiny_cifar10.calibration.json";
    Settings other = w.bench().settings();
    other.calibration = nullptr;
    w.bench().change_settings(other, "without");
    w.open_document(ranges);
    REQUIRE(w.bench().settings().calibration);
    CHECK(w.bench().settings().calibration->pictures == 520);
    CHECK(w.bench().undo_stack().undoText() == "ranges of vit_tiny_cifar10.calibration.json");
    w.open_model("deit_tiny_patch16_64");
    w.open_document(ranges);  // waits for the model
    REQUIRE(two.opened.settled());
    CHECK(w.bench().settings().calibration);  // the same nodes
    QFile none(two.dir.filePath("none.json"));
    REQUIRE(none.open(QIODevice::WriteOnly));
    none.write("{");
    none.close();
    w.open_document(none.fileName());
    CHECK(w.status()->history().last().contains("is not JSON"));
}
