// SPDX-License-Identifier: GPL-3.0-or-later
// The window with what is broken, missing, very much, very small, or ended in the middle.
#include "tests/widgets/opened.h"

#include <qcustomplot.h>
#include <QApplication>
#include <QBuffer>
#include <QClipboard>
#include <QFile>
#include <QMenu>
#include <QMimeData>
#include <QToolButton>
#include <catch2/catch.hpp>

#include "widgets/elided_label.h"
#include "widgets/incoming.h"
#include "widgets/layers_view.h"
#include "widgets/main_window.h"
#include "widgets/model_card.h"
#include "widgets/predictions_view.h"
#include "widgets/status_area.h"

using fixture::wait_until;

TEST_CASE("window: news right behind a warning does not hide it", "[window]") {
    StatusArea status;
    status.say("Opened a", false);
    CHECK(status.message() == "Opened a");
    status.say("b: there is no such file", true);
    status.say("Opened c", false);
    CHECK(status.message().contains("b: there is no such file"));
    CHECK(status.history().last().contains("Opened c"));
    status.say("d is broken", true);
    CHECK(status.message().contains("d is broken"));
}

TEST_CASE("window: what was said can be copied", "[window]") {
    MainWindow w;
    w.status()->say("cat & dog: cannot be read", true);
    auto* log = w.status()->findChild<QToolButton*>();
    REQUIRE(log);
    emit log->menu()->aboutToShow();
    REQUIRE_FALSE(log->menu()->isEmpty());
    log->menu()->actions().constFirst()->trigger();
    CHECK(QGuiApplication::clipboard()->text().endsWith("cat & dog: cannot be read"));
}

TEST_CASE("window: a text that has no room gives way to a shorter one", "[window]") {
    ElidedLabel label(Qt::ElideMiddle);
    label.set_text("blocks.11.attn.softmax, head 2, class token", "head 2");
    label.resize(label.sizeHint());
    CHECK_FALSE(label.elided());
    CHECK(label.shown_text() == label.text());
    label.resize(label.fontMetrics().horizontalAdvance("head 2") + 2, 20);
    CHECK(label.shown_text() == "head 2");
    label.set_text("blocks.11.attn.softmax");
    CHECK(label.shown_text().contains(QChar(0x2026)));
}

TEST_CASE("window: overrides of nodes that the model lacks are left out, and that is said", "[window]") {
    MainWindow w;
    ivit::QuantConfig other;
    other.rules.emplace_back().glob = "blocks.30.attn.qkv";
    w.bench().change_config(other, "another model's");
    w.open_model(bundled);
    REQUIRE(wait_until([&] { return w.bench().model() != nullptr; }));
    CHECK(w.bench().settings().config.rules.empty());
    CHECK(w.status()->history().join('\n').contains("overrides were left out"));
}

TEST_CASE("window: broken, missing and oddly named files are quiet marks", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    const auto shown = w.bench().shown().current;
    QFile text(o.folder.dir.filePath("not_a_picture.jpg"));
    REQUIRE(text.open(QIODevice::WriteOnly));
    text.write("these are words");
    text.close();
    const QString long_name = QString(196, 'n') + ".png";
    w.bench().open_pictures(
        {text.fileName(), o.folder.dir.filePath("missing.png"), o.folder.picture(3, long_name)});
    REQUIRE(wait_until([&] { return !w.bench().pictures().picture(1).error.isEmpty(); }));
    REQUIRE(o.settled());
    CHECK(w.bench().pictures().rowCount() == 3);
    CHECK(QApplication::activeModalWidget() == nullptr);
    CHECK(w.status()->history().join('\n').contains("missing.png"));
    w.bench().selection().set_picture(2);
    REQUIRE(o.settled());
    CHECK(w.predictions()->caption().contains("nnnn"));
    CHECK(w.minimumSizeHint().width() < 1280);

    w.open_model(o.folder.dir.filePath("no_such_model.safetensors"));
    REQUIRE(wait_until([&] { return w.status()->history().last().contains("no_such_model"); }));
    w.open_model("no_such_word");  // which might have been an architecture
    REQUIRE(wait_until([&] {
        return w.status()->history().last().contains(
            "no_such_word: there is neither a file nor an architecture");
    }));
    w.open_model(text.fileName());
    REQUIRE(o.settled());
    CHECK(w.bench().shown().current != nullptr);
    CHECK(w.bench().model() == shown->request->model);

    // Dropped: a folder, a link that leads nowhere, picture data.
    QMimeData folder;
    folder.setUrls({QUrl::fromLocalFile(o.folder.dir.path())});
    CHECK(w.take(&folder));
    QMimeData picture;
    picture.setImageData(painted(5));
    const int rows = w.bench().pictures().rowCount();
    CHECK(w.take(&picture));
    CHECK(w.bench().pictures().rowCount() == rows + 1);
    QMimeData link;
    link.setUrls({QUrl("http://127.0.0.1:9/nothing.png")});
    CHECK(w.take(&link));
    QMimeData nothing;
    nothing.setText("just words");
    CHECK_FALSE(w.take(&nothing));
    // Copied text: a path, a file's link, several of them; a picture inside a link, as pages have them.
    const int before_text = w.bench().pictures().rowCount();
    QMimeData copied;
    const QString third = o.folder.picture(7), fourth = o.folder.picture(8);
    copied.setText(third + "\n" + QUrl::fromLocalFile(fourth).toString() + "\n");
    CHECK(w.take(&copied));
    CHECK(w.bench().pictures().rowCount() == before_text + 2);
    QByteArray png;
    QBuffer buffer(&png);
    buffer.open(QIODevice::WriteOnly);
    REQUIRE(painted(3).save(&buffer, "PNG"));
    QMimeData inlined;
    inlined.setText("data:image/png;base64," + png.toBase64());
    CHECK(w.take(&inlined));
    CHECK(w.bench().pictures().rowCount() == before_text + 3);
    inlined.setText("data:image/png;base64,AAAA");
    CHECK(w.take(&inlined));  // ours, and said to be broken
    CHECK(w.bench().pictures().rowCount() == before_text + 3);
    CHECK(w.status()->history().last().contains("not a picture"));
    CHECK_FALSE(w.take(nullptr));
    REQUIRE(o.settled());
    while (w.bench().pictures().rowCount() > 0) w.bench().remove_picture(0);
    REQUIRE(wait_until([&] { return !w.bench().shown().current; }));
    CHECK(w.predictions()->verdict().isEmpty());
}

TEST_CASE("window: fits a small screen, with the middle as its largest part", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    w.take_size({1024, 700});
    QTest::qWait(50);
    CHECK(w.size() == QSize(1024, 700));
    CHECK(w.tabs()->height() > w.layers()->height());
    CHECK(w.tabs()->tabBar()->sizeHint().width() <= w.tabs()->width());  // every view's name is there
    for (int i = 0; i < w.tabs()->count(); ++i) {
        w.tabs()->setCurrentIndex(i);
        QTest::qWait(20);
        INFO(w.tabs()->tabText(i).toStdString() << " " << w.width());
        CHECK(w.size() == QSize(1024, 700));
    }
    w.findChild<QAction*>("W4A8")->trigger();  // the ghost joins the plot's legend
    REQUIRE(o.settled());
    CHECK(w.minimumSizeHint().width() <= 1024);
}

namespace {

// Opens the window's quantized model from a file of its own, whose checkpoint is not where it was.
QString open_without_checkpoint(Opened& o) {
    ivit::QuantizedModel q = *o.window.bench().shown().comparison()->model;
    q.info.source = "/gone.safetensors";
    const QString file = o.folder.dir.filePath("alone.safetensors");
    ivit::save(q, file.toStdString());
    o.window.open_model(file);
    return file;
}

}  // namespace

TEST_CASE("window: a quantized model without its checkpoint says what it cannot do", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    open_without_checkpoint(o);
    REQUIRE(o.settled());
    REQUIRE(w.bench().shown().comparison()->cumulative.empty());
    bool said = false;
    for (int i = 0; i < w.layers()->plot()->itemCount(); ++i) {
        const auto* text = qobject_cast<QCPItemText*>(w.layers()->plot()->item(i));
        said |= text && text->visible() && text->text().contains("nothing to be\ncompared with");
    }
    CHECK(said);
}

TEST_CASE("window: a quantized model whose file is shortened stays what it is", "[window]") {
    Opened o(2);
    MainWindow& w = o.window;
    const QString file = open_without_checkpoint(o);
    REQUIRE(wait_until([&] { return w.bench().quantized() && w.bench().idle(); }));
    const std::vector<float> before = w.bench().shown().comparison()->integer_trace->logits;
    REQUIRE(QFile::resize(file, 64));
    Settings one_thread = w.bench().settings();
    one_thread.threads = 1;  // every weight is packed anew
    w.bench().change_settings(one_thread, "one thread");
    REQUIRE(o.settled());
    CHECK(w.bench().shown().comparison()->integer_trace->logits == before);
}

TEST_CASE("window: of several models the last that opens stays, and the others are told of", "[window]") {
    Opened o(1);
    MainWindow& w = o.window;
    const QString good = o.folder.dir.filePath("good.safetensors"),
                  broken = o.folder.dir.filePath("broken.safetensors");
    REQUIRE(QFile::copy(bundled, good));
    QFile pointer(broken);
    REQUIRE(pointer.open(QIODevice::WriteOnly));
    pointer.write("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n");
    pointer.close();
    QMimeData drop;
    drop.setUrls({QUrl::fromLocalFile(good), QUrl::fromLocalFile(broken)});
    CHECK(w.take(&drop));
    CHECK_FALSE(w.bench().idle());
    REQUIRE(o.settled());
    CHECK(QString::fromStdString(w.bench().info()->source) == good);
    CHECK(w.bench().shown().current->request->model == w.bench().model());
    CHECK(w.status()->history().join('\n').contains("git lfs pull"));

    // A folder as transformers saves one is a model, also among pictures.
    const QString folder = o.folder.dir.filePath("saved");
    REQUIRE(QDir().mkdir(folder));
    REQUIRE(QFile::copy(bundled, folder + "/model.safetensors"));
    const SortedFiles sorted = sort_files({folder, broken, "a.png", "q.JSON", o.folder.dir.path()});
    CHECK(sorted.models == QStringList{folder, broken});
    CHECK(sorted.documents == QStringList{"q.JSON"});
    CHECK(sorted.pictures == QStringList{"a.png", o.folder.dir.path()});
}

TEST_CASE("window: 2000 files, switching models while calibrating, closing in the middle", "[window]") {
    Folder folder;
    {
        MainWindow w;
        w.show();
        w.open_model(bundled);
        const QString one = folder.picture(1);
        QStringList many;
        for (int i = 0; i < 2000; ++i) many << one;
        QElapsedTimer clock;
        clock.start();
        w.bench().open_pictures(many);
        CHECK(clock.elapsed() < 2000);
        CHECK(w.bench().pictures().rowCount() == 2000);
        REQUIRE(wait_until([&] { return w.bench().shown().current != nullptr; }));
        w.bench().calibrate_on(folder.dir.path().toStdString(), ivit::RangeMethod::mse);
        CHECK(w.bench().calibrating());
        w.open_model("deit_tiny_patch16_64");
        CHECK_FALSE(w.bench().calibrating());
        QTest::qWait(30);
        w.open_model(bundled);
        QTest::qWait(30);
    }
    Opened o(1);
    o.window.bench().calibrate_on(o.folder.dir.path().toStdString(), ivit::RangeMethod::mse);
    REQUIRE(wait_until([&] { return !o.window.bench().calibrating(); }));
    REQUIRE(o.settled());
    REQUIRE(o.window.bench().settings().calibration);
    CHECK(o.window.bench().settings().calibration->pictures == 1);
    CHECK(o.window.model_card()->text().contains("1 picture of"));
    o.window.bench().undo_stack().undo();
    o.window.findChild<QAction*>("W4A4")->trigger();  // and it closes in the middle of that
}
