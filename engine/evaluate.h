// SPDX-License-Identifier: Apache-2.0
// A folder of pictures through the float network and any number of integer configurations, resumable and
// divisible.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/dataset.h"
#include "engine/describe.h"

namespace ivit {

// What one configuration said of one picture.
struct ConfigRecord {
    std::vector<int> top;  // best first, at most 5
    double kl = 0;         // KL(float || integer), nats
    double margin = 0;     // probability of first minus second
    double noise = 0;      // sum over the logits of (float - integer)^2
};

// One line of a journal.
struct PictureRecord {
    int64_t index = -1;  // into Dataset::pictures
    std::string file;
    int label = -1;
    std::string error;     // why it could not be read; then the rest is empty
    std::vector<int> top;  // of the float network
    double margin = 0;
    double signal = 0;  // sum over the float logits of their squares
    std::vector<ConfigRecord> configurations;
};

struct EvaluateOptions {
    int batch = 16;
    int decoders = 1;               // threads that read pictures beside the inference
    int64_t shard = 1, shards = 1;  // this run takes every picture with index % shards == shard - 1
    // One line per picture; an existing one of the same evaluation is resumed. Empty: none.
    std::filesystem::path journal;
    std::stop_token stop;
    // Called once before the first picture (done: what the journal has already), then after every batch.
    std::function<void(int64_t done, int64_t total)> progress;
};

// Gathers what is said of the pictures, which must come in ascending order of index: sums of doubles depend
// on the order, and so any division into shards gives the same bits. Keeps counts, the pictures skipped and
// the fifty worst of each configuration; memory does not grow with the pictures.
class Evaluation {
  public:
    // header: of the document, with "configurations": [{"quant", "preset", "config"}]. labels: of the model.
    Evaluation(Json header, std::vector<std::string> labels);
    ~Evaluation();
    void add(PictureRecord record);  // throws Error for one out of order
    int64_t pictures() const;        // added so far, skipped ones too

    // The evaluation document: document("evaluate", ...) with "dataset", "images", "skipped": [{"file",
    // "error"}], "float": {"top1", "top5" (per cent; null without labels), "mean_margin"}, "configurations":
    // [{"quant", "preset", "config", "top1", "top5", "agreement", "flips", "mean_kl", "max_kl",
    // "mean_margin", "margin_change": mean of the integer's margin minus the float's, "logits_sqnr_db",
    // "classes": [...], "worst": [...]}].
    Json document() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// Runs what is left of the evaluation. Throws Cancelled (the journal then holds all that is done), Error for
// a journal of another evaluation. Memory: a few batches of pictures, and the list of file names.
Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& options);

// Joins the journals of all shards of one evaluation. Throws Error when they belong to different ones, or
// pictures are missing or there twice.
Json merge_journals(const std::vector<std::filesystem::path>& journals);

}  // namespace ivit
