// SPDX-License-Identifier: Apache-2.0
#include "engine/evaluate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "engine/error.h"
#include "engine/journal.h"
#include "engine/picture_decoder.h"
#include "engine/safetensors.h"

namespace ivit {

namespace {

constexpr int kept_top = 5;

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

// What a journal's header and the document say of the machine may differ between runs that belong together.
// The number of threads changes nothing.
constexpr const char* other_machine =
    "parts of this were computed on different machines: the float network's last digits may differ from a "
    "run on one";
bool same_machine(const Json& a, const Json& b) {
    const auto of = [](const Json& j, const char* field) {
        return j.value("machine", Json::object()).value(field, std::string());
    };
    return of(a, "device") == of(b, "device") && of(a, "isa") == of(b, "isa");
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
    doc["dataset"] = {{"folder", data.folder.string()},      {"layout", data.layout},
                      {"labelled", data.labelled},           {"pictures", data.pictures.size()},
                      {"without_label", data.without_label}, {"without_picture", data.without_picture}};
    doc["configurations"] = Json::array();
    for (const IntegerNetwork* n : configurations)
        doc["configurations"].push_back({{"quant", n->model().config.label()},
                                         {"preset", n->model().config.preset},
                                         {"integer_only", integer_only(n->model().config)},
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

std::vector<int64_t> pictures_of_shard(const Dataset& data, const EvaluateOptions& o) {
    std::vector<int64_t> order;
    for (int64_t i = o.shard - 1; i < static_cast<int64_t>(data.pictures.size()); i += o.shards)
        order.push_back(i);
    return order;
}

// The journal of an earlier run, to go on from; nothing where there is none or it has no header yet. Throws
// Error for one of another evaluation.
std::optional<JournalReader> earlier_run(const EvaluateOptions& o, const Json& header) {
    std::error_code none;
    if (o.journal.empty() || !std::filesystem::exists(o.journal, none)) return {};
    JournalReader old(o.journal);
    const Json& h = old.header();
    if (h.is_null()) return {};
    if (h["identity"] != header["identity"] || h["shard"] != o.shard || h["shards"] != o.shards)
        throw Error("the journal is of another evaluation (model, configurations, pictures or shard differ)",
                    o.journal.string(), "name another file, or remove it");
    return old;
}

// Adds what the journal has, which must be the beginning of `order`.
void take_over(JournalReader& old, const std::vector<int64_t>& order, Evaluation& evaluation) {
    PictureRecord r;
    while (old.next(r)) {
        const size_t at = static_cast<size_t>(evaluation.pictures());
        if (at >= order.size() || r.index != order[at])
            throw Error("the journal is not in the order of the pictures at " + r.file, old.file().string(),
                        "remove it");
        evaluation.add(std::move(r));
    }
}

// Up to `size` pictures with their records begun, and the pixels of those that could be read.
struct Batch {
    std::vector<PictureRecord> records;
    Pixels pixels;  // [readable ones, image_size, image_size, 3]
};
Batch next_batch(PictureDecoder& decoder, const Dataset& data, int size) {
    Batch batch;
    while (static_cast<int>(batch.records.size()) < size) {
        const auto d = decoder.next();
        if (!d) break;
        const LabelledPicture& p = data.pictures[static_cast<size_t>(d->index)];
        PictureRecord r;
        r.index = d->index;
        r.file = p.file;
        r.label = p.label;
        r.error = d->error;
        batch.records.push_back(std::move(r));
        batch.pixels.insert(batch.pixels.end(), d->pixels.begin(), d->pixels.end());
    }
    return batch;
}

}  // namespace

Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& o) {
    const ModelInfo& info = configurations.at(0)->model().info;
    const Json header = journal_header(data, configurations, backend, gpu_absent, o.shard, o.shards);
    std::vector<int64_t> order = pictures_of_shard(data, o);
    const int64_t total = static_cast<int64_t>(order.size());

    auto old = earlier_run(o, header);
    Json doc = header["document"];
    if (old && !same_machine(old->header()["document"], doc)) doc["note"] = other_machine;
    Evaluation evaluation(std::move(doc), info.labels);
    if (old) take_over(*old, order, evaluation);
    std::optional<JournalWriter> journal;
    if (!o.journal.empty()) journal.emplace(o.journal, old ? old->good_bytes() : 0, header);
    old.reset();

    order.erase(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(evaluation.pictures()));
    if (o.progress) o.progress(evaluation.pictures(), total);
    PictureDecoder decoder(data, floats.graph(), info, std::move(order), std::max(1, o.decoders));
    while (evaluation.pictures() < total) {
        if (o.stop.stop_requested()) throw Cancelled{};
        Batch batch = next_batch(decoder, data, o.batch);
        std::vector<PictureRecord*> readable;
        for (auto& r : batch.records)
            if (r.error.empty()) readable.push_back(&r);
        if (!readable.empty()) run_batch(floats, configurations, batch.pixels, readable, o.stop);
        if (journal) journal->append(batch.records);
        for (auto& r : batch.records) evaluation.add(std::move(r));
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
        if (!same_machine(p->reader.header()["document"], doc)) doc["note"] = other_machine;
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
