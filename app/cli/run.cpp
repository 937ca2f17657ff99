// SPDX-License-Identifier: GPL-3.0-or-later
// ivit run MODEL IMAGE: one picture, any node's integers kept in a file.
#include <fmt/format.h>

#include <cstring>

#include "app/cli/command.h"
#include "app/cli/tables.h"
#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit::cli {

namespace {

template <class T>
TensorOut tensor_out(const std::string& name, const std::string& dtype, const Shape& shape,
                     const std::vector<T>& data) {
    TensorOut t{name, dtype, shape, std::vector<std::byte>(data.size() * sizeof(T))};
    std::memcpy(t.bytes.data(), data.data(), t.bytes.size());
    return t;
}

struct Choice {
    std::string image, dump;
    std::vector<std::string> taps;  // globs
};

// Per node: whether a glob matches its name; all where a file is to be written and no glob was given.
std::vector<bool> chosen_taps(const Choice& r, const std::vector<Node>& nodes) {
    std::vector<bool> chosen(nodes.size(), r.taps.empty() && !r.dump.empty());
    for (const auto& glob : r.taps) {
        bool any = false;
        for (size_t i = 0; i < nodes.size(); ++i)
            if (glob_match(glob, nodes[i].name)) chosen[i] = any = true;
        if (!any)
            throw Error("no node matches '" + glob + "'", "--taps", "`ivit info --json` lists the nodes");
    }
    if (r.dump.empty() && !r.taps.empty())
        throw Error("--taps without --dump keeps nothing", "--taps", "name a file with --dump");
    return chosen;
}

void write_taps(const Choice& r, const Trace& trace, const Effective& e) {
    std::vector<TensorOut> out;
    for (const Tap& t : trace.taps) {
        const std::string& name = trace.graph->nodes[static_cast<size_t>(t.node)].name;
        out.push_back(tensor_out(name, "I32", t.integers.shape, t.integers.data));
        const auto& scale = t.integers.grid.scale;
        out.push_back(tensor_out(name + ".scale", "F64", {static_cast<int64_t>(scale.size())}, scale));
    }
    write_safetensors(r.dump, out,
                      {{"format", "ivit-taps"},
                       {"version", "1"},
                       {"image", r.image},
                       {"configuration", document("taps", e).dump()}});
}

int run_picture(const Options& o, const Choice& r) {
    if (!r.dump.empty()) check_output(r.dump, o, {r.image});
    const OpenedModel probe = open(o);
    const Pixels pixels = load_pixels(r.image, *probe.graph(), probe.info());
    Setup s = prepare(o, [&] { return pixels; });
    RunOptions options;
    options.stop = interrupted();
    options.taps = chosen_taps(r, s.integers->graph().nodes);
    const auto trace = s.integers->run(pixels, 1, options);
    s.follow_backend();
    if (!r.dump.empty()) write_taps(r, *trace, s.effective);
    Json doc = document("run", s.effective);
    doc["file"] = r.image;
    doc["predictions"] = {{"integer", predictions_json(*trace, 0, o.top, s.effective.model)}};
    doc["logits"] = {{"integers", trace->integer_logits}, {"scale", trace->logit_scale}};
    doc["milliseconds"] = trace->ms;
    doc["taps"] = Json::array();
    for (const Tap& t : trace->taps)
        doc["taps"].push_back(trace->graph->nodes[static_cast<size_t>(t.node)].name);
    if (!r.dump.empty()) doc["dump"] = r.dump;
    if (o.json) {
        print_json(doc);
        return 0;
    }
    fmt::print("{}\n{}\n{}", summary(s.effective), ink(Ink::bold, one_line(r.image)),
               predictions_table(doc["predictions"]));
    if (!r.dump.empty()) fmt::print("  {} taps in {}\n", trace->taps.size(), r.dump);
    return 0;
}

}  // namespace

void add_run(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("run", "run one picture and dump any node's integers");
    auto o = std::make_shared<Options>();
    auto r = std::make_shared<Choice>();
    // The model is named first here, so not as --model.
    add_common(*c, *o);
    add_top(*c, *o);
    c->remove_option(c->get_option("--model"));
    c->add_option("model", o->model, "checkpoint or quantized model; none with --arch");
    c->add_option("image", r->image, "picture file");
    c->add_option("--dump", r->dump,
                  "safetensors file for the taps: NODE as I32 [1, ...], NODE.scale as F64 [groups]");
    c->add_option(
         "--taps", r->taps,
         "glob on node names, e.g. 'blocks.*.attn.softmax'; may be given several times (default: all)")
        ->allow_extra_args(false);
    c->callback([=, &run] {
        if (!o->arch.empty() && r->image.empty()) std::swap(o->model, r->image);  // the one word there is
        if (o->model.empty() && o->arch.empty()) throw CLI::RequiredError("model");
        if (r->image.empty()) throw CLI::RequiredError("image");
        run = [=] { return run_picture(*o, *r); };
    });
}

}  // namespace ivit::cli
