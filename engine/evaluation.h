// SPDX-License-Identifier: Apache-2.0
// What several configurations said of many pictures, and the figures that come of it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
    // [{"quant", "preset", "integer_only", "config", "top1", "top5", "agreement", "flips", "flip_rate" (per
    // cent), "mean_kl", "median_kl" and "p95_kl" (what half and 95 % do not exceed, to 6 %), "max_kl",
    // "mean_margin", "margin_change": mean of the integer's margin minus the float's, "logits_sqnr_db",
    // "by_margin": [{"from", "to", "images", "flips"}] by the float network's margin, "classes": [...],
    // "worst": [...]}].
    Json document() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ivit
