// SPDX-License-Identifier: Apache-2.0
// Pictures of a dataset, read ahead of those who compute on them.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "engine/dataset.h"
#include "engine/graph.h"
#include "engine/image.h"
#include "engine/model.h"

namespace ivit {

struct DecodedPicture {
    int64_t index = -1;  // into Dataset::pictures
    Pixels pixels;       // [image_size, image_size, 3]; empty where it could not be read
    std::string error;   // then why, without the file's name
};

// Reads pictures on threads of its own, in order, at most some dozens beyond what was taken: memory stays
// bounded.
class PictureDecoder {
  public:
    // order: indices into data.pictures. threads >= 1, fewer where the system does not give so many; throws
    // Error where it gives none. All three references outlive this.
    PictureDecoder(const Dataset& data, const Graph& graph, const ModelInfo& info, std::vector<int64_t> order,
                   int threads);
    ~PictureDecoder();                     // waits for the pictures that are being read
    std::optional<DecodedPicture> next();  // in order; nothing after the last

  private:
    void work(std::stop_token stop);
    DecodedPicture decode(int64_t index) const;

    const Dataset& data_;
    const Graph& graph_;
    const ModelInfo& info_;
    const std::vector<int64_t> order_;
    const size_t ahead_;
    std::mutex mutex_;
    std::condition_variable changed_;
    size_t started_ = 0, taken_ = 0;          // places in order_
    std::map<size_t, DecodedPicture> ready_;  // by place in order_
    std::vector<std::jthread> threads_;
};

}  // namespace ivit
