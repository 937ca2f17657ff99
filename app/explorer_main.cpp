// SPDX-License-Identifier: GPL-3.0-or-later
// ivit-explorer: the desktop program.
#include <QApplication>
#include <QCommandLineParser>
#include <QFileInfo>
#include <QIcon>
#include <QTimer>

#include "engine/error.h"
#include "engine/open_model.h"
#include "widgets/gl_canvas.h"
#include "widgets/main_window.h"
#include "widgets/quantization_view.h"
#include "widgets/theme.h"

int main(int argc, char** argv) {
    GlCanvas::set_default_format();
    QApplication app(argc, argv);
    QCoreApplication::setOrganizationName("ivit");
    QCoreApplication::setApplicationName("ivit-explorer");
    QCoreApplication::setApplicationVersion(IVIT_VERSION);
    QGuiApplication::setApplicationDisplayName("I-ViT Explorer");

    QCommandLineParser parser;
    parser.setApplicationDescription("An integer-only Vision Transformer beside its float original, live.");
    parser.addHelpOption();
    parser.addVersionOption();
    const QCommandLineOption model(
        {"m", "model"}, "Checkpoint, quantized model, or an architecture's name for random weights.", "M");
    const QCommandLineOption arch(
        "arch", "An architecture with seeded random weights, e.g. deit_small_patch16_224.", "NAME");
    const QCommandLineOption quant({"q", "quant"}, "Bit-widths (W4A8) or a JSON configuration.", "Q");
    const QCommandLineOption backend("backend", "auto, cpu, cuda or reference.", "B");
    const QCommandLineOption theme("theme", "system, light or dark.", "T");
    const QCommandLineOption tab("tab",
                                 "View in the middle: 1 attention, 2 tensor, 3 distribution, 4 latency, 5 "
                                 "operator, 6 logit lens, 7 causes.",
                                 "N");
    const QCommandLineOption node("node", "Node to select, e.g. blocks.3.attn.softmax.", "NAME");
    const QCommandLineOption size("size", "Size of the window, e.g. 1280x800.", "WxH");
    const QCommandLineOption screenshot(
        "screenshot", "Save a picture of the window when all results are there, and quit.", "FILE");
    const QCommandLineOption empty("empty", "Open neither the bundled model nor its samples.");
    parser.addOptions({model, arch, quant, backend, theme, tab, node, size, screenshot, empty});
    parser.addPositionalArgument("IMAGE", "Pictures or folders of pictures.", "[IMAGE...]");
    parser.process(app);

    Theme::instance();
    MainWindow window;
    if (parser.isSet(size)) {
        const QStringList sides = parser.value(size).split('x');
        if (sides.size() == 2 && sides[0].toInt() > 0 && sides[1].toInt() > 0)
            window.resize(sides[0].toInt(), sides[1].toInt());
    }
    if (parser.isSet(theme)) {
        const QString t = parser.value(theme);
        Theme::instance().set_choice(t == "dark"    ? Theme::Choice::dark
                                     : t == "light" ? Theme::Choice::light
                                                    : Theme::Choice::system);
    }
    window.show();

    Workbench& bench = window.bench();
    try {
        if (parser.isSet(quant))
            bench.change_config(ivit::QuantConfig::from_spec(parser.value(quant).toStdString()),
                                parser.value(quant));
        if (parser.isSet(backend)) {
            Settings s = bench.settings();
            s.backend = parser.value(backend).toStdString();
            bench.change_settings(s, parser.value(backend));
        }
    } catch (const ivit::Error& e) {
        fprintf(stderr, "ivit-explorer: %s\n", e.what());
        return 2;
    }
    QStringList pictures = parser.positionalArguments();
    try {
        if (parser.isSet(model) || parser.isSet(arch)) {
            window.open_model(parser.value(parser.isSet(model) ? model : arch));
        } else if (!parser.isSet(empty)) {
            window.open_model(QString::fromStdString(ivit::bundled_model().string()));
        }
        const std::filesystem::path samples =
            parser.isSet(empty) ? std::filesystem::path() : ivit::assets() / "samples";
        if (pictures.isEmpty() && !samples.empty() && std::filesystem::exists(samples))
            pictures << QString::fromStdString(samples.string());
    } catch (const ivit::Error& e) {
        bench.say(QString::fromUtf8(e.what()), true);  // no assets: an empty window that says so
    }
    bench.open_pictures(pictures);
    if (parser.isSet(node)) {
        const std::string name = parser.value(node).toStdString();
        QObject::connect(&bench, &Workbench::model_changed, &window, [&bench, name] {
            if (!bench.graph()) return;
            const int found = bench.graph()->find(name);
            if (found < 0)
                return bench.say(
                    QStringLiteral("This network has no node called %1").arg(QString::fromStdString(name)),
                    true);
            bench.selection().set_node(found);
        });
    }
    if (parser.isSet(tab)) window.tabs()->setCurrentIndex(parser.value(tab).toInt() - 1);
    if (parser.isSet(screenshot)) window.screenshot_when_ready(parser.value(screenshot));
    return QApplication::exec();
}
