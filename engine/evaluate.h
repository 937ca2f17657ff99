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
    std::filesystem::path
        journal;  // one line per picture; an existing one of the same evaluation is resumed. Empty: none
    std::stop_token stop;
    std::function<void(int64_t done, int64_t total)> progress;
};

// The evaluation document: document("evaluate", ...) with "dataset", "images", "skipped": [{"file",
// "error"}], "float": {"top1", "top5" (per cent; null without labels), "mean_margin"}, "configurations":
// [{"quant", "preset", "config", "top1", "top5", "agreement", "flips", "mean_kl", "max_kl", "mean_margin",
// "classes": [...], "worst": [...]}]. It is computed from the records in picture order, so any division into
// shards gives the same bits.
Json evaluation_json(Json header, const std::vector<PictureRecord>& records,
                     const std::vector<std::string>& labels);

// Throws Cancelled (the journal then holds all that is done), Error for a journal of another evaluation.
// Memory does not grow with the pictures but for the records (about 200 bytes each and configuration).
Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& options);

// Joins the journals of all shards of one evaluation. Throws Error when they belong to different ones, or
// pictures are missing or there twice.
Json merge_journals(const std::vector<std::filesystem::path>& journals);

}  // namespace ivit
