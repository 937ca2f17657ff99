// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluation.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <map>
#include <set>

#include "engine/error.h"

namespace ivit {

namespace {

constexpr size_t kept_worst = 50;

Json percent(int64_t hits, int64_t of) {
    return of ? Json(100.0 * static_cast<double>(hits) / static_cast<double>(of)) : Json();
}

bool holds(const std::vector<int>& top, int label) {
    return std::find(top.begin(), top.end(), label) != top.end();
}

std::string name_of(const std::vector<std::string>& labels, int c) {
    return static_cast<size_t>(c) < labels.size() ? labels[static_cast<size_t>(c)]
                                                  : "class " + std::to_string(c);
}

struct PerClass {
    int64_t images = 0, float_top1 = 0, top1 = 0, agree = 0;
};

// One of the pictures a configuration disagrees on most.
struct Worst {
    PictureRecord picture;  // without its configurations
    ConfigRecord said;

    bool flipped() const { return said.top[0] != picture.top[0]; }
    // Flips before mere drift, then by KL, then in the order of the pictures.
    bool operator<(const Worst& b) const {
        if (flipped() != b.flipped()) return flipped();
        if (said.kl != b.said.kl) return said.kl > b.said.kl;
        return picture.index < b.picture.index;
    }
};

// Counts in bins of a sixteenth of an octave, 3 to 6 % wide: quantiles of any number of values in little
// memory, and whole numbers do not depend on the order.
class Quantiles {
  public:
    void add(double v) {
        int exponent = 0;
        const double f = std::frexp(v, &exponent);  // 0.5 <= f < 1, or 0
        ++bins_[v > 0 ? exponent * 16 + static_cast<int>((f - 0.5) * 32) : INT_MIN];
        ++count_;
    }
    // What `share` of the values do not exceed: the upper end of a bin.
    double at_most(double share) const {
        const auto wanted = static_cast<int64_t>(std::ceil(share * static_cast<double>(count_)));
        int64_t below = 0;
        for (const auto& [bin, n] : bins_)
            if ((below += n) >= wanted) {
                if (bin == INT_MIN) return 0;
                const int exponent = bin >> 4;
                return std::ldexp(0.5 + (bin - exponent * 16 + 1) / 32.0, exponent);
            }
        return 0;
    }

  private:
    std::map<int, int64_t> bins_;
    int64_t count_ = 0;
};

constexpr size_t margin_bins = 10;  // of the float network's margin, 0 to 1

struct PerConfiguration {
    std::map<int, PerClass> classes;
    std::array<int64_t, margin_bins> images_by_margin{}, flips_by_margin{};
    Quantiles kls;
    int64_t top1 = 0, top5 = 0, agree = 0;
    double kl = 0, max_kl = 0, margins = 0, signal = 0, noise = 0;
    std::set<Worst> worst;
};

Json worst_json(const Worst& w, const std::vector<std::string>& labels) {
    Json j = {{"file", w.picture.file},
              {"kl", w.said.kl},
              {"float", name_of(labels, w.picture.top[0])},
              {"integer", name_of(labels, w.said.top[0])},
              {"agree", !w.flipped()},
              {"margin_float", w.picture.margin},
              {"margin_integer", w.said.margin}};
    if (w.picture.label >= 0) j["label"] = name_of(labels, w.picture.label);
    return j;
}

}  // namespace

struct Evaluation::State {
    Json header;
    std::vector<std::string> labels;
    Json skipped = Json::array();
    int64_t last = -1, pictures = 0, good = 0, labelled = 0, top1 = 0, top5 = 0;
    double margins = 0;
    std::vector<PerConfiguration> configurations;

    void add(size_t k, const PictureRecord& r, const ConfigRecord& q) {
        PerConfiguration& c = configurations[k];
        const bool same = q.top[0] == r.top[0];
        c.agree += same;
        c.kl += q.kl;
        c.max_kl = std::max(c.max_kl, q.kl);
        c.kls.add(q.kl);
        const double share = std::isfinite(r.margin) ? r.margin * margin_bins : 0;
        const size_t bin = std::min(margin_bins - 1, static_cast<size_t>(std::max(0.0, share)));
        ++c.images_by_margin[bin];
        c.flips_by_margin[bin] += !same;
        c.margins += q.margin;
        c.signal += r.signal;
        c.noise += q.noise;
        if (r.label >= 0) {
            c.top1 += q.top[0] == r.label;
            c.top5 += holds(q.top, r.label);
            PerClass& of = c.classes[r.label];
            ++of.images;
            of.float_top1 += r.top[0] == r.label;
            of.top1 += q.top[0] == r.label;
            of.agree += same;
        }
        Worst w{{r.index, r.file, r.label, {}, r.top, r.margin, 0, {}}, q};
        if (c.worst.size() == kept_worst && !(w < *c.worst.rbegin())) return;
        c.worst.insert(std::move(w));
        if (c.worst.size() > kept_worst) c.worst.erase(std::prev(c.worst.end()));
    }

    Json configuration(size_t k) const {
        const PerConfiguration& c = configurations[k];
        const double n = static_cast<double>(good);
        Json j = header["configurations"][k];
        j["top1"] = percent(c.top1, labelled);
        j["top5"] = percent(c.top5, labelled);
        j["agreement"] = percent(c.agree, good);
        j["flips"] = good - c.agree;
        j["flip_rate"] = percent(good - c.agree, good);
        j["mean_kl"] = good ? Json(c.kl / n) : Json();
        j["median_kl"] = good ? Json(std::min(c.kls.at_most(0.5), c.max_kl)) : Json();
        j["p95_kl"] = good ? Json(std::min(c.kls.at_most(0.95), c.max_kl)) : Json();
        j["max_kl"] = good ? Json(c.max_kl) : Json();
        j["mean_margin"] = good ? Json(c.margins / n) : Json();
        j["margin_change"] = good ? Json((c.margins - margins) / n) : Json();
        j["logits_sqnr_db"] =
            c.signal > 0
                ? Json(c.noise > 0 ? std::min(sqnr_cap, 10 * std::log10(c.signal / c.noise)) : sqnr_cap)
                : Json();
        j["by_margin"] = Json::array();
        for (size_t b = 0; b < margin_bins; ++b)
            j["by_margin"].push_back({{"from", static_cast<double>(b) / margin_bins},
                                      {"to", static_cast<double>(b + 1) / margin_bins},
                                      {"images", c.images_by_margin[b]},
                                      {"flips", c.flips_by_margin[b]}});
        j["classes"] = Json::array();
        for (const auto& [index, v] : c.classes)
            j["classes"].push_back({{"index", index},
                                    {"label", name_of(labels, index)},
                                    {"images", v.images},
                                    {"float_top1", percent(v.float_top1, v.images)},
                                    {"top1", percent(v.top1, v.images)},
                                    {"agreement", percent(v.agree, v.images)}});
        j["worst"] = Json::array();
        for (const Worst& w : c.worst) j["worst"].push_back(worst_json(w, labels));
        return j;
    }
};

Evaluation::Evaluation(Json header, std::vector<std::string> labels) : state_(std::make_unique<State>()) {
    state_->header = std::move(header);
    state_->labels = std::move(labels);
    state_->configurations.resize(state_->header.at("configurations").size());
}
Evaluation::~Evaluation() = default;

int64_t Evaluation::pictures() const { return state_->pictures; }

void Evaluation::add(PictureRecord r) {
    State& s = *state_;
    if (r.index <= s.last) throw Error("the pictures are not in their order", r.file);
    s.last = r.index;
    ++s.pictures;
    if (!r.error.empty()) {
        s.skipped.push_back({{"file", r.file}, {"error", r.error}});
        return;
    }
    ++s.good;
    s.margins += r.margin;
    if (r.label >= 0) {
        ++s.labelled;
        s.top1 += r.top[0] == r.label;
        s.top5 += holds(r.top, r.label);
    }
    for (size_t k = 0; k < s.configurations.size(); ++k) s.add(k, r, r.configurations.at(k));
}

Json Evaluation::document() const {
    const State& s = *state_;
    Json doc = s.header;
    doc.erase("configurations");
    doc["images"] = s.good;
    doc["skipped"] = s.skipped;
    doc["float"] = {{"top1", percent(s.top1, s.labelled)},
                    {"top5", percent(s.top5, s.labelled)},
                    {"mean_margin", s.good ? Json(s.margins / static_cast<double>(s.good)) : Json()}};
    doc["configurations"] = Json::array();
    for (size_t k = 0; k < s.configurations.size(); ++k) doc["configurations"].push_back(s.configuration(k));
    return doc;
}

}  // namespace ivit
