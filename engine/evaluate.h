// SPDX-License-Identifier: Apache-2.0
// A folder of pictures through the float network and any number of integer configurations, resumable and
// divisible.
#pragma once
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/dataset.h"
#include "engine/evaluation.h"

namespace ivit {

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

// Runs what is left of the evaluation. Throws Cancelled (the journal then holds all that is done), Error for
// a journal of another evaluation. Memory: a few batches of pictures, and the list of file names.
Json evaluate(const Dataset& data, Network& floats, const std::vector<IntegerNetwork*>& configurations,
              const BackendInfo& backend, const std::string& gpu_absent, const EvaluateOptions& options);

// Joins the journals of all shards of one evaluation. Throws Error when they belong to different ones, or
// pictures are missing or there twice.
Json merge_journals(const std::vector<std::filesystem::path>& journals);

}  // namespace ivit
