// SPDX-License-Identifier: GPL-3.0-or-later
// ivit report, replay and diff: a result a colleague can open, run again and hold against another.
#include "engine/report/report.h"

#include <fmt/format.h>

#include <fstream>
#include <random>

#include "app/cli/command.h"
#include "engine/error.h"
#include "engine/report/report_parts.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace fs = std::filesystem;

namespace {

std::string shell_word(const std::string& s) {
    if (!s.empty() &&
        s.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,") ==
            std::string::npos)
        return s;
    std::string q = "'";
    for (const char c : s) q += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return q + "'";
}

std::vector<ReportInput> compare_all(Setup& s, const std::vector<std::string>& images) {
    std::vector<ReportInput> inputs;
    for (const auto& file : images) {
        ReportInput in;
        in.file = file;
        in.pixels = load_pixels(file, s.integers->graph(), s.effective.model);
        in.sha256 = sha256_file(file);
        in.comparison = ivit::compare(*s.floats, *s.integers, in.pixels, nullptr, true, interrupted());
        inputs.push_back(std::move(in));
    }
    return inputs;
}

// Reproduces `report` from what it records: same model file by hash, same ranges, same pictures by hash.
Json replay(const Json& report, const Options& o, const std::vector<std::string>& replacements) {
    Options with = o;
    if (with.model.empty() && with.arch.empty()) with.model = report["model"]["source"];
    OpenedModel m = open(with);
    if (!m.model) throw Error("the float checkpoint is needed to replay a report", with.model);
    if (m.model->info.sha256 != report["model"]["sha256"])
        throw Error("this is not the model of the report: its SHA-256 is " + m.model->info.sha256,
                    m.model->info.source, "name the right file with --model");
    Setup s;
    s.quantized = quantize(m.model, Calibration::from_json(report["calibration_ranges"]),
                           QuantConfig::from_json(report["config"]));
    std::string gpu_absent;
    s.backend = make_backend(o.backend, o.threads, &gpu_absent);
    s.integers = s.backend->load(s.quantized);
    s.floats = make_float_network(m.model, o.threads);
    s.effective = effective(*s.quantized, s.backend->info(), gpu_absent);

    std::vector<std::string> files;
    int top = 1;
    std::string head;
    for (const auto& image : report["images"]) {
        std::string file = image["file"];
        for (const auto& r : replacements)
            if (fs::is_regular_file(r) && sha256_file(r) == image["sha256"].get<std::string>()) file = r;
        if (!fs::is_regular_file(file))
            throw Error("the picture is not where it was", file, "name it with --image FILE");
        if (sha256_file(file) != image["sha256"].get<std::string>())
            throw Error("the picture has changed since: its SHA-256 is another", file,
                        "name the right one with --image FILE");
        files.push_back(file);
        top = static_cast<int>(image["predictions"]["float"].size());
    }
    ReportOptions options;
    options.top = top;
    return build_report(s.effective, compare_all(s, files), options);
}

std::string value_text(const Json& v) {
    return v.is_null() ? "(absent)" : v.is_number_float() ? fmt::format("{:.6g}", v.get<double>()) : v.dump();
}

int print_differences(const std::vector<Difference>& differences, bool json, const std::string& kind,
                      const Json& a, const Json& b) {
    if (json) {
        Json doc = {{"format", "ivit-" + kind},
                    {"version", 1},
                    {"program", "ivit " IVIT_VERSION},
                    {"equal", differences.empty()}};
        doc["differences"] = Json::array();
        for (const auto& d : differences)
            doc["differences"].push_back({{"where", d.where}, {"a", d.a}, {"b", d.b}});
        print_json(doc);
        return differences.empty() ? 0 : 1;
    }
    if (differences.empty()) {
        fmt::print("every value is the same\n");
        return 0;
    }
    // The layers first, side by side: that is what a person compares.
    const size_t n = std::min(a["images"].size(), b["images"].size());
    for (size_t i = 0; kind == "diff" && i < n; ++i) {
        const Json &x = a["images"][i], &y = b["images"][i];
        fmt::print("\n{}\n  a  {}: {}\n  b  {}: {}\n\n", ink(Ink::bold, x["file"].get<std::string>()),
                   a["quant"].get<std::string>(), verdict(x), b["quant"].get<std::string>(), verdict(y));
        fmt::print("  {:<24} {:>12} {:>12} {:>10}   {:>12} {:>12} {:>10}\n", "SQNR dB", "cumulative a", "b",
                   "change", "isolated a", "b", "change");
        const auto rows = layer_rows(x), others = layer_rows(y);
        for (const auto& r : rows)
            for (const auto& q : others)
                if (r.name == q.name)
                    fmt::print("  {:<24} {:>12.1f} {:>12.1f} {:>+10.1f}   {:>12.1f} {:>12.1f} {:>+10.1f}\n",
                               r.name, r.cumulative_db, q.cumulative_db, q.cumulative_db - r.cumulative_db,
                               r.isolated_db, q.isolated_db, q.isolated_db - r.isolated_db);
    }
    fmt::print("\n{} values differ\n", differences.size());
    constexpr size_t shown = 40;
    for (size_t i = 0; i < std::min(shown, differences.size()); ++i)
        fmt::print("  {}: {} -> {}\n", differences[i].where, value_text(differences[i].a),
                   value_text(differences[i].b));
    if (differences.size() > shown)
        fmt::print("  ... and {} more (--json lists all)\n", differences.size() - shown);
    return 1;
}

}  // namespace

void add_report(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("report", "a report a colleague can open: html, pdf, json, csv or md");
    auto o = std::make_shared<Options>();
    struct Choice {
        std::vector<std::string> images, outputs;
        std::string head, evaluation;
        int runs = 20;
    };
    auto r = std::make_shared<Choice>();
    add_common(*c, *o);
    c->add_option("image", r->images, "picture files")->required();
    c->add_option("--output,-o", r->outputs, "file to write, by its extension; may be given several times")
        ->required();
    c->add_option("--head", r->head,
                  "head whose maps are shown, e.g. blocks.3.attn.softmax:2 (default: the worst by KL)");
    c->add_option("--evaluation", r->evaluation, "JSON written by `ivit evaluate`, to be told in the report");
    c->add_option("--runs", r->runs, "latency runs of each network; 0: no latency")
        ->check(CLI::Range(0, 1000000))
        ->capture_default_str();
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel probe = open(*o);
            Setup s =
                prepare(*o, [&] { return load_pixels(r->images.front(), *probe.graph(), probe.info()); });
            if (!s.floats) throw Error("a report needs the float checkpoint beside the integers", o->model);
            const auto inputs = compare_all(s, r->images);
            ReportOptions options;
            options.top = o->top;
            options.head = r->head;
            if (r->runs > 0) {
                BenchOptions b;
                b.runs = r->runs;
                b.per_layer = true;
                b.stop = interrupted();
                options.latency = ivit::bench(s.floats.get(), *s.integers, inputs[0].pixels, b);
            }
            if (!r->evaluation.empty()) {
                std::ifstream in(r->evaluation, std::ios::binary);
                if (!in) throw Error("cannot open the evaluation", r->evaluation);
                options.evaluation = Json::parse(in, nullptr, false);
                if (options.evaluation->is_discarded() ||
                    options.evaluation->value("format", "") != "ivit-evaluate")
                    throw Error("this is not a document of `ivit evaluate`", r->evaluation);
            }
            std::string command = "ivit report";
            for (const auto& image : r->images) command += " " + shell_word(image);
            if (!o->model.empty()) command += " --model " + shell_word(o->model);
            if (!o->arch.empty())
                command += " --arch " + shell_word(o->arch) + " --seed " + std::to_string(o->seed);
            if (!o->quant.empty()) command += " --quant " + shell_word(o->quant);
            if (!o->preset.empty()) command += " --preset " + o->preset;
            if (!o->calibration.empty()) command += " --calibration " + shell_word(o->calibration);
            if (!o->method.empty()) command += " --method " + o->method;
            if (!r->head.empty()) command += " --head " + shell_word(r->head);
            command += " --backend " + s.effective.backend.name + " --threads " +
                       std::to_string(s.effective.backend.threads) + " -o report.html -o report.json";
            options.commands = {command, "ivit replay report.json"};
            const Json report = build_report(s.effective, inputs, options);
            for (const auto& file : r->outputs) write_report(report, file);
            if (o->json)
                print_json(report);
            else
                for (const auto& file : r->outputs) fmt::print("{}\n", file);
            return 0;
        };
    });
}

void add_replay(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("replay", "run a report again and say, value by value, what differs");
    auto o = std::make_shared<Options>();
    auto file = std::make_shared<std::string>();
    auto images = std::make_shared<std::vector<std::string>>();
    c->add_option("report", *file, "report.json")->required();
    c->add_option("--model,-m", o->model, "the checkpoint, when it is not where it was");
    c->add_option("--image", *images, "a picture, when it is not where it was");
    c->add_option("--backend,-b", o->backend, "auto, reference, cpu or cuda")->capture_default_str();
    c->add_option("--threads,-t", o->threads, "kernel threads; 0: all cores")->check(CLI::Range(0, 1024));
    c->add_flag("--json", o->json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const Json old = read_report(*file);
            const Json now = replay(old, *o, *images);
            return print_differences(report_differences(old, now), o->json, "replay", old, now);
        };
    });
}

void add_diff(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("diff", "two reports side by side");
    auto a = std::make_shared<std::string>();
    auto b = std::make_shared<std::string>();
    auto json = std::make_shared<bool>(false);
    c->add_option("a", *a, "report.json")->required();
    c->add_option("b", *b, "another report.json")->required();
    c->add_flag("--json", *json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const Json x = read_report(*a), y = read_report(*b);
            return print_differences(report_differences(x, y), *json, "diff", x, y);
        };
    });
}

}  // namespace ivit::cli
