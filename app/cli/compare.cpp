// SPDX-License-Identifier: GPL-3.0-or-later
// ivit compare IMAGE...: where the integers leave the float network.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/error.h"

namespace ivit::cli {

namespace {

void print_comparison(const std::string& file, const Json& entry) {
    const auto& l = entry["logits"];
    fmt::print("\n{}\n{}", ink(Ink::bold, one_line(file)), predictions_table(entry["predictions"]));
    fmt::print("  {}; logits SQNR {:.1f} dB, KL {:.2e} nats, margin {:.3f} float, {:.3f} integer\n\n",
               l["agree"] ? ink(Ink::good, "both agree") : ink(Ink::bad, "they differ"),
               l["sqnr_db"].get<double>(), l["kl"].get<double>(), l["margin_float"].get<double>(),
               l["margin_integer"].get<double>());
    fmt::print("{}", layers_table(entry["layers"]));
}

int compare_pictures(const Options& o, const std::vector<std::string>& images) {
    Pictures pictures(images, open(o));
    Setup s = prepare(o, [&] { return pictures.first(); });
    if (!s.floats)
        throw Error("nothing to compare with: a quantized model without its float checkpoint", o.model,
                    "keep the checkpoint where it was when the model was quantized");
    Json doc = document("compare", s.effective);
    Json list = Json::array();
    for (const auto& file : images) {
        const auto pixels = pictures.read(file);
        if (!pixels) continue;
        const Comparison r = ivit::compare(*s.floats, *s.integers, *pixels, nullptr, true, interrupted());
        Json entry = comparison_json(r, file, o.top);
        if (!o.json && list.empty()) fmt::print("{}", summary(s.effective));
        if (!o.json) print_comparison(file, entry);
        list.push_back(std::move(entry));
    }
    // One picture: its results stand at the top of the document. Several: in images[], in the order given.
    if (images.size() == 1 && !list.empty())
        doc.update(list[0]);
    else
        doc["images"] = std::move(list);
    s.follow_backend();
    describe_backend(doc, s.effective);
    doc["skipped"] = pictures.skipped();
    if (o.json) print_json(doc);
    return pictures.status();
}

}  // namespace

void add_compare(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("compare", "the error of every layer, cumulative and isolated");
    auto o = std::make_shared<Options>();
    auto images = std::make_shared<std::vector<std::string>>();
    add_common(*c, *o);
    add_top(*c, *o);
    c->add_option("image", *images, "picture files")->required();
    c->callback([=, &run] { run = [=] { return compare_pictures(*o, *images); }; });
}

}  // namespace ivit::cli
