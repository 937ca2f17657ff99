// SPDX-License-Identifier: Apache-2.0
// Two reports, value by value.
#include <algorithm>

#include "engine/report/report.h"

namespace ivit {

namespace {

void differences(const std::string& where, const Json& a, const Json& b, std::vector<Difference>& out) {
    if (a.is_object() && b.is_object()) {
        for (const auto& [key, value] : a.items())
            differences(where + "." + key, value, b.contains(key) ? b[key] : Json(), out);
        for (const auto& [key, value] : b.items())
            if (!a.contains(key)) differences(where + "." + key, Json(), value, out);
    } else if (a.is_array() && b.is_array()) {
        for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
            differences(where + "[" + std::to_string(i) + "]", i < a.size() ? a[i] : Json(),
                        i < b.size() ? b[i] : Json(), out);
    } else if (a != b) {
        out.push_back({where, a, b});
    }
}

// Layers by name and scope, so that two models of different depth still line up.
Json keyed_layers(const Json& layers) {
    Json keyed = Json::object();
    for (const auto& l : layers)
        keyed[l["name"].get<std::string>() + ", " + l["scope"].get<std::string>()] = l;
    return keyed;
}

void layer_differences(const std::string& where, const Json& a, const Json& b, std::vector<Difference>& out) {
    for (const auto& [key, value] : a.items())
        differences(where + "[" + key + "]", value, b.value(key, Json()), out);
    for (const auto& [key, value] : b.items())
        if (!a.contains(key)) differences(where + "[" + key + "]", Json(), value, out);
}

}  // namespace

std::vector<Difference> report_differences(const Json& a, const Json& b, bool drawn) {
    std::vector<Difference> out;
    for (const char* field : {"quant", "preset", "integer_only", "config", "calibration"})
        differences(field, a.value(field, Json()), b.value(field, Json()), out);
    for (const char* field : {"name", "sha256", "parameters", "architecture"})
        differences(std::string("model.") + field, a["model"].value(field, Json()),
                    b["model"].value(field, Json()), out);
    if (drawn) differences("causes", a.value("causes", Json()), b.value("causes", Json()), out);
    const size_t n = std::max(a["images"].size(), b["images"].size());
    for (size_t i = 0; i < n; ++i) {
        const std::string where = "images[" + std::to_string(i) + "]";
        if (i >= a["images"].size() || i >= b["images"].size()) {
            out.push_back({where, i < a["images"].size() ? a["images"][i]["file"] : Json(),
                           i < b["images"].size() ? b["images"][i]["file"] : Json()});
            continue;
        }
        const Json &x = a["images"][i], &y = b["images"][i];
        if (x.is_null() || y.is_null()) {  // left out of a replay
            out.push_back({where, x.is_null() ? x : x["file"], y.is_null() ? y : y["file"]});
            continue;
        }
        for (const char* field : {"sha256", "pixels_sha256", "predictions", "logits"})
            differences(where + "." + field, x.value(field, Json()), y.value(field, Json()), out);
        layer_differences(where + ".layers", keyed_layers(x["layers"]), keyed_layers(y["layers"]), out);
        for (const char* field : {"worst", "attention"})
            if (drawn) differences(where + "." + field, x.value(field, Json()), y.value(field, Json()), out);
    }
    return out;
}

}  // namespace ivit
