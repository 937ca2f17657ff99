// SPDX-License-Identifier: GPL-3.0-or-later
// ivit report, replay and diff: a result a colleague can open, run again and hold against another.
#include "engine/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "app/cli/command.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/report/causes.h"
#include "engine/report/report_parts.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace fs = std::filesystem;

namespace {

// Those that can be read; throws Error when there is none.
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

template <class... T>
void note(fmt::format_string<T...> text, T&&... values) {
    fmt::print(stderr, "ivit: note: {}\n", fmt::format(text, std::forward<T>(values)...));
}

// The first of `places` whose file has this hash; else the first that exists at all; else empty.
fs::path find_by_hash(const std::vector<fs::path>& places, const std::string& sha) {
    fs::path there;
    std::error_code none;
    for (const auto& place : places) {
        if (!fs::is_regular_file(place, none)) continue;
        if (sha256_file(place) == sha) return place;
        if (there.empty()) there = place;
    }
    return there;
}

// The model the report was made with: the file that is given, the one it names, one of that name beside the
// report, or the bundled one, by its hash; or the same random weights again. One that has changed is taken
// too.
OpenedModel recorded_model(const Json& report, const fs::path& folder, const Options& o) {
    const Json& m = report["model"];
    const std::string sha = m["sha256"], source = m["source"];
    if (o.model.empty() && sha.empty()) {
        const size_t seed = source.find("(seed ");
        OpenedModel opened;
        opened.model = random_model(
            m["name"], seed == std::string::npos ? 1 : std::strtoull(source.c_str() + seed + 6, nullptr, 10));
        if (opened.model->info.source != source)
            throw Error("the report does not say which random weights it was made with", source);
        return opened;
    }
    fs::path file = o.model;
    if (file.empty()) {
        const fs::path recorded = source;
        file = find_by_hash({recorded, folder / recorded, folder / recorded.filename()}, sha);
        if (file.empty() || sha256_file(file) != sha)
            if (const fs::path bundled = bundled_model(); sha256_file(bundled) == sha) file = bundled;
        if (file.empty()) throw Error("the model is not where it was", source, "name it with --model FILE");
    } else if (!fs::exists(file)) {
        throw Error("there is no such model", file.string(), "check --model");
    }
    OpenedModel opened = open_model(file);
    if (!opened.model)
        throw Error("the float checkpoint is needed to replay a report", file.string(),
                    "name it with --model FILE");
    if (opened.model->info.sha256 != sha)
        note("this is not the model of the report, or it has changed: {}", opened.model->info.source);
    return opened;
}

// The recorded picture, by its hash: among `given`, where it was, or beside the report. One that has changed
// is taken too; empty when there is none.
std::string recorded_picture(const Json& image, const fs::path& folder,
                             const std::vector<std::string>& given) {
    const fs::path file = image["file"].get<std::string>();
    const std::string sha = image["sha256"];
    std::vector<fs::path> places(given.begin(), given.end());
    for (const fs::path& place : {file, folder / file, folder / file.filename()}) places.push_back(place);
    fs::path found = find_by_hash(places, sha);
    // Nothing has its hash: then what was given for it may be of another picture.
    if (!found.empty() && sha256_file(found) != sha)
        found = find_by_hash({places.begin() + static_cast<std::ptrdiff_t>(given.size()), places.end()}, sha);
    if (found.empty())
        note("the picture is not where it was and is left out: {} (name it with --image FILE)",
             file.string());
    else if (sha256_file(found) != sha)
        note("the picture has changed since: {}", found.string());
    return found.string();
}

// Makes `report` again from what it records: the same model file by hash, the same ranges and configuration,
// the same pictures by hash, on the backend and with the threads of then where nothing else is asked for.
// A picture that is missing is null.
Json replay(const Json& report, const fs::path& folder, const Options& o,
            const std::vector<std::string>& replacements) {
    for (const auto& r : replacements)
        if (!fs::is_regular_file(r)) throw Error("there is no such picture", r, "check --image");
    std::vector<std::string> files;
    for (const auto& image : report["images"]) files.push_back(recorded_picture(image, folder, replacements));
    std::vector<std::string> found;
    std::copy_if(files.begin(), files.end(), std::back_inserter(found),
                 [](const auto& f) { return !f.empty(); });
    if (found.empty())
        throw Error("no picture of the report is where it was",
                    report["images"][0]["file"].get<std::string>(), "name it with --image FILE");
    Setup s;
    s.opened = recorded_model(report, folder, o);
    const auto& model = s.opened.model;
    s.quantized = quantize(model, Calibration::from_json(report["calibration_ranges"]),
                           QuantConfig::from_json(report["config"]));
    std::string backend = o.backend, gpu_absent;
    if (backend == "recorded") {
        backend = report.value("backend", std::string("auto"));
        for (const BackendEntry& b : backends())
            if (b.name == backend && b.unavailable && !b.unavailable().empty()) {
                note("the report's backend {} is not available here: {}", backend, b.unavailable());
                backend = "auto";
                break;
            }
    }
    int threads = o.threads;
    if (threads == 0 && report.contains("machine")) threads = report["machine"].value("threads", 0);
    s.backend = make_backend(backend, threads, &gpu_absent);
    s.integers = s.backend->load(s.quantized);
    s.floats = make_float_network(model, threads);
    s.effective = effective(*s.quantized, s.backend->info(), gpu_absent);
    Pictures pictures(found, s.opened);
    const auto inputs = compare_all(s, pictures);
    ReportOptions options;
    options.top = report["options"]["top"];
    options.head = report["options"]["head"];
    if (report.contains("causes")) options.causes = causes_of(s, inputs);
    Json now = build_report(s.effective, inputs, options);
    Json images = Json::array();
    for (size_t i = 0, k = 0; i < files.size(); ++i) {
        const bool run = !files[i].empty() && k < inputs.size() && inputs[k].file == files[i];
        images.push_back(run ? std::move(now["images"][k++]) : Json());
    }
    now["images"] = std::move(images);
    if (report.value("program", "") != now["program"])
        note("the report is by {}, this is {}", report.value("program", "another program"),
             now["program"].get<std::string>());
    const Json then = report.value("machine", Json::object());
    if (then.value("isa", Json()) != now["machine"]["isa"])
        note("the report was made with isa {}, this is {}: the float network's last digits may differ",
             then.value("isa", Json()).dump(), now["machine"]["isa"].dump());
    return now;
}

// In full: what differs may be the last digit.
std::string value_text(const Json& v) { return v.is_null() ? "(absent)" : v.dump(); }

// The greatest relative difference, when all that differs are numbers; else 0.
double greatest_change(const std::vector<Difference>& differences) {
    double most = 0;
    for (const auto& d : differences) {
        if (!d.a.is_number() || !d.b.is_number()) return 0;
        const double a = d.a, b = d.b;
        most = std::max(most, std::fabs(a - b) / std::max({std::fabs(a), std::fabs(b), 1e-300}));
    }
    return most;
}

// What each report was made of and with, where that is not the same.
void print_facts(const Json& a, const Json& b) {
    using Rows = std::vector<std::pair<std::string, std::string>>;
    const auto rows = [](const Json& r) {
        Rows rows = report_facts(r), config = config_rows(r);
        rows.insert(rows.end(), config.begin(), config.end());
        if (const std::string w = why(r); !w.empty()) rows.emplace_back("Why", w);
        if (r.contains("latency")) rows.emplace_back("Latency", latency_sentence(r["latency"]));
        if (r.contains("evaluation"))
            for (const auto& row : ivit::evaluation_table(r["evaluation"]).rows)
                rows.emplace_back("top-1, " + row[0], row[1] + " %, agreement " + row[3] + " %");
        return rows;
    };
    const auto value = [](const Rows& rows, const std::string& key) {
        for (const auto& [k, v] : rows)
            if (k == key) return v;
        return std::string("-");
    };
    const Rows x = rows(a), y = rows(b);
    Rows keys = x;
    for (const auto& row : y)
        if (value(x, row.first) == "-") keys.push_back(row);
    for (const auto& [key, unused] : keys)
        if (const std::string u = value(x, key), v = value(y, key); u != v)
            fmt::print("  {:<20} a  {}\n  {:<20} b  {}\n", key, u, "", v);
}

int print_differences(const std::vector<Difference>& differences, bool json, const std::string& kind,
                      const Json& a, const Json& b) {
    if (json) {
        Json doc = {{"format", "ivit-" + kind},
                    {"version", 1},
                    {"program", "ivit " IVIT_VERSION},
                    {"equal", differences.empty()}};
        // What was in effect: of both, or of the run that just was.
        const auto effective = [](const Json& r) {
            Json e;
            for (const char* field :
                 {"model", "quant", "preset", "config", "backend", "machine", "calibration"})
                e[field] = r.value(field, Json());
            return e;
        };
        if (kind == "diff") {
            doc["a"] = effective(a);
            doc["b"] = effective(b);
        } else {
            doc.update(effective(b));
        }
        doc["differences"] = Json::array();
        for (const auto& d : differences)
            doc["differences"].push_back({{"where", d.where}, {"a", d.a}, {"b", d.b}});
        print_json(doc);
        return differences.empty() ? 0 : 1;
    }
    if (kind == "diff")
        print_facts(a, b);
    else
        for (const auto& [key, value] : report_facts(b))
            if (key != "Made" && key != "Machine") fmt::print("  {:<20} {}\n", key, value);
    if (differences.empty()) {
        fmt::print("every value is the same\n");
        return 0;
    }
    // The layers first, side by side: that is what a person compares.
    const size_t n = std::min(a["images"].size(), b["images"].size());
    for (size_t i = 0; kind == "diff" && i < n; ++i) {
        const Json &x = a["images"][i], &y = b["images"][i];
        const std::string f = x["file"], g = y["file"];
        fmt::print("\n{}\n  a  {}: {}\n  b  {}: {}\n\n",
                   ink(Ink::bold, one_line(f == g ? f : f + " against " + g)), a["quant"].get<std::string>(),
                   verdict(x), b["quant"].get<std::string>(), verdict(y));
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
    fmt::print("\n{}\n", differences.size() == 1 ? "1 value differs"
                                                 : fmt::format("{} values differ", differences.size()));
    if (const double most = greatest_change(differences); kind == "replay" && most > 0)
        fmt::print("numbers only, the greatest relative change is {:.1e}\n", most);
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
        ->required()
        ->allow_extra_args(false);  // or it would take the pictures after it
    c->add_option("--head", r->head,
                  "head whose maps are shown, e.g. blocks.3.attn.softmax:2 (default: the worst by KL)");
    c->add_option("--evaluation", r->evaluation, "JSON written by `ivit evaluate`, to be told in the report");
    c->add_option("--runs", r->runs, "latency runs of each network; 0: no latency")
        ->check(CLI::Range(0, 1000000))
        ->capture_default_str();
    c->callback([=, &run] {
        run = [=] {
            for (const auto& file : r->outputs) {
                check_report_name(file);
                check_writable(file);
            }
            Pictures pictures(r->images, open(*o));
            Setup s = prepare(*o, [&] { return pictures.first(); });
            if (!s.floats)
                throw Error("a report needs the float checkpoint beside the integers", o->model,
                            "keep the checkpoint where it was when the model was quantized");
            const auto inputs = compare_all(s, pictures);
            ReportOptions options;
            options.skipped = pictures.skipped();
            options.top = o->top;
            options.head = r->head;
            options.causes = causes_of(s, inputs);
            if (r->runs > 0) {
                BenchOptions b;
                b.runs = r->runs;
                b.per_layer = true;
                b.stop = interrupted();
                ProgressBar bar("measuring", b.warm_up + 2 * b.runs);
                b.progress = [&](int done, int) { bar.step(done); };
                options.latency = ivit::bench(s.floats.get(), *s.integers, inputs[0].pixels, b);
            }
            if (!r->evaluation.empty()) {
                options.evaluation = read_json(r->evaluation, "the evaluation");
                if (!options.evaluation->is_object() ||
                    options.evaluation->value("format", "") != "ivit-evaluate")
                    throw Error("this is not a document of `ivit evaluate`", r->evaluation);
            }
            std::vector<std::string> more;
            const auto add = [&](const char* option, const std::string& value) {
                if (!value.empty()) more.insert(more.end(), {option, value});
            };
            add("--model", o->model);
            add("--arch", o->arch);
            if (!o->arch.empty()) add("--seed", std::to_string(o->seed));
            add("--calibration", o->calibration);
            add("--method", o->method);
            add("--head", r->head);
            add("--evaluation", r->evaluation);
            add("--top", std::to_string(o->top));
            add("--runs", std::to_string(r->runs));
            s.follow_backend();
            std::vector<std::string> read;
            for (const ReportInput& in : inputs) read.push_back(in.file);
            options.commands = reproduce_commands(s.effective, read, more);
            const Json report = build_report(s.effective, inputs, options);
            for (const auto& file : r->outputs) write_report(report, file);
            if (o->json)
                print_json(report);
            else
                for (const auto& file : r->outputs) fmt::print("{}\n", file);
            return pictures.status();
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
    c->add_option("--image", *images, "a picture, when it is not where it was; may be given several times")
        ->allow_extra_args(false);
    o->backend = "recorded";
    c->add_option("--backend,-b", o->backend, "recorded, auto, reference, cpu or cuda")
        ->capture_default_str();
    c->add_option("--threads,-t", o->threads, "kernel threads; 0: as recorded")->check(CLI::Range(0, 1024));
    c->add_flag("--json", o->json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const Json old = read_report(*file);
            const Json now = replay(old, fs::path(*file).parent_path(), *o, *images);
            return print_differences(report_differences(old, now, true), o->json, "replay", old, now);
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
            if (!*json) fmt::print("a  {}: {}\nb  {}: {}\n\n", *a, report_title(x), *b, report_title(y));
            return print_differences(report_differences(x, y), *json, "diff", x, y);
        };
    });
}

}  // namespace ivit::cli
