// SPDX-License-Identifier: GPL-3.0-or-later
// What the commands of `ivit` share. One command per file; main.cpp lists them.
#pragma once
#include <CLI/CLI.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/describe.h"
#include "engine/image.h"
#include "engine/open_model.h"

namespace ivit::cli {

// The options of the commands that open a model.
struct Options {
    std::string model, arch, quant, preset, backend = "auto", calibration, method;
    int threads = 0, top = 5, seed = 1;
    bool json = false;
};
// All of them but --top.
void add_common(CLI::App& command, Options& o);
void add_top(CLI::App& command, Options& o);  // where predictions are shown

// A network ready to run, integers and (where there are float weights) float.
struct Setup {
    OpenedModel opened;
    std::shared_ptr<const QuantizedModel> quantized;
    std::unique_ptr<Backend> backend;
    std::unique_ptr<IntegerNetwork> integers;
    std::unique_ptr<Network> floats;  // null for integers only
    Effective effective;

    // Brings `effective` up to date after a run: `auto` may have lost its GPU on the way.
    void follow_backend() { effective = ivit::effective(*quantized, backend->info(), effective.gpu_absent); }
};

// Throws Error when `output` cannot be written (check_writable), and when it is a file that is read: one that
// `o` names, or one of `inputs` (names that are no file's are passed over). Nobody's checkpoint or photo
// becomes a report.
void check_output(const std::filesystem::path& output, const Options& o,
                  const std::vector<std::string>& inputs = {});
// Opens what the options name (else the bundled model).
OpenedModel open(const Options& o);
// Ranges by the options: --calibration (a folder, or a .calibration.json), what lies beside the model, else
// the pictures at hand with augmentations. `first` yields the first picture, for that last case.
Calibration choose_calibration(const Options& o, const OpenedModel& m, const std::function<Pixels()>& first);
// What --quant says, else what a quantized model has, else W8A8; on the operators of --preset.
QuantConfig choose_config(const Options& o, const OpenedModel& m);
Setup prepare(const Options& o, const std::function<Pixels()>& first);
// Calibrates on a folder of pictures, with a progress bar. Those that cannot be read are left out, named on
// standard error and in `skipped` ([{"file", "error"}]).
Calibration calibrate_folder(const Options& o, const Model& m, const std::filesystem::path& folder,
                             Json* skipped = nullptr);

// A picture file as the model takes it.
Pixels load_pixels(const std::filesystem::path& file, const Graph& g, const ModelInfo& info);

// The pictures that a command names. One that cannot be read does not end the others: it is named on standard
// error and in skipped(), once, and the exit status tells.
class Pictures {
  public:
    Pictures(std::vector<std::string> files, OpenedModel of) : files_(std::move(files)), of_(std::move(of)) {}
    const std::vector<std::string>& files() const { return files_; }
    std::optional<Pixels> read(const std::string& file);
    Pixels first();  // of those that can be read; throws Error when there is none
    const Json& skipped() const { return skipped_; }  // [{"file", "error"}]
    int status() const { return skipped_.empty() ? 0 : 1; }

  private:
    std::vector<std::string> files_;
    OpenedModel of_;
    std::set<std::string> broken_;
    Json skipped_ = Json::array();
};

// A bar with rate and remaining time on standard error when that is a terminal; nothing otherwise. Throws
// Cancelled from step() once Ctrl-C was pressed.
class ProgressBar {
  public:
    // already: done before this run began; the rate is of this run's share.
    ProgressBar(std::string what, int64_t total, int64_t already = 0);
    ~ProgressBar();
    void step(int64_t done);

  private:
    std::string what_;
    int64_t total_, already_;
    double start_, shown_ = 0;
    bool terminal_;
};

// One line on standard error, after "ivit: ". Where nobody hears it (a closed terminal, a full disk), the
// exit status still tells.
void say(const std::string& line);

// Set by Ctrl-C.
std::stop_token interrupted();
void install_interrupt_handler();

// `text` in bold, dim, green or red when standard output is a terminal.
enum class Ink { bold, dim, good, bad };
std::string ink(Ink how, const std::string& text);

// A file's name for people: control characters, which would move the terminal's cursor, as '?'.
std::string one_line(std::string name);

void print_json(const Json& j);  // the one document on standard output

// One function per command: adds it to the program; `run` is what main() calls when it was chosen.
using Run = std::function<int()>;
void add_info(CLI::App& program, Run& run);
void add_classify(CLI::App& program, Run& run);
void add_compare(CLI::App& program, Run& run);
void add_calibrate(CLI::App& program, Run& run);
void add_quantize(CLI::App& program, Run& run);
void add_run(CLI::App& program, Run& run);
void add_bench(CLI::App& program, Run& run);
void add_selftest(CLI::App& program, Run& run);
void add_evaluate(CLI::App& program, Run& run);
void add_merge(CLI::App& program, Run& run);
void add_report(CLI::App& program, Run& run);
void add_replay(CLI::App& program, Run& run);
void add_diff(CLI::App& program, Run& run);

}  // namespace ivit::cli
