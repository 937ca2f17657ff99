// SPDX-License-Identifier: GPL-3.0-or-later
// ivit replay: a report run again, and what differs.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/report_commands.h"
#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace fs = std::filesystem;

namespace {

template <class... T>
void note(fmt::format_string<T...> text, T&&... values) {
    say("note: " + fmt::format(text, std::forward<T>(values)...));
}

// The paths on this machine that a recorded one may stand for. A report is UTF-8: where a name is not, each
// byte that could not be written became U+FFFD, and every file whose name would be written the same is meant.
std::vector<fs::path> readings(const fs::path& recorded) {
    std::error_code error;
    if (recorded.string().find("\uFFFD") == std::string::npos || fs::exists(recorded, error))
        return {recorded};
    const auto written = [](const std::string& name) {
        return Json::parse(Json(name).dump(-1, ' ', false, Json::error_handler_t::replace))
            .get<std::string>();
    };
    std::vector<fs::path> found;
    for (const fs::path& parent : readings(recorded.parent_path())) {
        fs::directory_iterator it(parent.empty() ? "." : parent, error), end;
        for (; !error && it != end; it.increment(error))
            if (written(it->path().filename().string()) == recorded.filename())
                found.push_back(parent / it->path().filename());
    }
    return found;
}

// The first of `places`, or of what they may stand for, whose file has this hash; else the first that exists
// at all; else empty.
fs::path find_by_hash(const std::vector<fs::path>& places, const std::string& sha) {
    fs::path there;
    std::error_code none;
    for (const auto& recorded : places)
        for (const auto& place : readings(recorded)) {
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

// Per picture of the report: the file to run; empty where there is none. Throws Error when there is none at
// all.
std::vector<std::string> recorded_pictures(const Json& report, const fs::path& folder,
                                           const std::vector<std::string>& given) {
    for (const auto& r : given)
        if (!fs::is_regular_file(r)) throw Error("there is no such picture", r, "check --image");
    std::vector<std::string> files;
    for (const auto& image : report["images"]) files.push_back(recorded_picture(image, folder, given));
    for (const auto& r : given)
        if (std::find(files.begin(), files.end(), r) == files.end())
            note("not used, as its SHA-256 is that of no picture of the report that was missing: {}", r);
    if (std::all_of(files.begin(), files.end(), [](const auto& f) { return f.empty(); }))
        throw Error("no picture of the report is where it was",
                    report["images"][0]["file"].get<std::string>(), "name it with --image FILE");
    return files;
}

// The backend that is asked for, or the report's where it can run here.
std::string chosen_backend(const Json& report, const std::string& asked) {
    if (asked != "recorded") return asked;
    const std::string recorded = report.value("backend", std::string("auto"));
    for (const BackendEntry& b : backends())
        if (b.name == recorded && b.unavailable && !b.unavailable().empty()) {
            note("the report's backend {} is not available here: {}", recorded, b.unavailable());
            return "auto";
        }
    return recorded;
}

// The same model file by hash, the same ranges and configuration, on the backend and with the threads of then
// where nothing else is asked for.
Setup recorded_setup(const Json& report, const fs::path& folder, const Options& o) {
    Setup s;
    s.opened = recorded_model(report, folder, o);
    s.quantized = quantize(s.opened.model, Calibration::from_json(report["calibration_ranges"]),
                           QuantConfig::from_json(report["config"]));
    int threads = o.threads;
    if (threads == 0 && report.contains("machine")) threads = report["machine"].value("threads", 0);
    std::string gpu_absent;
    s.backend = make_backend(chosen_backend(report, o.backend), threads, &gpu_absent);
    s.integers = s.backend->load(s.quantized);
    s.floats = make_float_network(s.opened.model, threads);
    s.effective = effective(*s.quantized, s.backend->info(), gpu_absent);
    return s;
}

// What may explain a difference that is nobody's fault.
void note_other_makers(const Json& then, const Json& now) {
    if (then.value("program", "") != now["program"])
        note("the report is by {}, this is {}", then.value("program", "another program"),
             now["program"].get<std::string>());
    const Json machine = then.value("machine", Json::object());
    if (machine.value("isa", Json()) != now["machine"]["isa"])
        note("the report was made with isa {}, this is {}: the float network's last digits may differ",
             machine.value("isa", Json()).dump(), now["machine"]["isa"].dump());
}

// Makes `report` again from what it records. A picture that is missing is null.
Json replay(const Json& report, const fs::path& folder, const Options& o,
            const std::vector<std::string>& replacements) {
    const std::vector<std::string> files = recorded_pictures(report, folder, replacements);
    Setup s = recorded_setup(report, folder, o);
    std::vector<std::string> found;
    std::copy_if(files.begin(), files.end(), std::back_inserter(found),
                 [](const auto& f) { return !f.empty(); });
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
    note_other_makers(report, now);
    return now;
}

}  // namespace

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

}  // namespace ivit::cli
