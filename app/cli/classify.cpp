// SPDX-License-Identifier: GPL-3.0-or-later
// ivit classify IMAGE...: what both networks see.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/error.h"

namespace ivit::cli {

namespace {

int classify(const Options& o, const std::vector<std::string>& images) {
    Pictures pictures(images, open(o));
    Setup s = prepare(o, [&] { return pictures.first(); });
    Json doc = document("classify", s.effective);
    doc["images"] = Json::array();
    RunOptions options;
    options.stop = interrupted();
    for (const auto& file : images) {
        if (interrupted().stop_requested()) throw Cancelled{};
        const auto pixels = pictures.read(file);
        if (!pixels) continue;
        Json predictions;
        const auto integer = s.integers->run(*pixels, 1, options);
        predictions["integer"] = predictions_json(*integer, 0, o.top, s.effective.model);
        if (s.floats) {
            const auto floats = s.floats->run(*pixels, 1, options);
            predictions["float"] = predictions_json(*floats, 0, o.top, s.effective.model);
        }
        if (!o.json && doc["images"].empty()) fmt::print("{}", summary(s.effective));
        if (!o.json) fmt::print("\n{}\n{}", ink(Ink::bold, one_line(file)), predictions_table(predictions));
        doc["images"].push_back({{"file", file}, {"predictions", std::move(predictions)}});
    }
    if (images.size() == 1 && pictures.status() == 0) doc["predictions"] = doc["images"][0]["predictions"];
    doc["skipped"] = pictures.skipped();
    s.follow_backend();
    describe_backend(doc, s.effective);
    if (o.json) print_json(doc);
    return pictures.status();
}

}  // namespace

void add_classify(CLI::App& program, Run& run) {
    auto* c =
        program.add_subcommand("classify", "classify pictures with integers only, and in floating point");
    auto o = std::make_shared<Options>();
    auto images = std::make_shared<std::vector<std::string>>();
    add_common(*c, *o);
    add_top(*c, *o);
    c->add_option("image", *images, "picture files")->required();
    c->callback([=, &run] { run = [=] { return classify(*o, *images); }; });
}

}  // namespace ivit::cli
