// SPDX-License-Identifier: Apache-2.0
// A folder of pictures, with the class of each where something tells it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "engine/model.h"

namespace ivit {

struct LabelledPicture {
    std::string file;  // relative to the folder, '/' between parts
    int label = -1;    // class index; -1: nobody tells
};

struct Dataset {
    std::filesystem::path folder;
    std::string layout;  // "class folders", "labels file labels.csv", "no labels"
    bool labelled = false;
    std::vector<LabelledPicture> pictures;  // sorted by file
};

// Class folders (by ImageNet wnid, by label, or by index), a labels file (`labels`, or labels.csv|tsv|txt in
// the folder: one "file label" a line, separated by comma, tab or space, a header line allowed), or no labels
// at all. Labels compare without regard to case and with '_' for ' '. Throws Error: no pictures, a class
// folder or label that is no class of the model beside others that are, a labels file that names no picture
// of the folder.
Dataset open_dataset(const std::filesystem::path& folder, const std::filesystem::path& labels,
                     const ModelInfo& model);

// Index of the class called `name` (label, wnid, or index); -1 when the model has none.
int class_index(const std::string& name, const ModelInfo& model);

}  // namespace ivit
