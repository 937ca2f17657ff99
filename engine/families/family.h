// SPDX-License-Identifier: Apache-2.0
// A model family: how its checkpoints are recognised and loaded. One line each in families.cpp.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"

namespace ivit {

struct Checkpoint;

struct Family {
    const char* name;  // "vit"
    // Whether the checkpoint's tensor names are this family's. Never throws; load() then says what is wrong.
    bool (*detect)(const Checkpoint&);
    // Throws Error in one sentence for what the family does not support.
    std::shared_ptr<const Model> (*load)(const Checkpoint&);
    // A named architecture with seeded random weights, or null when the name is not this family's.
    std::shared_ptr<const Model> (*random)(const std::string& arch, uint64_t seed);
    std::vector<std::string> (*architectures)();
    // The node list that follows from an outline: a Graph with its numbers set (tokens apart) and no nodes.
    // Throws Error naming `where` for numbers that contradict one another.
    std::shared_ptr<const Graph> (*graph)(const Graph& outline, float eps, const std::string& where);
};

const std::vector<Family>& families();

}  // namespace ivit
