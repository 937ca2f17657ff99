// SPDX-License-Identifier: GPL-3.0-or-later
// ivit quantize: a file of integers.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit::cli {

void add_quantize(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand(
        "quantize", "write a quantized model: integers, ranges and configuration in one file");
    auto o = std::make_shared<Options>();
    auto out = std::make_shared<std::string>();
    add_common(*c, *o);
    c->remove_option(c->get_option("--backend"));  // nothing is run
    c->add_option("--output,-o", *out, "file to write")->required();
    c->callback([=, &run] {
        run = [=] {
            check_output(*out, *o);
            const OpenedModel m = open(*o);
            if (!m.model) throw Error("quantizing needs the float checkpoint", o->model);
            const auto no_picture = []() -> Pixels {
                throw Error("no ranges are saved beside the model", {},
                            "name a folder of pictures with --calibration DIR");
            };
            const QuantConfig config = choose_config(*o, m);
            const auto q = quantize(m.model, choose_calibration(*o, m, no_picture), config);
            save(*q, *out);
            const double mb = 1e-6 * static_cast<double>(q->weight_bytes());
            if (o->json) {
                Json j = document("quantize", effective(*q, {}, {}));
                j.erase("backend");
                j.erase("machine");
                j["output"] = *out;
                j["weight_bytes"] = q->weight_bytes();
                print_json(j);
            } else {
                fmt::print("{}: {}, {} operators, weights {:.2f} MB, {}, of {}\n", *out, config.label(),
                           config.preset, mb, q->calibration.summary(), m.model->info.source);
            }
            return 0;
        };
    });
}

}  // namespace ivit::cli
