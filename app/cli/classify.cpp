// SPDX-License-Identifier: GPL-3.0-or-later
// ivit classify IMAGE...: what both networks see.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/error.h"

namespace ivit::cli {

void add_classify(CLI::App& program, Run& run) {
    auto* c =
        program.add_subcommand("classify", "classify pictures with integers only, and in floating point");
    auto o = std::make_shared<Options>();
    auto images = std::make_shared<std::vector<std::string>>();
    add_common(*c, *o);
    c->add_option("image", *images, "picture files")->required();
    c->callback([=, &run] {
        run = [=] {
            Pictures pictures(*images, open(*o));
            Setup s = prepare(*o, [&] { return pictures.first(); });
            Json doc = document("classify", s.effective);
            doc["images"] = Json::array();
            if (!o->json) fmt::print("{}", summary(s.effective));
            for (const auto& file : pictures.files()) {
                if (interrupted().stop_requested()) throw Cancelled{};
                const auto pixels = pictures.read(file);
                if (!pixels) continue;
                RunOptions options;
                options.stop = interrupted();
                const auto integer = s.integers->run(*pixels, 1, options);
                const auto floats = s.floats ? s.floats->run(*pixels, 1, options) : nullptr;
                Json entry = {
                    {"file", file},
                    {"predictions", {{"integer", predictions_json(*integer, 0, o->top, s.effective.model)}}}};
                if (floats)
                    entry["predictions"]["float"] = predictions_json(*floats, 0, o->top, s.effective.model);
                if (o->json)
                    doc["images"].push_back(entry);
                else
                    fmt::print("\n{}\n{}", ink(Ink::bold, one_line(file)),
                               predictions_table(entry["predictions"]));
            }
            if (images->size() == 1 && pictures.status() == 0)
                doc["predictions"] = doc["images"].empty() ? Json() : doc["images"][0]["predictions"];
            doc["skipped"] = pictures.skipped();
            s.follow_backend();
            describe_backend(doc, s.effective);
            if (o->json) print_json(doc);
            return pictures.status();
        };
    });
}

}  // namespace ivit::cli
