// SPDX-License-Identifier: Apache-2.0
// Ranges of every activation, gathered by running the float network over pictures.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/image.h"
#include "engine/model.h"

namespace ivit {

enum class RangeMethod { minmax, percentile, mse };
const char* to_string(RangeMethod m);
RangeMethod range_method(const std::string& name);  // throws Error for an unknown one

// What was seen at one site (one node's output; one of its groups for qkv). All values are |real| >= 0.
struct SiteRange {
    double minmax = 0;      // the greatest magnitude
    double percentile = 0;  // the 99.99th percentile of magnitudes
    // [17], by bit-width 4..16: the clip with the least squared rounding and clipping error.
    std::vector<double> mse;
    // The magnitude the grid's greatest integer stands for, > 0 always: a site that never fired (or stayed
    // below 1e-7) gets 1. From 12 bits on (the residual stream) every method takes minmax: steps are so fine
    // that clipping gains nothing.
    double clip(RangeMethod m, int bits) const;
};

struct Calibration {
    RangeMethod method = RangeMethod::mse;
    int64_t pictures = 0;
    std::string source;       // "64 pictures of DIR", "the picture at hand and its augmentations"
    bool from_input = false;  // calibrated on the very picture it is used on: every output says so
    std::map<std::string, std::vector<SiteRange>> sites;  // by node name; one entry per output group

    double clip(const std::string& node, int group, int bits) const;  // throws Error for an unknown node

    // Saved beside a model as NAME.calibration.json and inside quantized models.
    nlohmann::ordered_json to_json() const;
    static Calibration from_json(const nlohmann::json& j);  // throws Error naming what is wrong
    std::string summary() const;                            // "mse ranges from 64 pictures of DIR"
};

class Network;

// Called after each picture with (done, total); return false to cancel (throws Cancelled).
using Progress = std::function<bool(int64_t, int64_t)>;

// Runs the float network over `pictures` and gathers all three kinds of range at once, so that changing the
// method or a bit-width later needs no second run. Memory: one histogram per site, whatever the number of
// pictures. next(i) yields picture i of `count`; an empty one was left out, and is not counted in `pictures`.
// Throws Error when all of them were. floats: the model's float network, where the caller has one loaded;
// null: one is made for the call.
Calibration calibrate(const Model& model, int64_t count, const std::function<Pixels(int64_t)>& next,
                      RangeMethod method, int threads, const Progress& progress = {},
                      Network* floats = nullptr);

// The picture at hand, flipped, shifted and with brightness and contrast changed (8 in all, the first is
// itself).
std::vector<Pixels> augmentations(const Pixels& picture, int image_size);

// Where there is nothing else to calibrate on: on those, by the method mse, with from_input set. As
// calibrate().
Calibration calibrate_on_picture(const Model& model, const Pixels& picture, int threads,
                                 const Progress& progress = {}, Network* floats = nullptr);

}  // namespace ivit
