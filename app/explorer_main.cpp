// SPDX-License-Identifier: GPL-3.0-or-later
// ivit-explorer: the desktop program.
#include <QApplication>
#include <QCommandLineParser>
#include <QFileInfo>
#include <QIcon>
#include <QTimer>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>

#include "app/lost_file.h"
#include "engine/error.h"
#include "engine/open_model.h"
#include "engine/version.h"
#include "widgets/gl_canvas.h"
#include "widgets/main_window.h"
#include "widgets/quantization_view.h"
#include "widgets/theme.h"

namespace {

bool given(int argc, char** argv, std::initializer_list<const char*> words) {
    return std::any_of(argv + 1, argv + argc, [&](const char* a) {
        return std::any_of(words.begin(), words.end(), [&](const char* w) { return std::strcmp(a, w) == 0; });
    });
}

int wrong(const QString& sentence) {
    fprintf(stderr, "ivit-explorer: %s\n", qPrintable(sentence));
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    std::cerr.rdbuf(nullptr);  // where OpenCV talks of its sources when it fails
    ivit::say_when_a_mapped_file_is_lost("ivit-explorer");
    // What is only said needs no display; without one Qt would abort.
    const bool only_said = given(argc, argv, {"-h", "--help", "--help-all", "-v", "--version"});
    if (!only_said && !std::getenv("DISPLAY") && !std::getenv("WAYLAND_DISPLAY") &&
        !std::getenv("QT_QPA_PLATFORM")) {
        return wrong(
            QStringLiteral("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)\n"
                           "      `ivit report PHOTO -o report.html` does the job without one"));
    }
    GlCanvas::set_default_format();
    const std::unique_ptr<QCoreApplication> app(only_said ? new QCoreApplication(argc, argv)
                                                          : new QApplication(argc, argv));
    QCoreApplication::setOrganizationName("ivit");
    QCoreApplication::setApplicationName("ivit-explorer");
    QCoreApplication::setApplicationVersion(ivit::version());
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
    parser.addPositionalArgument("FILE", "Pictures, folders of pictures, a checkpoint, a configuration.",
                                 "[FILE...]");
    parser.process(*app);

    const QStringList sides = parser.value(size).split('x'), themes{"system", "light", "dark"};
    const QSize wanted = sides.size() == 2 ? QSize(sides[0].toInt(), sides[1].toInt()) : QSize();
    constexpr int most = 8192;  // more than any screen; a picture of the window takes 4 bytes a pixel
    if (parser.isSet(size) &&
        (std::min(wanted.width(), wanted.height()) < 1 || std::max(wanted.width(), wanted.height()) > most))
        return wrong(QStringLiteral("--size: '%1' is not a size such as 1280x800, at most %2x%2")
                         .arg(parser.value(size))
                         .arg(most));
    if (parser.isSet(theme) && !themes.contains(parser.value(theme)))
        return wrong(
            QStringLiteral("--theme: '%1' is none of system, light and dark").arg(parser.value(theme)));
    if (parser.isSet(model) && parser.isSet(arch))
        return wrong(QStringLiteral("--model and --arch exclude each other"));

    QStringList backends{"auto"};
    for (const ivit::BackendEntry& b : ivit::backends()) backends << QString::fromStdString(b.name);
    if (parser.isSet(backend) && !backends.contains(parser.value(backend)))
        return wrong(QStringLiteral("--backend: '%1' is none of %2")
                         .arg(parser.value(backend), backends.join(QStringLiteral(", "))));

    Theme::instance();
    MainWindow window;
    if (parser.isSet(tab) &&
        (parser.value(tab).toInt() < 1 || parser.value(tab).toInt() > window.tabs()->count()))
        return wrong(QStringLiteral("--tab: '%1' is not a number from 1 to %2")
                         .arg(parser.value(tab))
                         .arg(window.tabs()->count()));
    if (parser.isSet(size)) window.take_size(wanted);
    if (parser.isSet(theme))
        Theme::instance().set_choice(parser.value(theme) == "dark"    ? Theme::Choice::dark
                                     : parser.value(theme) == "light" ? Theme::Choice::light
                                                                      : Theme::Choice::system);
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
    // A checkpoint or a configuration among the pictures is what it would be if it were dropped.
    QStringList pictures, configs;
    QString checkpoint;
    for (const QString& file : parser.positionalArguments()) {
        if (file.endsWith(QStringLiteral(".safetensors"), Qt::CaseInsensitive))
            checkpoint = file;
        else
            (file.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive) ? configs : pictures) << file;
    }
    try {
        if (!checkpoint.isEmpty()) {
            window.open_model(checkpoint);
        } else if (parser.isSet(model) || parser.isSet(arch)) {
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
    for (const QString& file : configs) window.quantization()->load_config(file);
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
