// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluate.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "engine/error.h"
#include "engine/image.h"
#include "engine/journal.h"
#include "engine/safetensors.h"

namespace ivit {

namespace {

constexpr int kept_top = 5;
constexpr size_t kept_worst = 50;

struct Decoded {
    int64_t index = -1;
    Pixels pixels;
    std::string error;
};

// Reads pictures on threads of its own, in order, at most `ahead` beyond what was taken: memory stays
// bounded.
class Decoder {
  public:
    Decoder(const Dataset& data, const Graph& graph, const ModelInfo& info, std::vector<int64_t> order,
            int threads)
        : data_(data),
          graph_(graph),
          info_(info),
          order_(std::move(order)),
          ahead_(static_cast<size_t>(threads) * 2 + 64) {
        for (int t = 0; t < threads; ++t) threads_.emplace_back([this](std::stop_token stop) { work(stop); });
    }
    ~Decoder() {
        for (auto& t : threads_) t.request_stop();
        changed_.notify_all();
    }

    // The next picture in order; nothing after the last.
    std::optional<Decoded> next() {
        if (taken_ == order_.size()) return {};
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ready_.count(taken_) != 0; });
        auto node = ready_.extract(taken_++);
        lock.unlock();
        changed_.notify_all();
        return std::move(node.mapped());
    }

  private:
    void work(std::stop_token stop) {
        for (;;) {
            size_t mine;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [&] {
                    return stop.stop_requested() || started_ == order_.size() || started_ < taken_ + ahead_;
                });
                if (stop.stop_requested() || started_ == order_.size()) return;
                mine = started_++;
            }
            Decoded d{order_[mine], {}, {}};
            try {
                const auto file = data_.folder / data_.pictures[static_cast<size_t>(d.index)].file;
                d.pixels = preprocess(read_image(file), graph_.image_size, info_.crop_pct);
            } catch (const Error& e) {
                d.error =
                    e.sentence();  // the file is named beside it, and its folder may be elsewhere next time
            } catch (const std::exception& e) {
                d.error = e.what();
            }
            {
                std::lock_guard lock(mutex_);
                ready_.emplace(mine, std::move(d));
            }
            changed_.notify_all();
        }
    }

    const Dataset& data_;
    const Graph& graph_;
    const ModelInfo& info_;
    std::vector<int64_t> order_;
    size_t ahead_, started_ = 0, taken_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<size_t, Decoded> ready_;
    std::vector<std::jthread> threads_;
};

double margin(const std::vector<double>& p, const std::vector<int>& top) {
    return top.size() < 2 ? 1.0 : p[static_cast<size_t>(top[0])] - p[static_cast<size_t>(top[1])];
}

double kl_divergence(const std::vector<double>& p, const std::vector<double>& q) {
    double kl = 0;
    for (size_t c = 0; c < p.size(); ++c)
        if (p[c] > 0) kl += p[c] * std::log(p[c] / std::max(q[c], 1e-300));
    return std::max(0.0, kl);
}

std::span<const float> logits_of(const Trace& t, int picture) {
    const size_t classes = t.logits.size() / static_cast<size_t>(t.batch);
    return std::span(t.logits).subspan(static_cast<size_t>(picture) * classes, classes);
}

// A batch through all networks; fills the records.
void run_batch(Network& floats, const std::vector<IntegerNetwork*>& configurations, const Pixels& pixels,
               std::vector<PictureRecord*>& records, std::stop_token stop) {
    RunOptions options;
    options.stop = stop;
    const int batch = static_cast<int>(records.size());
    const auto fp = floats.run(pixels, batch, options);
    std::vector<std::vector<double>> p;
    for (int b = 0; b < batch; ++b) {
        p.push_back(probabilities(*fp, b));
        records[static_cast<size_t>(b)]->top = top_k(*fp, b, kept_top);
        records[static_cast<size_t>(b)]->margin = margin(p.back(), records[static_cast<size_t>(b)]->top);
        for (const float f : logits_of(*fp, b))
            records[static_cast<size_t>(b)]->signal += static_cast<double>(f) * f;
    }
    for (IntegerNetwork* network : configurations) {
        const auto in = network->run(pixels, batch, options);
        for (int b = 0; b < batch; ++b) {
            const auto q = probabilities(*in, b);
            ConfigRecord r{top_k(*in, b, kept_top), kl_divergence(p[static_cast<size_t>(b)], q), 0, 0};
            r.margin = margin(q, r.top);
            const auto f = logits_of(*fp, b), i = logits_of(*in, b);
            for (size_t c = 0; c < f.size(); ++c) {
                const double e = static_cast<double>(f[c]) - i[c];
                r.noise += e * e;
            }
            records[static_cast<size_t>(b)]->configurations.push_back(std::move(r));
        }
    }
}

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

// What a journal's header and the document say of the machine may differ between runs that belong together.
constexpr const char* other_machine =
    "parts of this were computed on different machines or numbers of threads: the float network's last "
    "digits "
    "may differ from a run on one";

// What makes two runs the same evaluation: model, configurations, ranges and the list of pictures.
Json journal_header(const Dataset& data, const std::vector<IntegerNetwork*>& configurations,
                    const BackendInfo& backend, const std::string& gpu_absent, int64_t shard,
                    int64_t shards) {
    const QuantizedModel& first = configurations.at(0)->model();
    Json header = {{"format", "ivit-journal"}, {"version", 1}};
    Json doc = document("evaluate", effective(first, backend, gpu_absent));
    // Per configuration, below.
    for (const char* field : {"quant", "preset", "integer_only", "config"}) doc.erase(field);
    doc["dataset"] = {{"folder", data.folder.string()},      {"layout", data.layout},
                      {"labelled", data.labelled},           {"pictures", data.pictures.size()},
                      {"without_label", data.without_label}, {"without_picture", data.without_picture}};
    doc["configurations"] = Json::array();
    for (const IntegerNetwork* n : configurations)
        doc["configurations"].push_back({{"quant", n->model().config.label()},
                                         {"preset", n->model().config.preset},
                                         {"config", n->model().config.to_json()}});
    // Not the model's path: the nodes of a cluster may have it in different places.
    const ModelInfo& info = first.info;
    const Json model = {info.sha256.empty() ? info.source : info.sha256,
                        info.labels,
                        info.mean,
                        info.std,
                        info.crop_pct,
                        first.graph->image_size};
    std::string identity = model.dump(-1, ' ', false, Json::error_handler_t::replace) +
                           first.calibration.to_json().dump(-1, ' ', false, Json::error_handler_t::replace) +
                           doc["configurations"].dump();
    for (const auto& p : data.pictures) identity += "\n" + p.file + "\t" + std::to_string(p.label);
    header["identity"] = sha256(std::as_bytes(std::span(identity)));
    header["shard"] = shard;
    header["shards"] = shards;
    header["labels"] = info.labels;
    header["document"] = std::move(doc);
    return header;
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

struct PerConfiguration {
    std::map<int, PerClass> classes;
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
        j["mean_kl"] = good ? Json(c.kl / n) : Json();
        j["max_kl"] = good ? Json(c.max_kl) : Json();
        j["mean_margin"] = good ? Json(c.margins / n) : Json();
        j["margin_change"] = good ? Json((c.margins - margins) / n) : Json();
        j["logits_sqnr_db"] =
            c.signal > 0
                ? Json(c.noise > 0 ? std::min(sqnr_cap, 10 * std::log10(c.signal / c.noise)) : sqnr_cap)
                : Json();
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

Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& o) {
    const Graph& graph = floats.graph();
    const ModelInfo& info = configurations.at(0)->model().info;
    const Json header = journal_header(data, configurations, backend, gpu_absent, o.shard, o.shards);
    Json doc = header["document"];

    std::vector<int64_t> order;  // of this shard
    for (int64_t i = o.shard - 1; i < static_cast<int64_t>(data.pictures.size()); i += o.shards)
        order.push_back(i);
    const int64_t total = static_cast<int64_t>(order.size());

    std::optional<JournalReader> old;
    if (std::error_code none; !o.journal.empty() && std::filesystem::exists(o.journal, none)) {
        old.emplace(o.journal);
        const Json& h = old->header();
        if (!h.is_null()) {
            if (h["identity"] != header["identity"] || h["shard"] != o.shard || h["shards"] != o.shards)
                throw Error(
                    "the journal is of another evaluation (model, configurations, pictures or shard differ)",
                    o.journal.string(), "name another file, or remove it");
            if (h["document"]["machine"] != doc["machine"]) doc["note"] = other_machine;
        }
    }
    Evaluation evaluation(std::move(doc), info.labels);
    std::uintmax_t good_bytes = 0;
    if (old && !old->header().is_null()) {
        PictureRecord r;
        while (old->next(r)) {
            const int64_t at = evaluation.pictures();
            if (at >= total || r.index != order[static_cast<size_t>(at)])
                throw Error("the journal is not in the order of the pictures at " + r.file,
                            o.journal.string(), "remove it");
            evaluation.add(std::move(r));
        }
        good_bytes = old->good_bytes();
    }
    old.reset();
    std::optional<JournalWriter> journal;
    if (!o.journal.empty()) journal.emplace(o.journal, good_bytes, header);

    order.erase(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(evaluation.pictures()));
    if (o.progress) o.progress(evaluation.pictures(), total);
    Decoder decoder(data, graph, info, std::move(order), std::max(1, o.decoders));
    for (bool more = true; more;) {
        if (o.stop.stop_requested()) throw Cancelled{};
        std::vector<PictureRecord> batch;
        Pixels pixels;
        while (static_cast<int>(batch.size()) < o.batch) {
            auto d = decoder.next();
            if (!d) {
                more = false;
                break;
            }
            const LabelledPicture& p = data.pictures[static_cast<size_t>(d->index)];
            PictureRecord r;
            r.index = d->index;
            r.file = p.file;
            r.label = p.label;
            r.error = d->error;
            batch.push_back(std::move(r));
            pixels.insert(pixels.end(), d->pixels.begin(), d->pixels.end());
        }
        std::vector<PictureRecord*> good;
        for (auto& r : batch)
            if (r.error.empty()) good.push_back(&r);
        if (!good.empty()) run_batch(floats, configurations, pixels, good, o.stop);
        if (journal && !batch.empty()) journal->append(batch);
        for (auto& r : batch) evaluation.add(std::move(r));
        if (o.progress) o.progress(evaluation.pictures(), total);
    }
    return evaluation.document();
}

Json merge_journals(const std::vector<std::filesystem::path>& files) {
    struct Part {
        JournalReader reader;
        PictureRecord head;
        bool more;
    };
    std::vector<std::unique_ptr<Part>> parts;
    for (const auto& file : files) {
        auto part = std::make_unique<Part>(Part{JournalReader(file), {}, false});
        if (part->reader.header().is_null()) throw Error("nothing is in this journal yet", file.string());
        if (!parts.empty() && part->reader.header()["identity"] != parts[0]->reader.header()["identity"])
            throw Error("this journal is of another evaluation than " + files[0].string() +
                            " (model, configurations or pictures differ)",
                        file.string());
        part->more = part->reader.next(part->head);
        parts.push_back(std::move(part));
    }
    const Json& first = parts.at(0)->reader.header();
    Json doc = first["document"];
    for (const auto& p : parts)
        if (p->reader.header()["document"]["machine"] != doc["machine"]) doc["note"] = other_machine;
    const int64_t pictures = doc["dataset"]["pictures"];
    Evaluation evaluation(std::move(doc), first["labels"].get<std::vector<std::string>>());

    // Every journal is in the order of the pictures: the least of their heads comes next.
    int64_t last = -1;
    for (;;) {
        Part* next = nullptr;
        for (const auto& p : parts)
            if (p->more && (!next || p->head.index < next->head.index)) next = p.get();
        if (!next) break;
        const int64_t index = next->head.index;
        if (index == last)
            throw Error("picture " + next->head.file + " is there twice", next->reader.file().string(),
                        "name every shard once");
        if (index < last || index >= pictures)
            throw Error("the journal is not in the order of the pictures at " + next->head.file,
                        next->reader.file().string());
        last = index;
        evaluation.add(std::move(next->head));
        next->more = next->reader.next(next->head);
    }
    if (const int64_t missing = pictures - evaluation.pictures())
        throw Error(std::to_string(missing) + " of " + std::to_string(pictures) +
                        " pictures are in none of these journals",
                    files[0].string(), "let every shard finish, and name all of them");
    return evaluation.document();
}

}  // namespace ivit
