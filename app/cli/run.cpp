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

}  // namespace

void add_run(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("run", "run one picture and dump any node's integers");
    auto o = std::make_shared<Options>();
    auto image = std::make_shared<std::string>();
    auto dump = std::make_shared<std::string>();
    auto taps = std::make_shared<std::vector<std::string>>();
    // The model is named first here, so not as --model.
    add_common(*c, *o);
    c->remove_option(c->get_option("--model"));
    c->add_option("model", o->model, "checkpoint or quantized model; none with --arch");
    c->add_option("image", *image, "picture file");
    c->add_option("--dump", *dump,
                  "safetensors file for the taps: NODE as I32 [1, ...], NODE.scale as F64 [groups]");
    c->add_option(
         "--taps", *taps,
         "glob on node names, e.g. 'blocks.*.attn.softmax'; may be given several times (default: all)")
        ->allow_extra_args(false);
    c->callback([=, &run] {
        if (!o->arch.empty() && image->empty()) std::swap(o->model, *image);  // the one word there is
        if (o->model.empty() && o->arch.empty()) throw CLI::RequiredError("model");
        if (image->empty()) throw CLI::RequiredError("image");
        run = [=] {
            if (!dump->empty()) check_output(*dump, *o, {*image});
            const OpenedModel probe = open(*o);
            const Pixels pixels = load_pixels(*image, *probe.graph(), probe.info());
            Setup s = prepare(*o, [&] { return pixels; });
            const auto& nodes = s.integers->graph().nodes;
            RunOptions options;
            options.stop = interrupted();
            options.taps.assign(nodes.size(), taps->empty() && !dump->empty());
            for (const auto& glob : *taps) {
                bool any = false;
                for (size_t i = 0; i < nodes.size(); ++i)
                    if (glob_match(glob, nodes[i].name)) options.taps[i] = any = true;
                if (!any)
                    throw Error("no node matches '" + glob + "'", "--taps",
                                "`ivit info --json` lists the nodes");
            }
            if (dump->empty() && !taps->empty())
                throw Error("--taps without --dump keeps nothing", "--taps", "name a file with --dump");
            const auto trace = s.integers->run(pixels, 1, options);
            s.follow_backend();
            if (!dump->empty()) {
                std::vector<TensorOut> out;
                for (const Tap& t : trace->taps) {
                    const std::string& name = nodes[static_cast<size_t>(t.node)].name;
                    out.push_back(tensor_out(name, "I32", t.integers.shape, t.integers.data));
                    const auto& scale = t.integers.grid.scale;
                    out.push_back(
                        tensor_out(name + ".scale", "F64", {static_cast<int64_t>(scale.size())}, scale));
                }
                write_safetensors(*dump, out,
                                  {{"format", "ivit-taps"},
                                   {"version", "1"},
                                   {"image", *image},
                                   {"configuration", document("taps", s.effective).dump()}});
            }
            Json doc = document("run", s.effective);
            doc["file"] = *image;
            doc["predictions"] = {{"integer", predictions_json(*trace, 0, o->top, s.effective.model)}};
            doc["logits"] = {{"integers", trace->integer_logits}, {"scale", trace->logit_scale}};
            doc["milliseconds"] = trace->ms;
            doc["taps"] = Json::array();
            for (const Tap& t : trace->taps) doc["taps"].push_back(nodes[static_cast<size_t>(t.node)].name);
            if (!dump->empty()) doc["dump"] = *dump;
            if (o->json) {
                print_json(doc);
                return 0;
            }
            fmt::print("{}\n{}\n{}", summary(s.effective), ink(Ink::bold, one_line(*image)),
                       predictions_table(doc["predictions"]));
            if (!dump->empty()) fmt::print("  {} taps in {}\n", trace->taps.size(), *dump);
            return 0;
        };
    });
}

}  // namespace ivit::cli
