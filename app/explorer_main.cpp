// SPDX-License-Identifier: GPL-3.0-or-later
// ivit-explorer: the desktop program.
#include <QApplication>
#include <QCommandLineParser>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>

#include "app/lost_file.h"
#include "engine/error.h"
#include "engine/open_model.h"
#include "engine/version.h"
#include "widgets/gl_canvas.h"
#include "widgets/incoming.h"
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

// Where no window can be opened Qt says so in several lines of its own and aborts.
std::unique_ptr<QCoreApplication> application_with_display(int& argc, char** argv) {
    static QtMessageHandler as_usual;
    static QString reason;  // the first that Qt gives
    as_usual = qInstallMessageHandler([](QtMsgType type, const QMessageLogContext& from,
                                         const QString& text) {
        const bool about_display = qstrncmp(from.category, "qt.qpa", 6) == 0;
        if (about_display && reason.isEmpty()) reason = text.simplified();
        if (type == QtFatalMsg) {
            const bool none = qEnvironmentVariableIsEmpty("DISPLAY") &&
                              qEnvironmentVariableIsEmpty("WAYLAND_DISPLAY") &&
                              qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM");
            wrong((none ? QStringLiteral("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)")
                        : QStringLiteral("no window can be opened: %1").arg(reason))
                      .toStdString() +
                  "\n      `ivit report PHOTO -o report.html` does the job without one");
            std::_Exit(2);
        }
        if (!about_display) as_usual(type, from, text);
    });
    auto app = std::make_unique<QApplication>(argc, argv);
    qInstallMessageHandler(as_usual);
    return app;
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
        parser.addPositionalArgument(
            "FILE", "Pictures, folders of pictures, a checkpoint, a configuration, ranges, a report.",
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

// What is named is what it would be if it were dropped. Of several models the last that opens stays. Without
// a model the bundled one, without pictures its samples.
void open_files(MainWindow& window, const Arguments& args) {
    SortedFiles files = sort_files(args.parser.positionalArguments());
    for (const auto* option : {&args.arch, &args.model})
        if (args.has(*option)) files.models.prepend(args.value(*option));
    try {
        if (files.models.isEmpty() && !args.has(args.empty))
            files.models << QString::fromStdString(ivit::bundled_model().string());
        if (files.pictures.isEmpty() && !args.has(args.empty)) {
            const std::filesystem::path samples = ivit::assets() / "samples";
            if (std::filesystem::exists(samples)) files.pictures << QString::fromStdString(samples.string());
        }
    } catch (const ivit::Error& e) {
        window.bench().say(QString::fromUtf8(e.what()), true);  // no assets: an empty window that says so
    }
    for (const QString& model : files.models) window.open_model(model);
    window.bench().open_pictures(files.pictures);
    for (const QString& file : files.documents) window.open_document(file);
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
    // What is only said needs no display.
    const bool only_said = given(argc, argv, {"-h", "--help", "--help-all", "-v", "--version"});
    GlCanvas::set_default_format();
    const std::unique_ptr<QCoreApplication> app =
        only_said ? std::make_unique<QCoreApplication>(argc, argv) : application_with_display(argc, argv);
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
