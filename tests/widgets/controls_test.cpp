// SPDX-License-Identifier: GPL-3.0-or-later
// Every control has a name for screen readers and a tooltip; every key is listed; every table can be taken
// away as CSV.
#include <qcustomplot.h>
#include <QAbstractItemView>
#include <QCheckBox>
#include <QClipboard>
#include <QComboBox>
#include <QDialog>
#include <QFile>
#include <QHeaderView>
#include <QListView>
#include <QMenuBar>
#include <QOpenGLWidget>
#include <QRegularExpression>
#include <QSlider>
#include <QSpinBox>
#include <QTabBar>
#include <QTextBrowser>
#include <QToolButton>
#include <QUndoStack>

#include "tests/widgets/opened.h"
#include "widgets/attention_view.h"
#include "widgets/exporting.h"
#include "widgets/layers_view.h"
#include "widgets/metrics.h"
#include "widgets/model_card.h"
#include "widgets/operator_view.h"
#include "widgets/pictures_view.h"
#include "widgets/quantization_view.h"
#include "widgets/tensor_view.h"

namespace {

// Parts of another control: a scroll bar, a combo box's list, a header, the field inside a spin box.
bool is_a_part(const QWidget* w) {
    if (qobject_cast<const QScrollBar*>(w) || w->inherits("QTableCornerButton") ||
        w->inherits("QComboBoxListView") || w->inherits("QMenu"))
        return true;
    if (qobject_cast<const QHeaderView*>(w)) return true;
    if (w->objectName() == "ScrollLeftButton" || w->objectName() == "ScrollRightButton" ||
        w->objectName() == "qt_toolbar_ext_button" || w->objectName() == "qt_menubar_ext_button")
        return true;
    for (const QWidget* p = w->parentWidget(); p; p = p->parentWidget()) {
        if (qobject_cast<const QComboBox*>(p) || qobject_cast<const QAbstractSpinBox*>(p)) return true;
    }
    return false;
}

bool is_interactive(const QWidget* w) {
    return qobject_cast<const QAbstractButton*>(w) || qobject_cast<const QComboBox*>(w) ||
           qobject_cast<const QAbstractSlider*>(w) || qobject_cast<const QAbstractSpinBox*>(w) ||
           qobject_cast<const QLineEdit*>(w) || qobject_cast<const QAbstractItemView*>(w) ||
           qobject_cast<const QTabBar*>(w) || qobject_cast<const QCustomPlot*>(w) ||
           qobject_cast<const QOpenGLWidget*>(w) || qobject_cast<const View*>(w);
}

void walk(const QMenu* menu, const std::function<void(const QAction*)>& visit) {
    for (const QAction* a : menu->actions()) {
        if (a->menu()) walk(a->menu(), visit);
        visit(a);
    }
}

}  // namespace

TEST_CASE("controls: each has a name for screen readers and a tooltip", "[controls]") {
    Opened o(2);
    MainWindow& w = o.window;
    for (int tab = 0; tab < w.tabs()->count(); ++tab) {
        w.tabs()->setCurrentIndex(tab);
        QTest::qWait(30);
    }
    int walked = 0;
    for (QWidget* c : w.findChildren<QWidget*>()) {
        if (!is_interactive(c) || is_a_part(c)) continue;
        ++walked;
        const auto* button = qobject_cast<QAbstractButton*>(c);
        INFO(c->metaObject()->className()
             << " '" << c->objectName().toStdString() << "' in "
             << (c->parentWidget() ? c->parentWidget()->objectName().toStdString() : "") << " "
             << (button ? button->text().toStdString() : "") << " " << c->accessibleName().toStdString());
        CHECK((!c->accessibleName().isEmpty() || (button && !button->text().isEmpty())));
        if (auto* bar = qobject_cast<QTabBar*>(c)) {
            for (int i = 0; i < bar->count(); ++i) CHECK_FALSE(bar->tabToolTip(i).isEmpty());
        } else if (!qobject_cast<View*>(c)) {  // a view's parts have tooltips, its gaps need none
            CHECK_FALSE(c->toolTip().isEmpty());
        }
    }
    CHECK(walked > 62);
    // A metric's tooltip says what it is and where it comes from.
    for (const metrics::Metric& m : metrics::all()) {
        INFO(m.name.toStdString());
        CHECK(m.definition.contains("From "));
    }
    for (const char* name : {"margin", "kl_logits", "sqnr_logits", "agreement", "probability", "kl_attention",
                             "row_sum", "rollout", "latency", "speedup"}) {
        INFO(name);
        CHECK(metrics::define(name).contains("From "));
    }
    // Where a definition names a section of the specification, there is one that begins so.
    QFile file(IVIT_SOURCE_DIR "/engine/arithmetic.md");
    REQUIRE(file.open(QIODevice::ReadOnly));
    const QString specification = QString::fromUtf8(file.readAll());
    const QRegularExpression reference("engine/arithmetic\\.md, (\\w+)");
    for (const char* name : {"weight", "activation", "residual", "operator_curve", "shiftmax.t",
                             "shiftgelu.t", "shiftgelu.pivot"}) {
        INFO(name);
        const auto match = reference.match(metrics::define(name));
        REQUIRE(match.hasMatch());
        CHECK(specification.contains("\n## " + match.captured(1)));
    }
    QAbstractItemModel* table = w.layers()->table()->model();
    for (int c = 0; c < table->columnCount(); ++c) {
        CHECK_FALSE(table->headerData(c, Qt::Horizontal, Qt::ToolTipRole).toString().isEmpty());
    }
}

TEST_CASE("controls: F1 lists every key, and no two actions share one", "[controls]") {
    Opened o(1);
    MainWindow& w = o.window;
    QTest::keyClick(&w, Qt::Key_F1);
    auto* dialog = w.findChild<QDialog*>("keys");
    REQUIRE(dialog);
    CHECK_FALSE(dialog->isModal());
    const QString listed = dialog->findChild<QTextBrowser*>()->toPlainText();
    QStringList keys;
    for (const QAction* top : w.menuBar()->actions()) {
        walk(top->menu(), [&](const QAction* a) {
            if (a->shortcut().isEmpty()) return;
            const QString key = a->shortcut().toString(QKeySequence::NativeText);
            INFO(key.toStdString() << " " << a->text().toStdString());
            CHECK(listed.contains(key));
            CHECK(listed.contains(QString(a->text()).remove('&')));
            CHECK_FALSE(keys.contains(key));
            keys << key;
        });
    }
    CHECK(keys.size() > 40);
    QTest::keyClick(&w, Qt::Key_F1);
    CHECK(w.findChildren<QDialog*>("keys").size() == 1);
}

TEST_CASE("controls: the keys do what F1 says", "[controls]") {
    Opened o(2);
    MainWindow& w = o.window;
    auto* rollout = w.findChild<QCheckBox*>("rollout");
    REQUIRE(rollout);
    const std::vector<double> row = w.attention()->integer_row();
    QTest::keyClick(&w, Qt::Key_R);
    CHECK(rollout->isChecked());
    CHECK(w.attention()->integer_row() != row);
    QTest::keyClick(&w, Qt::Key_R);
    CHECK(w.attention()->integer_row() == row);
    auto* against = w.findChild<QComboBox*>("against");
    const std::vector<double> same_logits = w.attention()->float_row();
    QTest::keyClick(&w, Qt::Key_A);
    CHECK(against->currentIndex() == 1);
    CHECK(w.attention()->float_row() != same_logits);
    w.bench().selection().set_token(7);
    QTest::keyClick(&w, Qt::Key_Escape);
    CHECK(w.bench().selection().token() == 0);
    QTest::keyClick(&w, Qt::Key_Right);
    CHECK(w.bench().selection().picture() == 1);
    REQUIRE(o.settled());
    QTest::keyClick(&w, Qt::Key_K);
    CHECK(w.findChild<QCheckBox*>("keep_running")->isChecked());
    QTest::keyClick(&w, Qt::Key_K);
    QTest::keyClick(&w, Qt::Key_W);
    CHECK(w.layers()->table()->horizontalHeader()->sortIndicatorSection() ==
          NodeTableModel::column_of(metrics::Id::sqnr_cumulative));
    QTest::keyClick(&w, Qt::Key_E);
    CHECK(w.layers()->table()->model()->index(0, 0).data().toString() == "0");
    QTest::keyClick(&w, Qt::Key_F5);
    CHECK(w.model_card()->isVisible());
    // Somebody who types into a field types.
    w.tabs()->setCurrentWidget(w.tensor());
    w.bench().selection().set_node(w.bench().graph()->find("blocks.0.mlp.fc1"));
    QTest::keyClick(&w, Qt::Key_M);
    auto* channel = w.tensor()->findChild<QSpinBox*>("tensor_channel");
    REQUIRE(channel);
    REQUIRE(channel->isVisible());
    channel->setFocus();
    channel->selectAll();
    QTest::keyClick(channel, Qt::Key_5);
    QTest::keyClick(channel, Qt::Key_Return);
    CHECK(w.tabs()->currentWidget() == w.tensor());
    CHECK(w.bench().selection().channel() == 5);
}

TEST_CASE("controls: what has the focus keeps the keys it needs, and a click takes no focus", "[controls]") {
    Opened o(2);
    MainWindow& w = o.window;
    // A new window's keys work at once, whatever was made first.
    QTest::keyClick(QApplication::focusWidget(), Qt::Key_3);
    CHECK(w.tabs()->currentIndex() == 2);
    // A slider is moved by the arrows, and the pictures stay.
    w.findChild<QToolButton*>("more_shiftmax")->click();
    auto* t = w.findChild<QSlider*>("shiftmax_t");
    t->setFocus();
    const int before = t->value();
    QTest::keyClick(t, Qt::Key_Left);
    CHECK(t->value() == before - 1);
    CHECK(w.bench().selection().picture() == 0);
    REQUIRE(o.settled());
    w.bench().undo_stack().undo();
    // The tree is walked, opened and edited without a mouse.
    QTreeView* tree = w.quantization()->tree();
    tree->setFocus();
    const QModelIndex block =
        w.quantization()->model().index_of_node(w.bench().graph()->find("blocks.2.mlp.fc1")).parent();
    tree->setCurrentIndex(block);
    QTest::keyClick(tree, Qt::Key_Right);
    CHECK(tree->isExpanded(block));
    tree->setCurrentIndex(block.siblingAtColumn(QuantTreeModel::weight_column));
    QTest::keyClick(tree, Qt::Key_Return);
    auto* box = tree->findChild<QComboBox*>();
    REQUIRE(box);
    REQUIRE(fixture::wait_until([&] { return box->view()->isVisible(); }));
    // One Esc leaves the list and the cell, and changes nothing.
    const int changes = w.bench().undo_stack().count();
    QPointer<QComboBox> editor = box;
    QTest::keyClick(box->view(), Qt::Key_Escape);
    REQUIRE(fixture::wait_until([&] { return !editor; }));
    CHECK(w.bench().undo_stack().count() == changes);
    CHECK(tree->hasFocus());
    // Return on another entry makes it the block's.
    QTest::keyClick(tree, Qt::Key_Return);
    editor = box = tree->findChild<QComboBox*>();
    REQUIRE(box);
    REQUIRE(fixture::wait_until([&] { return box->view()->isVisible(); }));
    box->view()->setCurrentIndex(box->model()->index(box->findText("4"), 0));
    QTest::keyClick(box->view(), Qt::Key_Return);
    REQUIRE(fixture::wait_until([&] { return !editor; }));
    REQUIRE(o.settled());
    CHECK(tree->currentIndex().siblingAtColumn(QuantTreeModel::weight_column).data().toString() == "4");
    w.bench().undo_stack().undo();
    // Clicking a button leaves the keys to the window; with Tab it can be pressed by Space.
    w.tabs()->setCurrentWidget(w.tensor());
    w.tabs()->setFocus();
    auto* difference = w.tensor()->findChild<QAbstractButton*>();
    REQUIRE(difference);
    QTest::mouseClick(difference, Qt::LeftButton);
    CHECK_FALSE(difference->hasFocus());
    CHECK((difference->focusPolicy() & Qt::TabFocus) != 0);
}

TEST_CASE("controls: a preset whose sliders were moved is named so, and choosing that name changes nothing",
          "[controls]") {
    Opened o(1);
    auto* preset = o.window.findChild<QComboBox*>("operator_preset");
    REQUIRE(preset->count() == 2);
    auto* t = o.window.findChild<QSlider*>("shiftmax_t");
    t->setValue(t->value() - 1);
    REQUIRE(preset->currentText() == "refined, changed");
    const ivit::QuantConfig changed = o.window.bench().settings().config;
    emit preset->activated(preset->currentIndex());
    CHECK(o.window.bench().settings().config == changed);
    // The preset itself puts them back.
    preset->setCurrentText("refined");
    emit preset->activated(preset->currentIndex());
    CHECK(o.window.bench().settings().config == ivit::QuantConfig());
    CHECK(preset->count() == 2);
    REQUIRE(o.settled());
}

TEST_CASE("controls: tables, plots and the tree are copied as CSV", "[controls]") {
    Opened o(1);
    MainWindow& w = o.window;
    const auto copy = [](QWidget* from, const QString& text) {
        QGuiApplication::clipboard()->clear();
        for (QAction* a : from->actions()) {
            if (a->text() == text) a->trigger();
        }
        return QGuiApplication::clipboard()->text();
    };
    const int nodes = int(w.bench().graph()->nodes.size());
    const QString table = copy(w.layers()->table(), "Copy as CSV");
    CHECK(table.count("\r\n") == nodes + 1);
    CHECK(table.contains("blocks.0.attn.softmax"));
    const QString tree = copy(w.quantization()->tree(), "Copy as CSV");
    CHECK(tree.startsWith("node,W,A"));
    CHECK(tree.count("\r\n") > nodes);
    const QString strip = copy(w.pictures()->list(), "Copy as CSV");
    CHECK(strip.startsWith("picture,float,float probability,integer,integer probability"));
    CHECK(strip.contains("picture_0.png"));
    const QString sqnr = copy(w.layers()->plot(), "Copy values as CSV");
    CHECK(sqnr.startsWith("curve,x,y\r\n"));
    CHECK(sqnr.count("cumulative,") > nodes / 2);
    const QString row = copy(w.attention()->canvas(), "Copy row as CSV");
    CHECK(row.count("\r\n") == 66);
    w.tabs()->setCurrentWidget(w.operators());
    QTest::qWait(20);
    CHECK(copy(w.operators()->canvas(), "Copy values as CSV").contains("Shiftmax's exponential,"));
}

TEST_CASE("controls: Tab goes round everything that is in sight, and lands on nothing that is not",
          "[controls]") {
    Opened o(2);
    MainWindow& w = o.window;
    for (const Qt::Key key : {Qt::Key_Tab, Qt::Key_Backtab}) {
        for (int tab = 0; tab < w.tabs()->count(); ++tab) {
            w.tabs()->setCurrentIndex(tab);
            QTest::qWait(30);
            INFO(w.tabs()->tabText(tab).toStdString());
            w.tabs()->tabBar()->setFocus();
            QSet<const QWidget*> visited;
            const QWidget* at = QApplication::focusWidget();
            while (at && !visited.contains(at)) {
                visited << at;
                INFO(at->metaObject()->className() << " " << at->accessibleName().toStdString());
                const auto* button = qobject_cast<const QAbstractButton*>(at);
                CHECK((!at->accessibleName().isEmpty() || (button && !button->text().isEmpty())));
                if (at->window() == &w)
                    CHECK(w.rect().intersects(QRect(at->mapTo(&w, QPoint(0, 0)), at->size())));
                QTest::keyClick(QApplication::focusWidget(), key);
                at = QApplication::focusWidget();
            }
            CHECK(at == w.tabs()->tabBar());  // round again, not caught on the way
            for (const char* name : {"layers", "pictures", "quantization_tree", "backend"})
                CHECK(visited.contains(w.findChild<QWidget*>(name)));
        }
    }
}

TEST_CASE("controls: patches and heads are walked with keys, and no further than there are any",
          "[controls]") {
    Opened o(1);
    MainWindow& w = o.window;
    w.bench().selection().set_node(w.bench().graph()->find("blocks.2.attn.softmax"));
    const int side = w.bench().graph()->image_size / w.bench().graph()->patch_size;
    w.tabs()->setCurrentWidget(w.operators());  // where no attention view would put the head right
    for (int i = 0; i < 9; ++i) QTest::keyClick(&w, Qt::Key_BracketRight);
    CHECK(w.bench().selection().head() == w.bench().graph()->heads - 1);
    for (int i = 0; i < 9; ++i) QTest::keyClick(&w, Qt::Key_BracketLeft);
    CHECK(w.bench().selection().head() == 0);
    QTest::keyClick(&w, Qt::Key_Down, Qt::ShiftModifier);
    CHECK(w.bench().selection().token() == 1 + side / 2 * side + side / 2);
    for (int i = 0; i < 30; ++i) QTest::keyClick(&w, Qt::Key_Right, Qt::ShiftModifier);
    for (int i = 0; i < 30; ++i) QTest::keyClick(&w, Qt::Key_Down, Qt::ShiftModifier);
    CHECK(w.bench().selection().token() == side * side);
    for (int i = 0; i < 30; ++i) QTest::keyClick(&w, Qt::Key_Left, Qt::ShiftModifier);
    for (int i = 0; i < 30; ++i) QTest::keyClick(&w, Qt::Key_Up, Qt::ShiftModifier);
    CHECK(w.bench().selection().token() == 1);
}

TEST_CASE("controls: numbers have a point on a desktop that writes commas", "[controls]") {
    Opened o(1);
    for (const QWidget* c : o.window.findChildren<QWidget*>()) {
        INFO(c->metaObject()->className() << " " << c->objectName().toStdString());
        CHECK(c->locale().decimalPoint() == QStringLiteral("."));
    }
}
