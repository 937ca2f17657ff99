// SPDX-License-Identifier: Apache-2.0
#include "engine/report/causes.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/error.h"

namespace ivit {

namespace {

constexpr size_t most_pictures = 8, most_nodes = 12;

// A change, and the rules that make it.
struct Trial {
    std::string where, what;
    std::vector<QuantRule> rules;
};

QuantRule rule(const std::string& glob, std::optional<int> weight, std::optional<int> activation,
               std::optional<Mode> mode = {}) {
    QuantRule r;
    r.glob = glob;
    r.bits.weight = weight;
    r.bits.activation = activation;
    r.mode = mode;
    return r;
}

const char* true_operator(Op op) {
    switch (op) {
        case Op::softmax:
            return "exact softmax";
        case Op::gelu:
            return "exact GELU";
        case Op::layernorm:
            return "exact LayerNorm";
        default:
            return nullptr;
    }
}

// What could be better about one node.
std::vector<Trial> of_node(const Node& n, const QuantNode& q) {
    std::vector<Trial> trials;
    const auto add = [&](const std::string& what, QuantRule r) { trials.push_back({n.name, what, {r}}); };
    if (q.quant.mode == Mode::integer) {
        if (!q.weight.empty()) {
            if (q.quant.weight_bits < 8) add("weights at 8 bits", rule(n.name, 8, {}));
            add("in float", rule(n.name, {}, {}, Mode::float_ops));
        }
        if (const char* exact = true_operator(n.op)) add(exact, rule(n.name, {}, {}, Mode::exact));
    }
    const int widest =
        n.op == Op::softmax || n.op == Op::attn_logits || n.op == Op::residual_add || n.op == Op::pos_embed
            ? 16
            : 8;
    if (q.quant.out_bits < widest)
        add("output at " + std::to_string(widest) + " bits", rule(n.name, {}, widest));
    return trials;
}

// "*.act" of "blocks.3.mlp.act".
std::string everywhere(const Node& n) {
    return n.op == Op::layernorm ? "*norm*"
                                 : "*" + n.name.substr(std::min(n.name.find_last_of('.'), n.name.size()));
}

// `one` instead of the trial's rules where it does the same: the change a person would have made, and can
// read.
void say_shortly(const QuantizedModel& model, Trial& t, QuantRule one) {
    QuantConfig a = model.config, b = model.config;
    a.rules.insert(a.rules.end(), t.rules.begin(), t.rules.end());
    b.rules.push_back(one);
    if (resolve(a, *model.graph) == resolve(b, *model.graph)) t.rules = {std::move(one)};
}

// Each kind of rounding and approximation, everywhere.
std::vector<Trial> of_network(const QuantizedModel& model) {
    const Graph& g = *model.graph;
    std::map<std::string, Trial> kinds;
    std::map<std::string, QuantRule> short_form;
    const auto add = [&](const std::string& what, QuantRule r, const std::string& glob) {
        Trial& t = kinds[what];
        t.what = what;
        QuantRule& one = short_form[what] = r;
        one.glob = glob;
        t.rules.push_back(std::move(r));
    };
    for (size_t i = 0; i < g.nodes.size(); ++i) {
        const Node& n = g.nodes[i];
        const QuantNode& q = *model.nodes[i];
        const int bits = q.quant.out_bits;
        if (q.quant.mode == Mode::integer) {
            if (!q.weight.empty() && q.quant.weight_bits < 8)
                add("weights at 8 bits", rule(n.name, 8, {}), "*");
            if (const char* exact = true_operator(n.op))
                add(exact, rule(n.name, {}, {}, Mode::exact), everywhere(n));
        }
        if (n.op == Op::softmax) {
            if (bits < 16) add("softmax at 16 bits", rule(n.name, {}, 16), everywhere(n));
        } else if (n.op == Op::attn_logits) {
            if (bits < 16) add("attention logits at 16 bits", rule(n.name, {}, 16), everywhere(n));
        } else if (n.op == Op::residual_add || n.op == Op::pos_embed) {
            if (bits < 16) {
                QuantRule all;
                all.bits.residual = 16;
                all.glob = "*";
                add("residual stream at 16 bits", rule(n.name, {}, 16), "*");
                short_form["residual stream at 16 bits"] = std::move(all);
            }
        } else if (bits < 8) {
            add("activations at 8 bits", rule(n.name, {}, 8), "*");
        }
    }
    std::vector<Trial> trials;
    for (auto& [what, t] : kinds) {
        say_shortly(model, t, short_form[what]);
        trials.push_back(std::move(t));
    }
    return trials;
}

std::vector<Trial> of_blocks(const QuantizedModel& model) {
    std::vector<Trial> trials;
    for (int block = 0; block < model.graph->depth; ++block) {
        Trial t{"", "in float", {}};
        for (const Node& n : model.graph->nodes) {
            if (n.block != block) continue;
            t.rules.push_back(rule(n.name, {}, {}, Mode::float_ops));
            if (t.where.empty()) t.where = n.name.substr(0, n.name.find('.', n.name.find('.') + 1));
        }
        if (t.rules.empty()) continue;
        say_shortly(model, t, rule(t.where + ".*", {}, {}, Mode::float_ops));
        trials.push_back(std::move(t));
    }
    return trials;
}

// Node indices by mean isolated SQNR, least first; those that nothing can be done about are left out.
std::vector<size_t> noisiest(const QuantizedModel& model, const std::vector<ReportInput>& inputs,
                             size_t pictures) {
    const size_t count = model.graph->nodes.size();
    std::vector<double> db(count);
    std::vector<size_t> order;
    for (size_t i = 0; i < count; ++i) {
        for (size_t k = 0; k < pictures; ++k) db[i] += inputs[k].comparison.isolated.at(i).sqnr_db;
        if (!of_node(model.graph->nodes[i], *model.nodes[i]).empty()) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return db[a] < db[b]; });
    order.resize(std::min(order.size(), most_nodes));
    return order;
}

// What `network` makes of the first `pictures` inputs, whose pixels lie one after the other, against the
// float network: the SQNR of all logits together, in dB, and how many answers agree.
struct Answers {
    double sqnr_db = 0;
    int64_t agree = 0;
};
Answers answers(IntegerNetwork& network, const std::vector<ReportInput>& inputs, size_t pictures,
                const Pixels& pixels, std::stop_token stop) {
    RunOptions options;
    options.stop = stop;
    const auto trace = network.run(pixels, static_cast<int>(pictures), options);
    const size_t classes = trace->logits.size() / pictures;
    Answers a;
    double signal = 0, noise = 0;
    for (size_t k = 0; k < pictures; ++k) {
        const Trace& floats = *inputs[k].comparison.float_trace;
        for (size_t i = 0; i < classes; ++i) {
            const double f = floats.logits[i], e = f - trace->logits[k * classes + i];
            signal += f * f;
            noise += e * e;
        }
        a.agree += top_k(floats, 0, 1) == top_k(*trace, static_cast<int>(k), 1);
    }
    a.sqnr_db = noise > 0 ? std::min(sqnr_cap, 10 * std::log10(signal / noise)) : sqnr_cap;
    return a;
}

}  // namespace

Causes find_causes(Backend& backend, const std::vector<ReportInput>& inputs, std::stop_token stop,
                   const std::function<void(int64_t done, int64_t total)>& progress) {
    const auto model = inputs.at(0).comparison.model;
    if (!model->source) throw Error("the float checkpoint is needed to say what a change would bring");
    const size_t pictures = std::min(inputs.size(), most_pictures);
    Pixels pixels;
    for (size_t k = 0; k < pictures; ++k)
        pixels.insert(pixels.end(), inputs[k].pixels.begin(), inputs[k].pixels.end());
    const auto base = backend.load(model);
    const Answers as_it_is = answers(*base, inputs, pictures, pixels, stop);
    Causes causes;
    causes.pictures = static_cast<int64_t>(pictures);
    causes.logits_sqnr_db = as_it_is.sqnr_db;
    causes.agree = as_it_is.agree;

    const auto network = of_network(*model), blocks = of_blocks(*model);
    std::vector<std::vector<Trial>> nodes;
    for (const size_t i : noisiest(*model, inputs, pictures))
        nodes.push_back(of_node(model->graph->nodes[i], *model->nodes[i]));
    int64_t done = 0, total = static_cast<int64_t>(network.size() + blocks.size());
    for (const auto& n : nodes) total += static_cast<int64_t>(n.size());

    const auto attempt = [&](const Trial& t) {
        if (stop.stop_requested()) throw Cancelled{};
        QuantConfig config = model->config;
        config.rules.insert(config.rules.end(), t.rules.begin(), t.rules.end());
        const auto changed = quantize(model->source, model->calibration, config, model.get());
        const Answers then = answers(*backend.load(changed, base.get()), inputs, pictures, pixels, stop);
        Change c{t.where, t.what};
        c.rules = t.rules;
        c.logits_sqnr_db = then.sqnr_db;
        c.gain_db = then.sqnr_db - causes.logits_sqnr_db;
        c.agree = then.agree;
        if (progress) progress(++done, total);
        return c;
    };
    const auto better = [](const Change& a, const Change& b) { return a.gain_db > b.gain_db; };
    for (const Trial& t : network) causes.network.push_back(attempt(t));
    for (const Trial& t : blocks) causes.blocks.push_back(attempt(t));
    for (const auto& trials : nodes) {
        std::vector<Change> of_this;
        for (const Trial& t : trials) of_this.push_back(attempt(t));
        causes.nodes.push_back(*std::min_element(of_this.begin(), of_this.end(), better));
    }
    for (auto* list : {&causes.network, &causes.blocks, &causes.nodes})
        std::stable_sort(list->begin(), list->end(), better);
    return causes;
}

Json causes_json(const Causes& c) {
    Json j = {{"pictures", c.pictures}, {"logits_sqnr_db", c.logits_sqnr_db}, {"agree", c.agree}};
    const auto list = [&](const char* name, const std::vector<Change>& changes) {
        j[name] = Json::array();
        for (const Change& x : changes) {
            Json row;
            if (!x.where.empty()) row["where"] = x.where;
            row["what"] = x.what;
            row["logits_sqnr_db"] = x.logits_sqnr_db;
            row["gain_db"] = x.gain_db;
            row["agree"] = x.agree;
            j[name].push_back(std::move(row));
        }
    };
    list("network", c.network);
    list("blocks", c.blocks);
    list("nodes", c.nodes);
    return j;
}

}  // namespace ivit
