// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/command.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <thread>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace fs = std::filesystem;

namespace {

std::stop_source& interrupt() {
    static std::stop_source source;
    return source;
}

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void add_common(CLI::App& c, Options& o) {
    c.add_option("--model,-m", o.model,
                 "checkpoint (timm or Hugging Face names) or quantized model; the bundled one without it");
    auto* arch =
        c.add_option("--arch", o.arch,
                     "a named architecture with seeded random weights instead, e.g. deit_small_patch16_224");
    c.add_option("--seed", o.seed, "of the random weights")->needs(arch)->capture_default_str();
    c.add_option("--quant,-q", o.quant,
                 "W8A8, W4A8, W8A8/8 ... or a configuration as JSON file (default: a quantized model's own, "
                 "else W8A8)");
    c.add_option("--preset", o.preset, "operators: paper or refined (default refined)")
        ->check(CLI::IsMember({"paper", "refined"}));
    c.add_option("--backend,-b", o.backend, "auto, reference, cpu or cuda")->capture_default_str();
    c.add_option("--threads,-t", o.threads, "kernel threads; 0: all cores")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    c.add_option("--calibration", o.calibration,
                 "folder of pictures, or a .calibration.json, to take the ranges from");
    c.add_option("--method", o.method, "ranges: minmax, percentile or mse (default mse)")
        ->check(CLI::IsMember({"minmax", "percentile", "mse"}));
    c.add_flag("--json", o.json, "one JSON document on standard output");
}

void add_top(CLI::App& c, Options& o) {
    c.add_option("--top", o.top, "how many predictions to show")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
}

void check_output(const fs::path& output, const Options& o, const std::vector<std::string>& inputs) {
    check_writable(output);
    std::vector<fs::path> read(inputs.begin(), inputs.end());
    const fs::path model = o.model.empty() && o.arch.empty() ? bundled_model() : fs::path(o.model);
    read.insert(read.end(), {model, model / "model.safetensors", o.quant, o.calibration});
    std::error_code not_there;
    for (const fs::path& input : read)
        if (fs::equivalent(output, input, not_there))
            throw Error("this file is read, it is not written over", output.string(),
                        "name another file for the output");
}

OpenedModel open(const Options& o) {
    if (!o.model.empty() && !o.arch.empty()) throw Error("--model and --arch exclude each other");
    if (!o.arch.empty()) {
        OpenedModel m;
        m.model = random_model(o.arch, static_cast<uint64_t>(o.seed));
        return m;
    }
    return open_model(o.model.empty() ? bundled_model() : fs::path(o.model));
}

Pixels load_pixels(const fs::path& file, const Graph& g, const ModelInfo& info) {
    return preprocess(read_image(file), g.image_size, info.crop_pct);
}

std::optional<Pixels> Pictures::read(const std::string& file) {
    if (broken_.count(file)) return std::nullopt;
    try {
        return load_pixels(file, *of_.graph(), of_.info());
    } catch (const Error& e) {
        say(one_line(e.what()));
        broken_.insert(file);
        skipped_.push_back({{"file", file}, {"error", e.sentence()}});
        return std::nullopt;
    }
}

Pixels Pictures::first() {
    if (files_.size() == 1) return load_pixels(files_[0], *of_.graph(), of_.info());
    for (const auto& file : files_)
        if (auto pixels = read(file)) return std::move(*pixels);
    throw Error("none of the pictures can be read");
}

Calibration calibrate_folder(const Options& o, const Model& m, const fs::path& folder, Json* skipped) {
    const auto pictures = list_pictures(folder);
    ProgressBar bar("calibrating", static_cast<int64_t>(pictures.size()));
    Json left_out = Json::array();
    const auto why = [&](size_t i) {
        return one_line(left_out[i]["file"]) + ": " + left_out[i]["error"].get<std::string>();
    };
    auto c = calibrate(
        m, static_cast<int64_t>(pictures.size()),
        [&](int64_t i) {
            const fs::path& file = pictures[static_cast<size_t>(i)];
            try {
                return load_pixels(file, *m.graph, m.info);
            } catch (const Error& e) {
                left_out.push_back({{"file", file.string()}, {"error", e.sentence()}});
                if (left_out.size() == pictures.size())
                    throw Error("no picture of it can be read, the first: " + why(0), folder.string());
                return Pixels();
            }
        },
        range_method(o.method.empty() ? "mse" : o.method), o.threads,
        [&](int64_t done, int64_t) {
            bar.step(done);
            return !interrupted().stop_requested();
        });
    c.source += " of " + (fs::absolute(folder) / "").lexically_normal().parent_path().filename().string();
    constexpr size_t shown = 10;
    for (size_t i = 0; i < std::min(shown, left_out.size()); ++i)
        say("note: left out of the calibration: " + why(i));
    if (left_out.size() > shown) say(fmt::format("note: ... and {} more pictures", left_out.size() - shown));
    if (skipped) *skipped = std::move(left_out);
    return c;
}

Calibration choose_calibration(const Options& o, const OpenedModel& m, const std::function<Pixels()>& first) {
    if (m.quantized && !m.model && !o.calibration.empty())
        throw Error("a quantized model cannot be calibrated again without its float checkpoint", o.model);
    Calibration c;
    if (!o.calibration.empty()) {
        c = fs::is_directory(o.calibration) ? calibrate_folder(o, *m.model, o.calibration)
                                            : read_calibration(o.calibration, *m.graph());
    } else if (m.calibration) {
        c = *m.calibration;
    } else {
        std::optional<ProgressBar> bar;
        c = calibrate_on_picture(*m.model, first(), o.threads, [&](int64_t done, int64_t total) {
            if (!bar) bar.emplace("calibrating", total, done);
            bar->step(done);
            return true;
        });
    }
    if (!o.method.empty()) c.method = range_method(o.method);
    return c;
}

QuantConfig choose_config(const Options& o, const OpenedModel& m) {
    QuantConfig config;
    if (!o.quant.empty())
        config = QuantConfig::from_spec(o.quant);
    else if (m.quantized)
        config = m.quantized->config;
    if (!o.preset.empty()) config.set_preset(o.preset);
    return config;
}

Setup prepare(const Options& o, const std::function<Pixels()>& first) {
    Setup s;
    s.opened = open(o);
    if (!s.opened.note.empty()) say("note: " + s.opened.note);
    const bool as_it_is = s.opened.quantized && o.quant.empty() && o.preset.empty() &&
                          o.calibration.empty() && o.method.empty();
    if (s.opened.quantized && !as_it_is && !s.opened.model)
        throw Error(
            "its integers are fixed: --quant, --preset, --method and --calibration need the float checkpoint",
            o.model);
    if (as_it_is) {
        s.quantized = s.opened.quantized;
        if (s.opened.model) {
            auto with_source = std::make_shared<QuantizedModel>(*s.quantized);
            with_source->source = s.opened.model;
            s.quantized = with_source;
        }
    } else {
        const QuantConfig config = choose_config(o, s.opened);
        s.quantized = quantize(s.opened.model, choose_calibration(o, s.opened, first), config);
    }
    std::string gpu_absent;
    s.backend = make_backend(o.backend, o.threads, &gpu_absent);
    s.integers = s.backend->load(s.quantized);
    if (s.opened.model) s.floats = make_float_network(s.opened.model, o.threads);
    s.effective = effective(*s.quantized, s.backend->info(), gpu_absent);
    return s;
}

ProgressBar::ProgressBar(std::string what, int64_t total, int64_t already)
    : what_(std::move(what)), total_(total), already_(already), start_(now()), terminal_(isatty(2) == 1) {}

ProgressBar::~ProgressBar() {
    if (terminal_ && shown_ > 0) std::fputs("\r\033[K", stderr);
}

void ProgressBar::step(int64_t done) {
    if (interrupted().stop_requested()) throw Cancelled{};
    const double t = now();
    if (!terminal_ || (t - shown_ < 0.1 && done < total_)) return;
    shown_ = t;
    const double rate = static_cast<double>(done - already_) / std::max(1e-9, t - start_);
    std::string left = "...";
    if (done > already_) {
        const int64_t seconds = static_cast<int64_t>(static_cast<double>(total_ - done) / rate + 0.5);
        left = seconds < 60     ? fmt::format("{} s left", seconds)
               : seconds < 3600 ? fmt::format("{}:{:02} min left", seconds / 60, seconds % 60)
                                : fmt::format("{}:{:02} h left", seconds / 3600, seconds / 60 % 60);
    }
    const std::string before = what_ + " ",
                      behind = fmt::format(" {}/{}  {:.1f}/s  {}", done, total_, rate, left);
    // One line, or the next step could not overwrite it.
    winsize window{};
    const int columns = ioctl(2, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
    const int room = std::min(30, columns - 3 - static_cast<int>(before.size() + behind.size()));
    std::string line = before;
    if (room >= 5) {
        const int64_t filled = room * done / std::max<int64_t>(1, total_);
        line += fmt::format("[{:<{}}]", std::string(static_cast<size_t>(filled), '#'), room);
    }
    line += behind;
    if (static_cast<int>(line.size()) >= columns) line.resize(static_cast<size_t>(columns - 1));
    std::fputs(("\r\033[K" + line).c_str(), stderr);
}

void say(const std::string& line) { std::fputs(("ivit: " + line + "\n").c_str(), stderr); }

std::stop_token interrupted() { return interrupt().get_token(); }

void install_interrupt_handler() {
    // Taken by a thread that waits for it, since request_stop() may not be called in a signal handler.
    // Blocked before any other thread exists, so that all inherit it. The second Ctrl-C does not wait for the
    // work to notice.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    interrupt();
    try {
        std::thread([set] {
            int signal = 0;
            sigwait(&set, &signal);
            interrupt().request_stop();
            sigwait(&set, &signal);
            _exit(130);
        }).detach();
    } catch (const std::system_error&) {  // no thread to be had: then Ctrl-C ends the program at once
        pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    }
    // Writing then fails, and is told.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
}

std::string ink(Ink how, const std::string& text) {
    static const bool terminal = isatty(1) == 1 && std::getenv("NO_COLOR") == nullptr;
    if (!terminal) return text;
    static const char* codes[] = {"1", "2", "32", "31"};
    return fmt::format("\033[{}m{}\033[0m", codes[static_cast<int>(how)], text);
}

std::string one_line(std::string name) {
    for (char& c : name)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    return name;
}

void print_json(const Json& j) {
    // File names need not be UTF-8; a document must be.
    fmt::print("{}\n", j.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace ivit::cli
