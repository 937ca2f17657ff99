// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluate.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
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

Json configuration_json(size_t k, const std::vector<const PictureRecord*>& good,
                        const std::vector<std::string>& labels) {
    struct PerClass {
        int64_t images = 0, float_top1 = 0, top1 = 0, agree = 0;
    };
    std::map<int, PerClass> classes;
    int64_t top1 = 0, top5 = 0, agree = 0, labelled = 0;
    double kl = 0, max_kl = 0, margins = 0, signal = 0, noise = 0;
    std::vector<const PictureRecord*> worst(good);
    for (const PictureRecord* r : good) {
        const ConfigRecord& q = r->configurations[k];
        const bool same = q.top[0] == r->top[0];
        agree += same;
        kl += q.kl;
        max_kl = std::max(max_kl, q.kl);
        margins += q.margin;
        signal += r->signal;
        noise += q.noise;
        if (r->label < 0) continue;
        ++labelled;
        top1 += q.top[0] == r->label;
        top5 += holds(q.top, r->label);
        PerClass& c = classes[r->label];
        ++c.images;
        c.float_top1 += r->top[0] == r->label;
        c.top1 += q.top[0] == r->label;
        c.agree += same;
    }
    const int64_t n = static_cast<int64_t>(good.size());
    Json j = {{"top1", percent(top1, labelled)},
              {"top5", percent(top5, labelled)},
              {"agreement", percent(agree, n)},
              {"flips", n - agree},
              {"mean_kl", n ? Json(kl / static_cast<double>(n)) : Json()},
              {"max_kl", n ? Json(max_kl) : Json()},
              {"mean_margin", n ? Json(margins / static_cast<double>(n)) : Json()}};
    j["logits_sqnr_db"] =
        signal > 0 ? Json(noise > 0 ? std::min(sqnr_cap, 10 * std::log10(signal / noise)) : sqnr_cap)
                   : Json();
    j["classes"] = Json::array();
    for (const auto& [c, v] : classes)
        j["classes"].push_back({{"index", c},
                                {"label", name_of(labels, c)},
                                {"images", v.images},
                                {"float_top1", percent(v.float_top1, v.images)},
                                {"top1", percent(v.top1, v.images)},
                                {"agreement", percent(v.agree, v.images)}});
    // Ranked by disagreement: flips before mere drift, then by KL.
    const auto flipped = [&](const PictureRecord* r) { return r->configurations[k].top[0] != r->top[0]; };
    const size_t keep = std::min(kept_worst, worst.size());
    std::partial_sort(worst.begin(), worst.begin() + static_cast<std::ptrdiff_t>(keep), worst.end(),
                      [&](const PictureRecord* a, const PictureRecord* b) {
                          if (flipped(a) != flipped(b)) return flipped(a);
                          if (a->configurations[k].kl != b->configurations[k].kl)
                              return a->configurations[k].kl > b->configurations[k].kl;
                          return a->index < b->index;
                      });
    j["worst"] = Json::array();
    for (size_t i = 0; i < keep; ++i) {
        const PictureRecord& r = *worst[i];
        const ConfigRecord& q = r.configurations[k];
        Json w = {{"file", r.file},
                  {"kl", q.kl},
                  {"float", name_of(labels, r.top[0])},
                  {"integer", name_of(labels, q.top[0])},
                  {"agree", !flipped(&r)},
                  {"margin_float", r.margin},
                  {"margin_integer", q.margin}};
        if (r.label >= 0) w["label"] = name_of(labels, r.label);
        j["worst"].push_back(std::move(w));
    }
    return j;
}

// What makes two runs the same evaluation: model, configurations, ranges and the list of pictures.
Json journal_header(const Dataset& data, const std::vector<IntegerNetwork*>& configurations,
                    const BackendInfo& backend, const std::string& gpu_absent, int64_t shard,
                    int64_t shards) {
    const QuantizedModel& first = configurations.at(0)->model();
    Json header = {{"format", "ivit-journal"}, {"version", 1}};
    Json doc = document("evaluate", effective(first, backend, gpu_absent));
    // Per configuration, below.
    for (const char* field : {"quant", "preset", "integer_only", "config"}) doc.erase(field);
    doc["dataset"] = {{"folder", data.folder.string()},
                      {"layout", data.layout},
                      {"labelled", data.labelled},
                      {"pictures", data.pictures.size()}};
    doc["configurations"] = Json::array();
    for (const IntegerNetwork* n : configurations)
        doc["configurations"].push_back({{"quant", n->model().config.label()},
                                         {"preset", n->model().config.preset},
                                         {"config", n->model().config.to_json()}});
    std::string identity = first.info.sha256 + first.info.source + first.calibration.to_json().dump() +
                           doc["configurations"].dump();
    for (const auto& p : data.pictures) identity += "\n" + p.file + "\t" + std::to_string(p.label);
    header["identity"] = sha256(std::as_bytes(std::span(identity)));
    header["shard"] = shard;
    header["shards"] = shards;
    header["labels"] = first.info.labels;
    header["document"] = std::move(doc);
    return header;
}

}  // namespace

Json evaluation_json(Json doc, const std::vector<PictureRecord>& records,
                     const std::vector<std::string>& labels) {
    std::vector<const PictureRecord*> sorted, good;
    for (const auto& r : records) sorted.push_back(&r);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->index < b->index; });
    Json skipped = Json::array();
    for (const auto* r : sorted) {
        if (r->error.empty())
            good.push_back(r);
        else
            skipped.push_back({{"file", r->file}, {"error", r->error}});
    }
    int64_t top1 = 0, top5 = 0, labelled = 0;
    double margins = 0;
    for (const auto* r : good) {
        margins += r->margin;
        if (r->label < 0) continue;
        ++labelled;
        top1 += r->top[0] == r->label;
        top5 += holds(r->top, r->label);
    }
    Json configurations = std::move(doc["configurations"]);
    doc.erase("configurations");
    doc["images"] = good.size();
    doc["skipped"] = std::move(skipped);
    doc["float"] = {
        {"top1", percent(top1, labelled)},
        {"top5", percent(top5, labelled)},
        {"mean_margin", good.empty() ? Json() : Json(margins / static_cast<double>(good.size()))}};
    for (size_t k = 0; k < configurations.size(); ++k)
        configurations[k].update(configuration_json(k, good, labels));
    doc["configurations"] = std::move(configurations);
    return doc;
}

Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& o) {
    const Graph& graph = floats.graph();
    const ModelInfo& info = configurations.at(0)->model().info;
    const Json header = journal_header(data, configurations, backend, gpu_absent, o.shard, o.shards);

    std::vector<PictureRecord> records;
    std::optional<JournalWriter> journal;
    if (!o.journal.empty()) {
        std::uintmax_t good_bytes = 0;
        if (std::error_code none;
            std::filesystem::exists(o.journal, none) && std::filesystem::file_size(o.journal, none) > 0) {
            JournalContent old = read_journal(o.journal);
            if (old.header["identity"] != header["identity"] || old.header["shard"] != header["shard"] ||
                old.header["shards"] != header["shards"])
                throw Error(
                    "the journal is of another evaluation (model, configurations, pictures or shard differ)",
                    o.journal.string(), "name another file, or remove it");
            records = std::move(old.records);
            good_bytes = old.good_bytes;
        }
        journal.emplace(o.journal, good_bytes, header);
    }

    std::vector<bool> done(data.pictures.size());
    for (const auto& r : records) done.at(static_cast<size_t>(r.index)) = true;
    std::vector<int64_t> order;
    for (int64_t i = o.shard - 1; i < static_cast<int64_t>(data.pictures.size()); i += o.shards)
        if (!done[static_cast<size_t>(i)]) order.push_back(i);
    const int64_t total = static_cast<int64_t>(records.size() + order.size());

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
        for (auto& r : batch) records.push_back(std::move(r));
        if (o.progress) o.progress(static_cast<int64_t>(records.size()), total);
    }
    return evaluation_json(header["document"], records, info.labels);
}

Json merge_journals(const std::vector<std::filesystem::path>& files) {
    std::vector<PictureRecord> records;
    Json first;
    std::vector<bool> seen;
    for (const auto& file : files) {
        JournalContent c = read_journal(file);
        if (first.is_null()) {
            first = c.header;
            seen.resize(first["document"]["dataset"]["pictures"].get<size_t>());
        }
        if (c.header["identity"] != first["identity"])
            throw Error("this journal is of another evaluation than " + files[0].string(), file.string());
        for (auto& r : c.records) {
            if (r.index < 0 || static_cast<size_t>(r.index) >= seen.size() ||
                seen[static_cast<size_t>(r.index)])
                throw Error("picture " + r.file + " is there twice", file.string(), "name every shard once");
            seen[static_cast<size_t>(r.index)] = true;
            records.push_back(std::move(r));
        }
    }
    const int64_t missing = std::count(seen.begin(), seen.end(), false);
    if (missing)
        throw Error(std::to_string(missing) + " of " + std::to_string(seen.size()) +
                        " pictures are in none of these journals",
                    files[0].string(), "let every shard finish, and name all of them");
    return evaluation_json(first["document"], records, first["labels"].get<std::vector<std::string>>());
}

}  // namespace ivit
