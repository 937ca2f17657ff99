// SPDX-License-Identifier: GPL-3.0-or-later
// ivit calibrate: ranges of every activation, saved beside the checkpoint.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "engine/error.h"
#include "engine/safetensors.h"

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
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel m = open(*o);
            if (!m.model) throw Error("a quantized model has its ranges already", o->model);
            const Calibration cal = calibrate_folder(*o, *m.model, *folder);
            const std::filesystem::path file =
                out->empty() ? calibration_path(m.model->info.source) : std::filesystem::path(*out);
            const std::string text = cal.to_json().dump(1) + "\n";
            write_atomically(file, std::as_bytes(std::span(text)));
            fmt::print("{}: {}\n", file.string(), cal.summary());
            return 0;
        };
    });
}

}  // namespace ivit::cli
