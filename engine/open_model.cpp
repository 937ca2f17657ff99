// SPDX-License-Identifier: Apache-2.0
#include "engine/open_model.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/safetensors.h"

namespace ivit {

namespace fs = std::filesystem;

fs::path calibration_path(const fs::path& model) {
    fs::path p = model;
    return p.replace_extension(".calibration.json");
}

Calibration read_calibration(const fs::path& file, const Graph& graph) {
    std::ifstream in(file, std::ios::binary);
    if (!in)
        throw Error(std::string("cannot open the ranges: ") + std::strerror(errno), file.string(),
                    "name a folder of pictures, or what `ivit calibrate` wrote");
    nlohmann::json j;
    try {
        j = nlohmann::json::parse(in);
    } catch (const nlohmann::json::exception&) {
        throw Error("these ranges are not JSON", file.string(),
                    "name a folder of pictures, or what `ivit calibrate` wrote");
    }
    Calibration c;
    try {
        c = Calibration::from_json(j);
    } catch (const Error& e) {
        throw Error(e.sentence(), file.string(), e.hint());
    }
    for (const Node& n : graph.nodes) {
        const bool ranged =
            n.op != Op::softmax && n.op != Op::head && n.op != Op::patch_embed && !n.to_residual;
        const auto site = c.sites.find(n.name);
        if (ranged && (site == c.sites.end() || static_cast<int>(site->second.size()) != n.groups))
            throw Error("the ranges are of another model: nothing for " + n.name, file.string());
    }
    for (const auto& [name, ranges] : c.sites)
        if (graph.find(name) < 0)
            throw Error("the ranges are of another model: this one has no " + name, file.string());
    return c;
}

OpenedModel open_model(const fs::path& file, KeepWeights keep) {
    std::error_code unknown;
    if (const fs::path inside = file / "model.safetensors";
        fs::is_directory(file, unknown) && fs::is_regular_file(inside, unknown))
        return open_model(inside, keep);  // a folder as transformers saves one
    OpenedModel o;
    if (is_quantized(file)) {
        auto q =
            keep == KeepWeights::mapped ? load_quantized(file) : load_quantized(*Safetensors::read(file));
        o.quantized = q;
        o.calibration = std::make_shared<Calibration>(q->calibration);
        const fs::path source = q->info.source;
        std::error_code none;
        if (source.empty() || !fs::exists(source, none)) {
            o.note = "the float checkpoint it was made from is not at hand: integers only";
        } else if (sha256_file(source) != q->info.sha256) {
            o.note = "the float checkpoint it was made from has changed since (" + source.string() +
                     "): integers only";
        } else {
            o.model = load_model(source);
        }
        return o;
    }
    o.model = load_model(file);
    const fs::path ranges = calibration_path(file);
    if (fs::exists(ranges)) {
        try {
            o.calibration = std::make_shared<Calibration>(read_calibration(ranges, *o.model->graph));
        } catch (const Error& e) {
            o.note = std::string("ranges passed over: ") + e.what();
        }
    }
    return o;
}

fs::path assets() {
    if (const char* set = std::getenv("IVIT_ASSETS")) {
        if (fs::is_directory(set)) return set;
        throw Error("IVIT_ASSETS is not a folder", set);
    }
    std::error_code none;
    const fs::path program = fs::read_symlink("/proc/self/exe", none).parent_path();
    for (const fs::path& p : {program / "../share/ivit/assets", program / "../assets",
                              program / "../../assets", fs::path(IVIT_ASSETS_DIR)})
        if (fs::is_directory(p, none)) return p.lexically_normal();
    throw Error("the program's assets are not beside it", program.string(),
                "set IVIT_ASSETS to the folder called assets");
}

fs::path bundled_model() {
    for (const auto& entry : fs::directory_iterator(assets()))
        if (entry.path().extension() == ".safetensors") return entry.path();
    throw Error("the bundled model is missing", assets().string(), "name another one with --model");
}

}  // namespace ivit
