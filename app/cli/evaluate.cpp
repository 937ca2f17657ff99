// SPDX-License-Identifier: GPL-3.0-or-later
// ivit evaluate DIR: accuracy and agreement of several configurations over a folder, in one pass.
#include "engine/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "app/cli/command.h"
#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace {

std::string percent(const Json& v) { return v.is_null() ? "-" : fmt::format("{:.2f}", v.get<double>()); }

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

}  // namespace

std::string evaluation_table(const Json& e) {
    const auto configuration = [](const Json& c) {
        return c["quant"].get<std::string>() + (c.value("integer_only", true) ? "" : ", not all integer");
    };
    const Json& d = e["dataset"];
    std::string s = fmt::format("\n{} pictures ({}), {} skipped", e["images"].get<int64_t>(),
                                d["layout"].get<std::string>(), e["skipped"].size());
    if (const int64_t n = d.value("without_label", int64_t{0})) s += fmt::format(", {} without a label", n);
    if (const int64_t n = d.value("without_picture", int64_t{0}))
        s += fmt::format(", {} lines of the labels file name no picture", n);
    s += "\n";
    if (e.contains("note")) s += "note: " + e["note"].get<std::string>() + "\n";
    s += "\n";
    size_t wide = 24;
    for (const auto& c : e["configurations"]) wide = std::max(wide, configuration(c).size());
    s += ink(Ink::bold, fmt::format("  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7} {:>8}\n",
                                    "configuration", wide, "preset", "top-1 %", "top-5 %", "agreement %",
                                    "flips", "mean KL", "p95 KL", "margin", "SQNR dB"));
    const auto small = [](const Json& v) {
        return v.is_null() ? std::string("-") : fmt::format("{:.3g}", v.get<double>());
    };
    s += fmt::format("  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7}\n", "float FP32", wide, "",
                     percent(e["float"]["top1"]), percent(e["float"]["top5"]), "", "", "", "",
                     small(e["float"]["mean_margin"]));
    for (const auto& c : e["configurations"])
        s += fmt::format(
            "  {:<{}} {:<8} {:>8} {:>8} {:>11} {:>7} {:>9} {:>9} {:>7} {:>8}\n", configuration(c), wide,
            c["preset"].get<std::string>(), percent(c["top1"]), percent(c["top5"]), percent(c["agreement"]),
            c["flips"].get<int64_t>(), small(c["mean_kl"]), small(c["p95_kl"]), small(c["mean_margin"]),
            c["logits_sqnr_db"].is_null() ? "-" : fmt::format("{:.1f}", c["logits_sqnr_db"].get<double>()));
    for (const auto& c : e["configurations"]) {
        constexpr size_t most_classes = 20;
        std::vector<const Json*> classes;
        for (const auto& k : c["classes"]) classes.push_back(&k);
        if (!classes.empty()) {
            s += fmt::format("\n  {}, by class", c["quant"].get<std::string>());
            if (classes.size() > most_classes) {
                std::stable_sort(classes.begin(), classes.end(), [](const Json* a, const Json* b) {
                    return (*a)["top1"].get<double>() - (*a)["float_top1"].get<double>() <
                           (*b)["top1"].get<double>() - (*b)["float_top1"].get<double>();
                });
                s += fmt::format(": the {} of {} that lose most (--json lists all)", most_classes,
                                 classes.size());
                classes.resize(most_classes);
            }
            s += "\n";
            for (const Json* one : classes) {
                const Json& k = *one;
                s += fmt::format(
                    "    {:<20.20} {:>6} pictures  float {:>6} %  integer {:>6} %  agreement {:>6} %\n",
                    k["label"].get<std::string>(), k["images"].get<int64_t>(), percent(k["float_top1"]),
                    percent(k["top1"]), percent(k["agreement"]));
            }
        }
        if (const int64_t flips = c["flips"]; flips > 0) {
            // Is it the pictures the float network was unsure of anyway?
            s += fmt::format("\n  {}, {} flips by the float network's margin (first minus second)\n",
                             c["quant"].get<std::string>(), flips);
            for (const auto& m : c["by_margin"])
                if (const int64_t n = m["images"]; n > 0)
                    s += fmt::format("    {:.1f} to {:.1f} {:>8} pictures {:>7} flips {:>7.2f} %\n",
                                     m["from"].get<double>(), m["to"].get<double>(), n,
                                     m["flips"].get<int64_t>(),
                                     100.0 * m["flips"].get<double>() / static_cast<double>(n));
        }
        s += fmt::format("\n  {}, greatest disagreement\n", c["quant"].get<std::string>());
        for (size_t i = 0; i < std::min<size_t>(5, c["worst"].size()); ++i) {
            const auto& w = c["worst"][i];
            s +=
                fmt::format("    {:<32} float {:<16.16} integer {:<16.16} KL {:.3g}{}\n", one_line(w["file"]),
                            w["float"].get<std::string>(), w["integer"].get<std::string>(),
                            w["kl"].get<double>(), w["agree"].get<bool>() ? "" : ink(Ink::bad, "  flipped"));
        }
    }
    for (size_t i = 0; i < std::min<size_t>(10, e["skipped"].size()); ++i)
        s += fmt::format("  skipped {}: {}\n", one_line(e["skipped"][i]["file"]),
                         e["skipped"][i]["error"].get<std::string>());
    if (e["skipped"].size() > 10)
        s += fmt::format("  ... and {} more (--json lists all)\n", e["skipped"].size() - 10);
    return s;
}

void add_evaluate(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("evaluate", "accuracy and agreement over a folder of pictures");
    struct Choice {
        std::string folder, labels, shard, output;
        std::vector<std::string> quants;
        EvaluateOptions evaluate;
        std::string journal;
    };
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
    c->add_option("--journal", e->journal,
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
    c->callback([=, &run] {
        run = [=] {
            EvaluateOptions options = e->evaluate;
            options.journal = e->journal;
            options.stop = interrupted();
            if (!e->shard.empty()) {
                std::tie(options.shard, options.shards) = parse_shard(e->shard);
                if (e->journal.empty())
                    throw Error("a shard needs --journal: `ivit merge` joins the journals", "--shard");
            }
            if (!e->output.empty()) {
                std::vector<std::string> read = e->quants;
                read.insert(read.end(), {e->labels, e->journal});
                check_output(e->output, *o, read);
            }
            if (e->quants.empty()) e->quants.push_back("");
            const OpenedModel probe = open(*o);
            const Dataset data = open_dataset(e->folder, e->labels, probe.info());
            // Where there are no ranges they are taken from the first picture that can be read.
            const auto first = [&] {
                for (size_t i = 0;; ++i) try {
                        return load_pixels(data.folder / data.pictures[i].file, *probe.graph(), probe.info());
                    } catch (const Error&) {
                        if (i + 1 >= data.pictures.size()) throw;
                    }
            };

            // One model, one set of ranges, one float network; further configurations add their integers.
            Options one = *o;
            one.quant = e->quants[0];
            Setup s = prepare(one, first);
            if (!s.floats)
                throw Error("evaluating needs the float checkpoint beside the integers", o->model,
                            "keep the checkpoint where it was when the model was quantized");
            std::vector<std::unique_ptr<IntegerNetwork>> more;
            std::vector<IntegerNetwork*> networks = {s.integers.get()};
            for (size_t i = 1; i < e->quants.size(); ++i) {
                QuantConfig config = QuantConfig::from_spec(e->quants[i]);
                if (!o->preset.empty()) config.set_preset(o->preset);
                more.push_back(s.backend->load(quantize(s.opened.model, s.effective.calibration, config)));
                networks.push_back(more.back().get());
            }
            std::optional<ProgressBar> bar;
            options.progress = [&](int64_t done, int64_t total) {
                if (!bar) bar.emplace("evaluating", total, done);
                bar->step(done);
            };
            Json doc =
                evaluate(data, *s.floats, networks, s.effective.backend, s.effective.gpu_absent, options);
            s.follow_backend();
            if (!s.effective.backend.gpu_lost.empty()) describe_backend(doc, s.effective);
            bar.reset();
            if (!e->output.empty()) write_json(doc, e->output);
            if (o->json)
                print_json(doc);
            else
                fmt::print("{}{}", summary(s.effective), evaluation_table(doc));
            return doc["images"] == 0 ? 1 : 0;
        };
    });
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
    c->callback([=, &run] {
        run = [=] {
            if (!output->empty()) check_output(*output, {}, *files);
            const Json doc = merge_journals({files->begin(), files->end()});
            if (!output->empty()) write_json(doc, *output);
            if (*json)
                print_json(doc);
            else
                fmt::print("model        {}, sha256 {}\ncalibration  {}\n{}",
                           doc["model"]["name"].get<std::string>(), doc["model"]["sha256"].get<std::string>(),
                           doc["calibration"]["summary"].get<std::string>(), evaluation_table(doc));
            return 0;
        };
    });
}

}  // namespace ivit::cli
