// SPDX-License-Identifier: Apache-2.0
// The first screen of a report: does it matter, where is the error, and why?
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "engine/report/report_parts.h"

namespace ivit {

std::string certainty(const Json& image) {
    const Json &f = image["predictions"]["float"][0], &q = image["predictions"]["integer"][0];
    const std::string a = f["label"], b = q["label"];
    const std::string of_f = number(100 * real(f["probability"])),
                      of_q = number(100 * real(q["probability"]));
    return a == b ? fmt::format("{} at {} % in float, {} % in integers", a, of_f, of_q)
                  : fmt::format("{} at {} % in float, {} at {} % in integers", a, of_f, b, of_q);
}

std::string own_share(double cumulative_db, double isolated_db) {
    if (!std::isfinite(cumulative_db) || !std::isfinite(isolated_db)) return "-";
    // Above 100 where later errors happen to cancel some of it.
    const double share = 100 * std::pow(10, (cumulative_db - isolated_db) / 10);
    return share < 0.1 ? "<0.1" : share < 10 ? fmt::format("{:.1f}", share) : fmt::format("{:.0f}", share);
}

std::string own_sentence(const Json& image, const std::string& node) {
    for (const LayerRow& r : layer_rows(image))
        if (r.name == node && std::isfinite(r.isolated_db))
            return fmt::format("Alone {} dB: {} % of the error is its own", decibels(r.isolated_db),
                               own_share(r.cumulative_db, r.isolated_db));
    return {};
}

std::string causes_sentence(const Json& report) {
    const Json& c = report["causes"];
    return fmt::format(
        "Measured by changing one thing at a time and running the integers again, over {}: what the logits "
        "gain "
        "over the {} dB they have.",
        c["pictures"] == 1 ? "this picture" : c["pictures"].dump() + " pictures",
        decibels(real(c["logits_sqnr_db"])));
}

std::vector<CauseBar> cause_bars(const Json& report, const char* list, size_t most) {
    std::vector<CauseBar> bars;
    if (!report.contains("causes")) return bars;
    for (const auto& c : report["causes"][list]) {
        const double gain = real(c["gain_db"]);
        if (bars.size() == most || !(gain >= 0.05)) break;
        const std::string where = c.value("where", ""), what = c["what"];
        bars.push_back({where.empty() ? what : where + (what == "in float" ? "" : ", " + what), gain});
    }
    return bars;
}

CauseLists cause_lists(const Json& report) {
    CauseLists all;
    for (const auto& [list, title] : std::initializer_list<std::pair<const char*, const char*>>{
             {"network", "In the whole network"}, {"blocks", "One block in float"}, {"nodes", "One node"}}) {
        all.lists.push_back({title, cause_bars(report, list, 5)});
        for (const CauseBar& b : all.lists.back().bars) all.most_db = std::max(all.most_db, b.gain_db);
    }
    return all;
}

std::string report_title(const Json& r) {
    return fmt::format("{}, {}, {} operators", r["model"]["name"].get<std::string>(),
                       r["quant"].get<std::string>(), r["preset"].get<std::string>());
}

std::string report_subtitle(const Json& r) {
    return fmt::format("{}, {}; {}; {} on {}, {}, {} thread{}; {}",
                       r["integer_only"].get<bool>() ? "Integer-only" : "Not integer-only",
                       r["training"].get<std::string>(), r["calibration"]["summary"].get<std::string>(),
                       r["backend"].get<std::string>(), r["machine"]["device"].get<std::string>(),
                       r["machine"]["isa"].get<std::string>(), r["machine"]["threads"].get<int>(),
                       r["machine"]["threads"] == 1 ? "" : "s", r["created"].get<std::string>());
}

namespace {

// " 2 pictures could not be read and are left out."
std::string left_out(const Json& report) {
    const size_t n = report.contains("skipped") ? report["skipped"].size() : 0;
    if (n == 0) return {};
    return n == 1 ? " 1 picture could not be read and is left out."
                  : fmt::format(" {} pictures could not be read and are left out.", n);
}

// Does it matter?
Finding of_predictions(const Json& report) {
    const Json& images = report["images"];
    if (images.size() == 1) {
        const Json &image = images[0], &l = image["logits"];
        const bool agree = l["agree"];
        return {agree ? fmt::format("Both networks say {}",
                                    image["predictions"]["float"][0]["label"].get<std::string>())
                      : "The integers say something else than float",
                fmt::format("{}. The logits stand at {} dB SQNR, KL {} nats.{}", certainty(image),
                            decibels(real(l["sqnr_db"])), number(real(l["kl"])), left_out(report)),
                !agree};
    }
    size_t agree = 0;
    double least = INFINITY, most = -INFINITY;
    std::string differ;
    for (const auto& i : images) {
        const double db = real(i["logits"]["sqnr_db"]);
        least = std::min(least, db);
        most = std::max(most, db);
        if (i["logits"]["agree"].get<bool>()) {
            ++agree;
        } else if (differ.empty()) {
            differ = fmt::format(" They differ on {} ({}).", short_name(i["file"]), certainty(i));
        }
    }
    const std::string from = decibels(least), to = decibels(most);
    return {fmt::format("Both networks say the same of {} of {} pictures", agree, images.size()),
            fmt::format("The logits stand at {} dB SQNR.{}{}", from == to ? from : from + " to " + to, differ,
                        left_out(report)),
            agree < images.size()};
}

// The configuration of the report among those that were evaluated.
const Json* evaluated(const Json& report) {
    if (!report.contains("evaluation")) return nullptr;
    for (const auto& c : report["evaluation"]["configurations"])
        if (c.contains("config") && c["config"] == report["config"]) return &c;
    return nullptr;
}

Finding of_evaluation(const Json& report, const Json& c) {
    const Json& e = report["evaluation"];
    const int64_t images = e["images"];
    int64_t labelled = 0;  // accuracy is of these alone, agreement of all
    for (const auto& k : c["classes"]) labelled += k["images"].get<int64_t>();
    const bool all = labelled == images || c["top1"].is_null();
    const std::string agreement =
        fmt::format("the same top-1 for {} % of {}", number(real(c["agreement"]), 4),
                    all ? "them" : fmt::format("all {}", images));
    if (c["top1"].is_null())
        return {fmt::format("{} of {} pictures flip", c["flips"].get<int64_t>(), images),
                fmt::format("The evaluation without labels: {}.", agreement), false};
    const double change = real(c["top1"]) - real(e["float"]["top1"]);
    return {fmt::format("Top-1 {} % instead of {} %", number(real(c["top1"]), 4),
                        number(real(e["float"]["top1"]), 4)),
            fmt::format("{:+.2f} points over {} picture{}{}; {}.", change, labelled, labelled == 1 ? "" : "s",
                        all ? "" : " with a label", agreement),
            change < -1};
}

// Where is it worst, and is that node to blame?
Finding of_worst_node(const Json& report) {
    // Of the picture whose logits are worst.
    const Json* worst = &report["images"][0];
    for (const auto& i : report["images"])
        if (real(i["logits"]["sqnr_db"]) < real((*worst)["logits"]["sqnr_db"])) worst = &i;
    const auto rows = worst_first(layer_rows(*worst));
    const LayerRow& w = rows.front();
    const double own = std::pow(10, (w.cumulative_db - w.isolated_db) / 10);
    std::string s = fmt::format("There the integers stand at {} dB SQNR{}", decibels(w.cumulative_db),
                                w.cumulative_db < 3 ? " (at 0 dB the error is as large as the values)" : "");
    if (std::isfinite(own)) {
        s += fmt::format("; on exact inputs the node alone stands at {} dB, so ", decibels(w.isolated_db));
        s += own > 0.5 ? "it makes most of that error itself."
             : own > 0.1
                 ? fmt::format("about {} % of that error is its own and the rest came with its inputs.",
                               own_share(w.cumulative_db, w.isolated_db))
                 : fmt::format("only {} % of that error is its own: it was handed on from before.",
                               own_share(w.cumulative_db, w.isolated_db));
    }
    const auto alone = std::min_element(rows.begin(), rows.end(), [](const LayerRow& a, const LayerRow& b) {
        return a.isolated_db < b.isolated_db;  // false of NaN, which is none
    });
    if (alone->name != w.name && std::isfinite(alone->isolated_db))
        s += fmt::format(" Worst alone is {}, at {} dB.", alone->name, decibels(alone->isolated_db));
    if (report["images"].size() > 1) s += " Picture: " + short_name((*worst)["file"]) + ".";
    return {"Worst at " + w.name, s, false};
}

std::string gains(const std::vector<CauseBar>& bars) {
    std::string s;
    for (size_t i = 0; i < bars.size(); ++i)
        s += fmt::format("{}{} {:+.2f} dB", i ? ", " : "", bars[i].name, bars[i].gain_db);
    return s;
}

// "weights at 8 bits" helps: so what is it that hurts?
std::string culprit(const std::string& change) {
    static const std::pair<const char*, const char*> list[] = {
        {"weights", "The rounding of the weights costs most"},
        {"activations", "The rounding of the activations costs most"},
        {"attention logits", "The width of the attention logits costs most"},
        {"softmax", "The width of the softmax costs most"},
        {"residual stream", "The width of the residual stream costs most"},
        {"exact softmax", "Shiftmax costs most"},
        {"exact GELU", "ShiftGELU costs most"},
        {"exact LayerNorm", "I-LayerNorm costs most"}};
    for (const auto& [begin, headline] : list)
        if (change.starts_with(begin)) return headline;
    return change + " would gain most";
}

// Why? What the logits gain when one thing is otherwise.
Finding of_causes(const Json& report) {
    const Json& c = report["causes"];
    const auto network = cause_bars(report, "network", 3), blocks = cause_bars(report, "blocks", 2),
               nodes = cause_bars(report, "nodes", 3);
    std::string s = "One thing changed at a time, the logits gain: ";
    s += network.empty() ? "no width and no operator alone gains the logits 0.05 dB" : gains(network);
    s += blocks.empty() ? "; no block in float gains anything" : "; in float " + gains(blocks);
    s += nodes.empty() ? "; no single node gains anything." : "; single nodes " + gains(nodes) + ".";
    // The one lever that is worth pulling, where there is one.
    constexpr double worth = 1;  // dB
    if (!network.empty() && network[0].gain_db >= worth) return {culprit(network[0].name), s, false, true};
    for (const char* list : {"nodes", "blocks"})
        if (const auto bars = cause_bars(report, list, 1); !bars.empty() && bars[0].gain_db >= worth)
            return {c[list][0]["where"].get<std::string>() + " costs most", s, false, true};
    return {"No single thing costs much", s, false, true};
}

Finding of_latency(const Json& l) {
    const std::string why = latency_disturbance(l);
    return {fmt::format("{} times as fast", number(real(l["speedup"]))),
            fmt::format("{} ms against {} ms in {}, batch {}{}.", number(real(l["integer_ms"]["median"])),
                        number(real(l["float_ms"]["median"])), l["baseline"].get<std::string>(),
                        l["batch"].get<int>(), why.empty() ? "" : "; disturbed: " + why + ", measure again"),
            false};
}

}  // namespace

std::string why(const Json& report) {
    if (!report.contains("causes")) return {};
    const Finding f = of_causes(report);
    return f.headline + ". " + f.text;
}

std::vector<Finding> findings(const Json& report) {
    std::vector<Finding> list = {of_predictions(report)};
    if (const Json* c = evaluated(report)) list.push_back(of_evaluation(report, *c));
    list.push_back(of_worst_node(report));
    if (report.contains("latency")) list.push_back(of_latency(report["latency"]));
    if (report.contains("causes")) list.push_back(of_causes(report));
    return list;
}

}  // namespace ivit
