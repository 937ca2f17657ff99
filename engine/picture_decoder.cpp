// SPDX-License-Identifier: Apache-2.0
#include "engine/picture_decoder.h"

#include <system_error>

#include "engine/error.h"

namespace ivit {

PictureDecoder::PictureDecoder(const Dataset& data, const Graph& graph, const ModelInfo& info,
                               std::vector<int64_t> order, int threads)
    : data_(data),
      graph_(graph),
      info_(info),
      order_(std::move(order)),
      ahead_(static_cast<size_t>(threads) * 2 + 64) {
    // As many as the system gives.
    for (int t = 0; t < threads; ++t) try {
            threads_.emplace_back([this](std::stop_token stop) { work(stop); });
        } catch (const std::system_error& e) {
            if (threads_.empty()) throw Error("no thread to read pictures on: " + e.code().message());
            break;
        }
}

PictureDecoder::~PictureDecoder() {
    for (auto& t : threads_) t.request_stop();
    changed_.notify_all();
}

std::optional<DecodedPicture> PictureDecoder::next() {
    if (taken_ == order_.size()) return {};
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_.count(taken_) != 0; });
    auto node = ready_.extract(taken_++);
    lock.unlock();
    changed_.notify_all();
    return std::move(node.mapped());
}

void PictureDecoder::work(std::stop_token stop) {
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
        DecodedPicture d = decode(order_[mine]);
        {
            std::lock_guard lock(mutex_);
            ready_.emplace(mine, std::move(d));
        }
        changed_.notify_all();
    }
}

DecodedPicture PictureDecoder::decode(int64_t index) const {
    DecodedPicture d{index, {}, {}};
    try {
        const auto file = data_.folder / data_.pictures[static_cast<size_t>(index)].file;
        d.pixels = preprocess(read_image(file), graph_.image_size, info_.crop_pct);
    } catch (const Error& e) {
        // The file is named beside it, and its folder may be elsewhere next time.
        d.error = e.sentence();
    } catch (const std::exception& e) {
        d.error = e.what();
    }
    return d;
}

}  // namespace ivit
