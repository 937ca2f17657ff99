// SPDX-License-Identifier: GPL-3.0-or-later
// ivit evaluate DIR: accuracy and agreement of several configurations over a folder, in one pass.
#include "engine/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace {

// "2/8" -> 2 of 8.
std::pair<int64_t, int64_t> parse_shard(const std::string& text) {
    int64_t i = 0, n = 0;
    const size_t slash = text.find('/');
    const auto number = [](std::string_view s, int64_t& v) {
        const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
        return error == std::errc() && end == s.data() + s.size();
    };
    if (slash == std::string::npos || !number(std::string_view(text).substr(0, slash), i) ||
        !number(std::string_view(text).substr(slash + 1), n) || i < 1 || n < 1 || i > n)
        throw Error("'" + text + "' is not i/n with 1 <= i <= n", "--shard");
    return {i, n};
}

struct Choice {
    std::string folder, labels, shard, output;
    std::vector<std::string> quants;
    EvaluateOptions evaluate;
};

// Options as the engine takes them. Throws Error for a shard without a journal.
EvaluateOptions options_of(const Choice& e) {
    EvaluateOptions options = e.evaluate;
    options.stop = interrupted();
    if (e.shard.empty()) return options;
    std::tie(options.shard, options.shards) = parse_shard(e.shard);
    if (options.journal.empty())
        throw Error("a shard needs --journal: `ivit merge` joins the journals", "--shard");
    return options;
}

// The first picture of the folder that can be read. Throws the last one's Error where there is none.
Pixels first_picture(const Dataset& data, const OpenedModel& m) {
    for (size_t i = 0;; ++i) try {
            return load_pixels(data.folder / data.pictures[i].file, *m.graph(), m.info());
        } catch (const Error&) {
            if (i + 1 >= data.pictures.size()) throw;
        }
}

// Of the second configuration and those after it: on the first one's model and ranges.
std::vector<std::unique_ptr<IntegerNetwork>> more_networks(const Setup& s, Options o,
                                                           const std::vector<std::string>& quants) {
    std::vector<std::unique_ptr<IntegerNetwork>> more;
    for (size_t i = 1; i < quants.size(); ++i) {
        o.quant = quants[i];
        const QuantConfig config = choose_config(o, s.opened);
        more.push_back(s.backend->load(quantize(s.opened.model, s.effective.calibration, config)));
    }
    return more;
}

int evaluate_folder(Options o, const Choice& e) {
    EvaluateOptions options = options_of(e);
    if (!e.output.empty()) {
        std::vector<std::string> read = e.quants;
        read.insert(read.end(), {e.labels, e.evaluate.journal.string()});
        check_output(e.output, o, read);
    }
    const OpenedModel probe = open(o);
    const Dataset data = open_dataset(e.folder, e.labels, probe.info());
    if (!e.quants.empty()) o.quant = e.quants[0];
    // Where there are no ranges they are taken from a picture.
    Setup s = prepare(o, [&] { return first_picture(data, probe); });
    if (!s.floats)
        throw Error("evaluating needs the float checkpoint beside the integers", o.model,
                    "keep the checkpoint where it was when the model was quantized");
    const auto more = more_networks(s, o, e.quants);
    std::vector<IntegerNetwork*> networks = {s.integers.get()};
    for (const auto& n : more) networks.push_back(n.get());
    std::optional<ProgressBar> bar;
    options.progress = [&](int64_t done, int64_t total) {
        if (!bar) bar.emplace("evaluating", total, done);
        bar->step(done);
    };
    Json doc = evaluate(data, *s.floats, networks, s.effective.backend, s.effective.gpu_absent, options);
    s.follow_backend();
    if (!s.effective.backend.gpu_lost.empty()) describe_backend(doc, s.effective);
    bar.reset();
    if (!e.output.empty()) write_json(doc, e.output);
    if (o.json)
        print_json(doc);
    else
        fmt::print("{}{}", summary(s.effective), evaluation_table(doc));
    return doc["images"] == 0 ? 1 : 0;
}

int merge(const std::vector<std::string>& journals, const std::string& output, bool json) {
    if (!output.empty()) check_output(output, {}, journals);
    const Json doc = merge_journals({journals.begin(), journals.end()});
    if (!output.empty()) write_json(doc, output);
    if (json)
        print_json(doc);
    else
        fmt::print("model        {}, sha256 {}\ncalibration  {}\n{}", doc["model"]["name"].get<std::string>(),
                   doc["model"]["sha256"].get<std::string>(),
                   doc["calibration"]["summary"].get<std::string>(), evaluation_table(doc));
    return 0;
}

}  // namespace

void add_evaluate(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("evaluate", "accuracy and agreement over a folder of pictures");
    auto o = std::make_shared<Options>();
    auto e = std::make_shared<Choice>();
    add_common(*c, *o);
    c->remove_option(c->get_option("--quant"));
    c->add_option("folder", e->folder,
                  "class folders (wnid, label or index), or a flat folder with a labels file, or no labels")
        ->required();
    c->add_option("--quant,-q", e->quants,
                  "W8A8, W4A8 ... or a configuration as JSON file; may be given several times (default W8A8)")
        ->allow_extra_args(false);
    c->add_option("--labels", e->labels,
                  "labels file: 'file label' a line (default: labels.csv, .tsv or .txt in the folder)");
    c->add_option("--shard", e->shard, "i/n: only every n-th picture, beginning with the i-th");
    c->add_option("--journal", e->evaluate.journal,
                  "results picture by picture; a run that was interrupted goes on from it");
    c->add_option("--batch", e->evaluate.batch, "pictures a run")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    // Half the cores: a GPU, or many cores, would wait for a single reader.
    e->evaluate.decoders = std::clamp(available_cores() / 2, 1, 16);
    c->add_option("--decoders", e->evaluate.decoders, "threads that read pictures beside the inference")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    c->add_option("--output,-o", e->output, "JSON document to write as well");
    c->callback([=, &run] { run = [=] { return evaluate_folder(*o, *e); }; });
}

void add_merge(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("merge", "join the journals of all shards of one evaluation");
    auto files = std::make_shared<std::vector<std::string>>();
    auto output = std::make_shared<std::string>();
    auto json = std::make_shared<bool>(false);
    c->add_option("journal", *files, "journals written by `ivit evaluate --shard i/n --journal FILE`")
        ->required();
    c->add_option("--output,-o", *output, "JSON document to write as well");
    c->add_flag("--json", *json, "one JSON document on standard output");
    c->callback([=, &run] { run = [=] { return merge(*files, *output, *json); }; });
}

}  // namespace ivit::cli
