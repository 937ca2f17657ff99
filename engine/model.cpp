// SPDX-License-Identifier: Apache-2.0
#include "engine/model.h"

#include "engine/error.h"
#include "engine/families/family.h"

namespace ivit {

const FloatTensor& Model::weight(const std::string& name) const {
    const auto found = weights.find(name);
    if (found == weights.end()) throw Error("the model has no tensor " + name, info.source);
    return *found->second;
}

std::shared_ptr<const Model> random_model(const std::string& arch, uint64_t seed) {
    for (const Family& family : families())
        if (auto model = family.random(arch, seed)) return model;
    std::string known;
    for (const std::string& name : architectures()) known += (known.empty() ? "" : ", ") + name;
    throw Error("there is no architecture called '" + arch + "'", "--arch",
                "known: " + known + "; another image size goes at the end (vit_tiny_patch16_256)");
}

std::vector<std::string> architectures() {
    std::vector<std::string> names;
    for (const Family& family : families())
        for (std::string& name : family.architectures()) names.push_back(std::move(name));
    return names;
}

}  // namespace ivit
