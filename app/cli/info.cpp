// SPDX-License-Identifier: GPL-3.0-or-later
// ivit info MODEL: what a file holds.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "engine/version.h"

namespace ivit::cli {

void add_info(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("info", "architecture, size, labels and ranges of a model");
    auto o = std::make_shared<Options>();
    c->add_option("model", o->model, "checkpoint or quantized model; the bundled one without it");
    c->add_option("--arch", o->arch, "a named architecture instead");
    c->add_flag("--json", o->json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel m = open(*o);
            const ModelInfo& i = m.info();
            const Graph& g = *m.graph();
            Json j = {{"format", "ivit-info"}, {"version", 1}, {"program", program_name()}};
            int64_t macs = 0;
            for (int n = 0; n < static_cast<int>(g.nodes.size()); ++n) macs += g.macs(n);
            j["model"] = {{"name", i.name},
                          {"family", i.family},
                          {"kind", m.quantized ? "quantized" : "checkpoint"},
                          {"source", i.source},
                          {"sha256", i.sha256},
                          {"dtype", i.dtype},
                          {"parameters", i.parameters},
                          {"fp32_bytes", 4 * i.parameters},
                          {"assumptions", i.assumptions}};
            j["architecture"] = {
                {"depth", g.depth},   {"width", g.width},           {"heads", g.heads},
                {"mlp", g.hidden},    {"patch_size", g.patch_size}, {"image_size", g.image_size},
                {"tokens", g.tokens}, {"classes", g.classes},       {"macs", macs}};
            j["preprocessing"] = {
                {"mean", i.mean}, {"std", i.std}, {"crop_pct", i.crop_pct}, {"interpolation", "bicubic"}};
            j["labels"] = i.labels;
            if (m.calibration)
                j["calibration"] = {{"summary", m.calibration->summary()},
                                    {"pictures", m.calibration->pictures}};
            if (m.quantized) {
                j["quant"] = m.quantized->config.label();
                j["preset"] = m.quantized->config.preset;
                j["config"] = m.quantized->config.to_json();
                j["weight_bytes"] = m.quantized->weight_bytes();
            }
            if (!m.note.empty()) j["note"] = m.note;
            j["nodes"] = Json::array();
            for (int n = 0; n < static_cast<int>(g.nodes.size()); ++n) {
                const Node& node = g.nodes[static_cast<size_t>(n)];
                j["nodes"].push_back({{"name", node.name},
                                      {"op", to_string(node.op)},
                                      {"shape", node.shape},
                                      {"macs", g.macs(n)}});
            }
            if (o->json) {
                print_json(j);
                return 0;
            }
            fmt::print("{}\n", ink(Ink::bold, i.name));
            if (m.quantized) fmt::print("  file          {}\n", one_line(o->model));
            fmt::print("  {}{}\n", m.quantized ? "made from     " : "file          ", one_line(i.source));
            if (!i.sha256.empty())
                fmt::print("  {}{}\n", m.quantized ? "its sha256    " : "sha256        ", i.sha256);
            fmt::print(
                "  architecture  {}: {} block{} of width {}, {} head{}, MLP {}, patch {}, {}x{} pixels, {} "
                "tokens, {} class{}\n",
                i.family, g.depth, g.depth == 1 ? "" : "s", g.width, g.heads, g.heads == 1 ? "" : "s",
                g.hidden, g.patch_size, g.image_size, g.image_size, g.tokens, g.classes,
                g.classes == 1 ? "" : "es");
            fmt::print("  parameters    {:.2f} M, {:.1f} MB in FP32, stored as {}\n",
                       static_cast<double>(i.parameters) / 1e6, 4e-6 * static_cast<double>(i.parameters),
                       i.dtype);
            fmt::print("  work          {:.3f} GMAC a picture\n", static_cast<double>(macs) / 1e9);
            fmt::print(
                "  pixels        mean {:.4g}, {:.4g}, {:.4g}, std {:.4g}, {:.4g}, {:.4g}, crop {:.3g}, "
                "bicubic\n",
                i.mean[0], i.mean[1], i.mean[2], i.std[0], i.std[1], i.std[2], i.crop_pct);
            fmt::print("  labels        {}\n",
                       i.labels.empty()
                           ? "none"
                           : fmt::format("{}: {} to {}", i.labels.size(), i.labels.front(), i.labels.back()));
            fmt::print("  ranges        {}\n", m.calibration
                                                   ? m.calibration->summary()
                                                   : "none saved: calibrated on the picture at hand");
            if (m.quantized)
                fmt::print("  quantized     {}, {} operators, weights {:.2f} MB\n",
                           m.quantized->config.label(), m.quantized->config.preset,
                           1e-6 * static_cast<double>(m.quantized->weight_bytes()));
            for (const auto& a : i.assumptions) fmt::print("  assumed       {}\n", a);
            if (!m.note.empty()) fmt::print("  note          {}\n", m.note);
            return 0;
        };
    });
}

}  // namespace ivit::cli
