// SPDX-License-Identifier: Apache-2.0
// A folder of pictures, with the class of each where something tells it.
#pragma once
#include <cstdint>
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
    int64_t without_label = 0;              // pictures nobody tells the class of, in a folder that has labels
    int64_t without_picture = 0;            // lines of the labels file whose picture is not there
    std::vector<LabelledPicture> pictures;  // sorted by file
};

// Class folders (by ImageNet wnid, by label, or by index; "val/n01440764/x.JPEG" counts as one too), a labels
// file (`labels`, or labels.csv|tsv|txt in the folder: labels_file.h; pictures relative to the folder or to
// the file, absolute, with or without their ending), or no labels at all. Labels compare without regard to
// case and with '_' for ' '; a label's first synonym ("tench" of "tench, Tinca tinca") is enough. Throws
// Error: no pictures, a picture beside class folders that lies in none, a labels file that is broken, names a
// class the model does not have, one picture twice, or no picture of the folder, a name that two classes
// share.
Dataset open_dataset(const std::filesystem::path& folder, const std::filesystem::path& labels,
                     const ModelInfo& model);

}  // namespace ivit
