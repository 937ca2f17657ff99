// SPDX-License-Identifier: GPL-3.0-or-later
// ivit-explorer: the desktop program.
#include <QApplication>
#include <QCommandLineParser>
#include <algorithm>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>

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

int wrong(const std::string& sentence) {
    fprintf(stderr, "ivit-explorer: %s\n", sentence.c_str());
    return 2;
}

struct Arguments {
    QCommandLineParser parser;
    const QCommandLineOption model{
        {"m", "model"}, "Checkpoint, quantized model, or an architecture's name for random weights.", "M"};
    const QCommandLineOption arch{
        "arch", "An architecture with seeded random weights, e.g. deit_small_patch16_224.", "NAME"};
    const QCommandLineOption quant{{"q", "quant"}, "Bit-widths (W4A8) or a JSON configuration.", "Q"};
    const QCommandLineOption backend{"backend", "auto, cpu, cuda or reference.", "B"};
    const QCommandLineOption theme{"theme", "system, light or dark.", "T"};
    const QCommandLineOption tab{"tab",
                                 "View in the middle: 1 attention, 2 tensor, 3 distribution, 4 latency, 5 "
                                 "operator, 6 logit lens, 7 causes.",
                                 "N"};
    const QCommandLineOption node{"node", "Node to select, e.g. blocks.3.attn.softmax.", "NAME"};
    const QCommandLineOption size{"size", "Size of the window, e.g. 1280x800.", "WxH"};
    const QCommandLineOption screenshot{
        "screenshot", "Save a picture of the window when all results are there, and quit.", "FILE"};
    const QCommandLineOption empty{"empty", "Open neither the bundled model nor its samples."};

    Arguments() {
        parser.setApplicationDescription(
            "An integer-only Vision Transformer beside its float original, live.");
        parser.addHelpOption();
        parser.addVersionOption();
        parser.addOptions({model, arch, quant, backend, theme, tab, node, size, screenshot, empty});
        parser.addPositionalArgument("FILE", "Pictures, folders of pictures, a checkpoint, a configuration.",
                                     "[FILE...]");
    }
    bool has(const QCommandLineOption& o) const { return parser.isSet(o); }
    QString value(const QCommandLineOption& o) const { return parser.value(o); }
};

const QStringList themes{"system", "light", "dark"};  // by Theme::Choice
constexpr int most_pixels =
    8192;  // a side of the window: more than any screen; a picture takes 4 bytes a pixel

QSize size_of(const QString& text) {
    const QStringList sides = text.split('x');
    return sides.size() == 2 ? QSize(sides[0].toInt(), sides[1].toInt()) : QSize();
}

// What is wrong with the options, in one sentence; empty: nothing. Settings and files are checked where they
// are read.
QString problem_with(const Arguments& args, int tabs) {
    const QString size = args.value(args.size), theme = args.value(args.theme), tab = args.value(args.tab),
                  backend = args.value(args.backend);
    const QSize wanted = size_of(size);
    if (args.has(args.size) && (std::min(wanted.width(), wanted.height()) < 1 ||
                                std::max(wanted.width(), wanted.height()) > most_pixels))
        return QStringLiteral("--size: '%1' is not a size such as 1280x800, at most %2x%2")
            .arg(size)
            .arg(most_pixels);
    if (args.has(args.theme) && !themes.contains(theme))
        return QStringLiteral("--theme: '%1' is none of system, light and dark").arg(theme);
    if (args.has(args.model) && args.has(args.arch))
        return QStringLiteral("--model and --arch exclude each other");
    QStringList backends{"auto"};
    for (const ivit::BackendEntry& b : ivit::backends()) backends << QString::fromStdString(b.name);
    if (args.has(args.backend) && !backends.contains(backend))
        return QStringLiteral("--backend: '%1' is none of %2")
            .arg(backend, backends.join(QStringLiteral(", ")));
    if (args.has(args.tab) && (tab.toInt() < 1 || tab.toInt() > tabs))
        return QStringLiteral("--tab: '%1' is not a number from 1 to %2").arg(tab).arg(tabs);
    return {};
}

void take_settings(Workbench& bench, const Arguments& args) {
    const QString quant = args.value(args.quant), backend = args.value(args.backend);
    if (args.has(args.quant)) bench.change_config(ivit::QuantConfig::from_spec(quant.toStdString()), quant);
    if (args.has(args.backend)) {
        Settings s = bench.settings();
        s.backend = backend.toStdString();
        bench.change_settings(s, backend);
    }
}

// A checkpoint or a configuration among the pictures is what it would be if it were dropped. Without any, the
// bundled model and its samples.
void open_files(MainWindow& window, const Arguments& args) {
    QStringList pictures, configs;
    QString model = args.value(args.has(args.model) ? args.model : args.arch);
    for (const QString& file : args.parser.positionalArguments()) {
        if (file.endsWith(QStringLiteral(".safetensors"), Qt::CaseInsensitive))
            model = file;
        else
            (file.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive) ? configs : pictures) << file;
    }
    try {
        if (model.isEmpty() && !args.has(args.empty))
            model = QString::fromStdString(ivit::bundled_model().string());
        if (!model.isEmpty()) window.open_model(model);
        if (pictures.isEmpty() && !args.has(args.empty)) {
            const std::filesystem::path samples = ivit::assets() / "samples";
            if (std::filesystem::exists(samples)) pictures << QString::fromStdString(samples.string());
        }
    } catch (const ivit::Error& e) {
        window.bench().say(QString::fromUtf8(e.what()), true);  // no assets: an empty window that says so
    }
    window.bench().open_pictures(pictures);
    for (const QString& file : configs) window.quantization()->load_config(file);
}

void select_when_open(Workbench& bench, const QString& node) {
    QObject::connect(&bench, &Workbench::model_changed, &bench, [&bench, node] {
        if (!bench.graph()) return;
        const int found = bench.graph()->find(node.toStdString());
        if (found >= 0)
            bench.selection().set_node(found);
        else
            bench.say(QStringLiteral("This network has no node called %1").arg(node), true);
    });
}

}  // namespace

int main(int argc, char** argv) {
    std::cerr.rdbuf(nullptr);  // where OpenCV talks of its sources when it fails
    ivit::say_when_a_mapped_file_is_lost("ivit-explorer");
    // What is only said needs no display; without one Qt would abort.
    const bool only_said = given(argc, argv, {"-h", "--help", "--help-all", "-v", "--version"});
    if (!only_said && qEnvironmentVariableIsEmpty("DISPLAY") &&
        qEnvironmentVariableIsEmpty("WAYLAND_DISPLAY") && qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) {
        return wrong(
            "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)\n"
            "      `ivit report PHOTO -o report.html` does the job without one");
    }
    GlCanvas::set_default_format();
    const std::unique_ptr<QCoreApplication> app(only_said ? new QCoreApplication(argc, argv)
                                                          : new QApplication(argc, argv));
    QCoreApplication::setOrganizationName("ivit");
    QCoreApplication::setApplicationName("ivit-explorer");
    QCoreApplication::setApplicationVersion(ivit::version());
    QGuiApplication::setApplicationDisplayName("I-ViT Explorer");
    Arguments args;
    args.parser.process(*app);

    Theme::instance();  // the style, before there is anything to be styled
    MainWindow window;
    if (const QString problem = problem_with(args, window.tabs()->count()); !problem.isEmpty())
        return wrong(problem.toStdString());
    if (args.has(args.size)) window.take_size(size_of(args.value(args.size)));
    if (args.has(args.theme))
        Theme::instance().set_choice(static_cast<Theme::Choice>(themes.indexOf(args.value(args.theme))));
    window.show();
    try {
        take_settings(window.bench(), args);
    } catch (const ivit::Error& e) {
        return wrong(e.what());
    }
    open_files(window, args);
    if (args.has(args.node)) select_when_open(window.bench(), args.value(args.node));
    if (args.has(args.tab)) window.tabs()->setCurrentIndex(args.value(args.tab).toInt() - 1);
    if (args.has(args.screenshot)) window.screenshot_when_ready(args.value(args.screenshot));
    return QApplication::exec();
}
