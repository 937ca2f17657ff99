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
            const OpenedModel probe = open(*o);
            const auto pixels_of = [&](const std::string& f) {
                return load_pixels(f, *probe.graph(), probe.info());
            };
            Setup s = prepare(*o, [&] { return pixels_of(images->front()); });
            Json doc = document("classify", s.effective);
            doc["images"] = Json::array();
            doc["skipped"] = Json::array();
            if (!o->json) fmt::print("{}", summary(s.effective));
            int broken = 0;
            for (const auto& file : *images) {
                if (interrupted().stop_requested()) throw Cancelled{};
                Pixels pixels;
                try {
                    pixels = pixels_of(file);
                } catch (const Error& e) {
                    // One bad picture does not end the others; the exit status tells.
                    ++broken;
                    fmt::print(stderr, "ivit: {}\n", one_line(e.what()));
                    doc["skipped"].push_back({{"file", file}, {"error", e.sentence()}});
                    continue;
                }
                RunOptions options;
                options.stop = interrupted();
                const auto integer = s.integers->run(pixels, 1, options);
                const auto floats = s.floats ? s.floats->run(pixels, 1, options) : nullptr;
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
            if (images->size() == 1 && !broken)
                doc["predictions"] = doc["images"].empty() ? Json() : doc["images"][0]["predictions"];
            s.follow_backend();
            describe_backend(doc, s.effective);
            if (o->json) print_json(doc);
            return broken ? 1 : 0;
        };
    });
}

}  // namespace ivit::cli
