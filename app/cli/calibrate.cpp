// SPDX-License-Identifier: GPL-3.0-or-later
// ivit calibrate: ranges of every activation, saved beside the checkpoint.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/safetensors.h"
#include "engine/version.h"

namespace ivit::cli {

void add_calibrate(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("calibrate", "gather activation ranges over a folder of pictures");
    auto o = std::make_shared<Options>();
    auto out = std::make_shared<std::string>();
    auto folder = std::make_shared<std::string>();
    c->add_option("--model,-m", o->model, "checkpoint; the bundled one without it");
    c->add_option("--calibration", *folder, "folder of pictures")->required();
    c->add_option("--method", o->method, "the default method of these ranges: minmax, percentile or mse")
        ->check(CLI::IsMember({"minmax", "percentile", "mse"}));
    c->add_option("--threads,-t", o->threads, "kernel threads; 0: all cores")->check(CLI::Range(0, 1024));
    c->add_option("--output,-o", *out, "file to write; MODEL.calibration.json without it");
    c->add_flag("--json", o->json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel m = open(*o);
            if (!m.model) throw Error("a quantized model has its ranges already", o->model);
            if (o->model.empty() && out->empty())
                throw Error("the ranges of the bundled model are not replaced", {},
                            "name another file with --output FILE");
            const std::filesystem::path file =
                out->empty() ? calibration_path(m.model->info.source) : std::filesystem::path(*out);
            check_output(file, *o, {m.model->info.source});
            Json skipped = Json::array();
            const Calibration cal = calibrate_folder(*o, *m.model, *folder, &skipped);
            write_json(cal.to_json(), file);
            if (o->json) {
                Json j = {{"format", "ivit-calibrate"}, {"version", 1}, {"program", program_name()}};
                j["model"] = {{"name", m.model->info.name},
                              {"source", m.model->info.source},
                              {"sha256", m.model->info.sha256}};
                j["calibration"] = calibration_json(cal);
                j["skipped"] = std::move(skipped);
                j["output"] = file.string();
                print_json(j);
            } else {
                fmt::print("{}: {}, of {}\n", file.string(), cal.summary(), m.model->info.source);
            }
            return 0;
        };
    });
}

}  // namespace ivit::cli
