// SPDX-License-Identifier: Apache-2.0
// Ranges: asking for one, and their file.
#include "engine/calibration.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace ivit {

namespace {

constexpr int least_bits = 4, most_bits = 16;  // of SiteRange::mse
// From here on a grid's steps are so fine that clipping a tail gains nothing and costs what it clips.
constexpr int wide_bits = 12;
// Below it a site counts as one that never fired: on so fine a grid I0 of its exponential would pass 62 bits.
constexpr double next_to_nothing = 1e-7;

}  // namespace

const char* to_string(RangeMethod m) {
    switch (m) {
        case RangeMethod::minmax:
            return "minmax";
        case RangeMethod::percentile:
            return "percentile";
        case RangeMethod::mse:
            return "mse";
    }
    return "?";
}

RangeMethod range_method(const std::string& name) {
    for (RangeMethod m : {RangeMethod::minmax, RangeMethod::percentile, RangeMethod::mse}) {
        if (name == to_string(m)) return m;
    }
    throw Error("unknown calibration method \"" + name + "\", known are minmax, percentile and mse");
}

double SiteRange::clip(RangeMethod m, int bits) const {
    double c = minmax;
    if (bits < wide_bits) {
        if (m == RangeMethod::percentile) c = percentile;
        if (m == RangeMethod::mse && bits < static_cast<int>(mse.size())) c = mse[static_cast<size_t>(bits)];
    }
    return c > next_to_nothing ? c : 1;
}

double Calibration::clip(const std::string& node, int group, int bits) const {
    const auto it = sites.find(node);
    if (it == sites.end())
        throw Error("the calibration has no range for this node", node, "calibrate this model anew");
    if (group < 0 || group >= static_cast<int>(it->second.size())) {
        throw Error(fmt::format("the calibration has {} ranges for this node, {} wanted", it->second.size(),
                                group + 1),
                    node, "calibrate this model anew");
    }
    return it->second[static_cast<size_t>(group)].clip(method, bits);
}

std::string Calibration::summary() const {
    return fmt::format("{} ranges from {}", to_string(method), source);
}

nlohmann::ordered_json Calibration::to_json() const {
    nlohmann::ordered_json j;
    j["format"] = "ivit-calibration";
    j["version"] = 1;
    j["method"] = to_string(method);
    j["pictures"] = pictures;
    j["source"] = source;
    j["from_input"] = from_input;
    auto& list = j["sites"] = nlohmann::ordered_json::object();
    for (const auto& [name, groups] : sites) {
        auto& entry = list[name] = nlohmann::ordered_json::array();
        for (const SiteRange& r : groups) {
            entry.push_back({{"minmax", r.minmax},
                             {"percentile", r.percentile},
                             {"mse", std::vector<double>(r.mse.begin() + least_bits, r.mse.end())}});
        }
    }
    return j;
}

namespace {

using nlohmann::json;

Error bad_calibration(const std::string& what) {
    return Error(what, "calibration", "calibrate the model anew");
}

const json& field(const json& object, const std::string& name) {
    const auto it = object.find(name);
    if (it == object.end()) throw bad_calibration("lacks the field \"" + name + "\"");
    return *it;
}

double magnitude(const json& value, const std::string& site) {
    const double v = value.is_number() ? value.get<double>() : -1.0;
    if (!std::isfinite(v) || v < 0 || v > 1e30)
        throw bad_calibration("a range of site " + site + " is not a number from 0 to 1e30");
    return v;
}

SiteRange range_from_json(const json& group, const std::string& site) {
    if (!group.is_object()) throw bad_calibration("site " + site + " is not a list of ranges");
    SiteRange r;
    r.minmax = magnitude(field(group, "minmax"), site);
    r.percentile = magnitude(field(group, "percentile"), site);
    const auto& mse = field(group, "mse");
    if (!mse.is_array() || mse.size() != most_bits - least_bits + 1)
        throw bad_calibration(
            fmt::format("mse of site {} is not a list of {} ranges", site, most_bits - least_bits + 1));
    r.mse.assign(least_bits, 0.0);
    for (const auto& value : mse) r.mse.push_back(magnitude(value, site));
    return r;
}

}  // namespace

Calibration Calibration::from_json(const json& j) {
    if (!j.is_object() || j.value("format", json()) != "ivit-calibration")
        throw bad_calibration("is not a calibration (its format field is not \"ivit-calibration\")");
    if (j.value("version", json()) != 1)
        throw bad_calibration(
            fmt::format("has version {}, this program reads version 1", j.value("version", json()).dump()));
    Calibration c;
    const auto& method = field(j, "method");
    if (!method.is_string()) throw bad_calibration("method is not text");
    c.method = range_method(method.get<std::string>());
    const auto& pictures = field(j, "pictures");
    if (!pictures.is_number_integer() || pictures.get<int64_t>() < 1)
        throw bad_calibration("pictures is not a positive whole number");
    c.pictures = pictures.get<int64_t>();
    const auto& source = field(j, "source");
    if (!source.is_string()) throw bad_calibration("source is not text");
    c.source = source.get<std::string>();
    const auto& from_input = field(j, "from_input");
    if (!from_input.is_boolean()) throw bad_calibration("from_input is neither true nor false");
    c.from_input = from_input.get<bool>();
    const auto& sites = field(j, "sites");
    if (!sites.is_object()) throw bad_calibration("sites is not an object");
    for (const auto& [name, groups] : sites.items()) {
        if (!groups.is_array() || groups.empty())
            throw bad_calibration("site " + name + " is not a list of ranges");
        for (const auto& group : groups) c.sites[name].push_back(range_from_json(group, name));
    }
    return c;
}

}  // namespace ivit
