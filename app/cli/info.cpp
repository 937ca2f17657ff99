// SPDX-License-Identifier: GPL-3.0-or-later
// ivit info MODEL: what a file holds.
#include <fmt/format.h>

#include "app/cli/command.h"
#include "engine/version.h"

namespace ivit::cli {

namespace {

int64_t macs(const Graph& g) {
    int64_t sum = 0;
    for (int n = 0; n < static_cast<int>(g.nodes.size()); ++n) sum += g.macs(n);
    return sum;
}

Json nodes_json(const Graph& g) {
    Json nodes = Json::array();
    for (int n = 0; n < static_cast<int>(g.nodes.size()); ++n) {
        const Node& node = g.nodes[static_cast<size_t>(n)];
        nodes.push_back(
            {{"name", node.name}, {"op", to_string(node.op)}, {"shape", node.shape}, {"macs", g.macs(n)}});
    }
    return nodes;
}

Json info_json(const OpenedModel& m) {
    const ModelInfo& i = m.info();
    const Graph& g = *m.graph();
    Json j = {{"format", "ivit-info"}, {"version", 1}, {"program", program_name()}};
    j["model"] = {{"name", i.name},
                  {"family", i.family},
                  {"kind", m.quantized ? "quantized" : "checkpoint"},
                  {"source", i.source},
                  {"sha256", i.sha256},
                  {"dtype", i.dtype},
                  {"parameters", i.parameters},
                  {"fp32_bytes", 4 * i.parameters},
                  {"assumptions", i.assumptions}};
    j["architecture"] = {{"depth", g.depth},   {"width", g.width},           {"heads", g.heads},
                         {"mlp", g.hidden},    {"patch_size", g.patch_size}, {"image_size", g.image_size},
                         {"tokens", g.tokens}, {"classes", g.classes},       {"macs", macs(g)}};
    j["preprocessing"] = {
        {"mean", i.mean}, {"std", i.std}, {"crop_pct", i.crop_pct}, {"interpolation", "bicubic"}};
    j["labels"] = i.labels;
    if (m.calibration)
        j["calibration"] = {{"summary", m.calibration->summary()}, {"pictures", m.calibration->pictures}};
    if (m.quantized) {
        j["quant"] = m.quantized->config.label();
        j["preset"] = m.quantized->config.preset;
        j["config"] = m.quantized->config.to_json();
        j["weight_bytes"] = m.quantized->weight_bytes();
    }
    if (!m.note.empty()) j["note"] = m.note;
    j["nodes"] = nodes_json(g);
    return j;
}

// model: the file that was opened.
void print_info(const OpenedModel& m, const std::string& model) {
    const ModelInfo& i = m.info();
    const Graph& g = *m.graph();
    const auto line = [](const char* what, const std::string& text) {
        fmt::print("  {:<13} {}\n", what, text);
    };
    fmt::print("{}\n", ink(Ink::bold, i.name));
    if (m.quantized) line("file", one_line(model));
    line(m.quantized ? "made from" : "file", one_line(i.source));
    if (!i.sha256.empty()) line(m.quantized ? "its sha256" : "sha256", i.sha256);
    line("architecture",
         fmt::format("{}: {} block{} of width {}, {} head{}, MLP {}, patch {}, {}x{} pixels, {} tokens, {} "
                     "class{}",
                     i.family, g.depth, g.depth == 1 ? "" : "s", g.width, g.heads, g.heads == 1 ? "" : "s",
                     g.hidden, g.patch_size, g.image_size, g.image_size, g.tokens, g.classes,
                     g.classes == 1 ? "" : "es"));
    line("parameters",
         fmt::format("{:.2f} M, {:.1f} MB in FP32, stored as {}", static_cast<double>(i.parameters) / 1e6,
                     4e-6 * static_cast<double>(i.parameters), i.dtype));
    line("work", fmt::format("{:.3f} GMAC a picture", static_cast<double>(macs(g)) / 1e9));
    line("pixels",
         fmt::format("mean {:.4g}, {:.4g}, {:.4g}, std {:.4g}, {:.4g}, {:.4g}, crop {:.3g}, bicubic",
                     i.mean[0], i.mean[1], i.mean[2], i.std[0], i.std[1], i.std[2], i.crop_pct));
    line("labels", i.labels.empty()
                       ? "none"
                       : fmt::format("{}: {} to {}", i.labels.size(), i.labels.front(), i.labels.back()));
    line("ranges",
         m.calibration ? m.calibration->summary() : "none saved: calibrated on the picture at hand");
    if (m.quantized)
        line("quantized", fmt::format("{}, {} operators, weights {:.2f} MB", m.quantized->config.label(),
                                      m.quantized->config.preset,
                                      1e-6 * static_cast<double>(m.quantized->weight_bytes())));
    for (const auto& a : i.assumptions) line("assumed", a);
    if (!m.note.empty()) line("note", m.note);
}

}  // namespace

void add_info(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("info", "architecture, size, labels and ranges of a model");
    auto o = std::make_shared<Options>();
    c->add_option("model", o->model, "checkpoint or quantized model; the bundled one without it");
    c->add_option("--arch", o->arch, "a named architecture instead");
    c->add_flag("--json", o->json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const OpenedModel m = open(*o);
            if (o->json)
                print_json(info_json(m));
            else
                print_info(m, o->model);
            return 0;
        };
    });
}

}  // namespace ivit::cli
