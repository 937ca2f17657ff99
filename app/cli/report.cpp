// SPDX-License-Identifier: GPL-3.0-or-later
// ivit report: a result a colleague can open.
#include <fmt/format.h>

#include <optional>

#include "app/cli/report_commands.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/report/causes.h"
#include "engine/safetensors.h"

namespace ivit::cli {

std::vector<ReportInput> compare_all(Setup& s, Pictures& pictures) {
    std::vector<ReportInput> inputs;
    std::optional<ProgressBar> bar;
    if (pictures.files().size() > 1) bar.emplace("comparing", static_cast<int64_t>(pictures.files().size()));
    int64_t done = 0;
    for (const auto& file : pictures.files()) {
        if (bar) bar->step(done);
        ++done;
        auto pixels = pictures.files().size() == 1 ? pictures.first() : pictures.read(file);
        if (!pixels) continue;
        ReportInput in;
        in.file = file;
        in.pixels = std::move(*pixels);
        in.sha256 = sha256_file(file);
        in.comparison = ivit::compare(*s.floats, *s.integers, in.pixels, nullptr, true, interrupted());
        inputs.push_back(std::move(in));
    }
    if (inputs.empty()) throw Error("none of the pictures can be read");
    return inputs;
}

Json causes_of(Setup& s, const std::vector<ReportInput>& inputs) {
    std::optional<ProgressBar> bar;
    return causes_json(find_causes(*s.backend, inputs, interrupted(), [&](int64_t done, int64_t total) {
        if (!bar) bar.emplace("trying changes", total);
        bar->step(done);
    }));
}

namespace {

struct Choice {
    std::vector<std::string> images, outputs;
    std::string head, evaluation;
    int runs = 20;
};

Json read_evaluation(const std::string& file) {
    Json e = read_json(file, "the evaluation");
    if (!e.is_object() || e.value("format", Json()) != "ivit-evaluate")
        throw Error("this is not a document of `ivit evaluate`", file);
    return e;
}

BenchResult measure(Setup& s, const Pixels& pixels, int runs) {
    BenchOptions b;
    b.runs = runs;
    b.per_layer = true;
    b.stop = interrupted();
    ProgressBar bar("measuring", b.warm_up + 2 * b.runs);
    b.progress = [&](int done, int) { bar.step(done); };
    return ivit::bench(s.floats.get(), *s.integers, pixels, b);
}

// What reproduce_commands() cannot read from what was in effect.
std::vector<std::string> more_options(const Options& o, const Choice& r) {
    std::vector<std::string> more;
    const auto add = [&](const char* option, const std::string& value) {
        if (!value.empty()) more.insert(more.end(), {option, value});
    };
    add("--model", o.model);
    add("--arch", o.arch);
    if (!o.arch.empty()) add("--seed", std::to_string(o.seed));
    add("--calibration", o.calibration);
    add("--method", o.method);
    add("--head", r.head);
    add("--evaluation", r.evaluation);
    add("--top", std::to_string(o.top));
    add("--runs", std::to_string(r.runs));
    return more;
}

int report(const Options& o, const Choice& r) {
    std::vector<std::string> given = r.images;
    given.push_back(r.evaluation);
    for (const auto& file : r.outputs) {
        check_report_name(file);
        check_output(file, o, given);
    }
    ReportOptions options;
    if (!r.evaluation.empty()) options.evaluation = read_evaluation(r.evaluation);
    Pictures pictures(r.images, open(o));
    Setup s = prepare(o, [&] { return pictures.first(); });
    if (!s.floats)
        throw Error("a report needs the float checkpoint beside the integers", o.model,
                    "keep the checkpoint where it was when the model was quantized");
    const auto inputs = compare_all(s, pictures);
    options.skipped = pictures.skipped();
    options.top = o.top;
    options.head = r.head;
    options.causes = causes_of(s, inputs);
    if (r.runs > 0) options.latency = measure(s, inputs[0].pixels, r.runs);
    s.follow_backend();
    std::vector<std::string> read;
    for (const ReportInput& in : inputs) read.push_back(in.file);
    options.commands = reproduce_commands(s.effective, read, more_options(o, r));
    const Json document = build_report(s.effective, inputs, options);
    for (const auto& file : r.outputs) write_report(document, file);
    if (o.json)
        print_json(document);
    else
        for (const auto& file : r.outputs) fmt::print("{}\n", file);
    return pictures.status();
}

}  // namespace

void add_report(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("report", "a report a colleague can open: html, pdf, json, csv or md");
    auto o = std::make_shared<Options>();
    auto r = std::make_shared<Choice>();
    add_common(*c, *o);
    add_top(*c, *o);
    c->add_option("image", r->images, "picture files")->required();
    c->add_option("--output,-o", r->outputs, "file to write, by its extension; may be given several times")
        ->required()
        ->allow_extra_args(false);  // or it would take the pictures after it
    c->add_option("--head", r->head,
                  "head whose maps are shown, e.g. blocks.3.attn.softmax:2 (default: the worst by KL)");
    c->add_option("--evaluation", r->evaluation, "JSON written by `ivit evaluate`, to be told in the report");
    c->add_option("--runs", r->runs, "latency runs of each network; 0: no latency")
        ->check(CLI::Range(0, 1000000))
        ->capture_default_str();
    c->callback([=, &run] { run = [=] { return report(*o, *r); }; });
}

}  // namespace ivit::cli
