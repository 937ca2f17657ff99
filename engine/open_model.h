// SPDX-License-Identifier: Apache-2.0
// A file a person names as "the model", whatever kind it is; and the program's own assets.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "engine/calibration.h"
#include "engine/model.h"
#include "engine/quantized_model.h"

namespace ivit {

struct OpenedModel {
    std::shared_ptr<const Model> model;  // float; null for a quantized model whose source is not at hand
    std::shared_ptr<const QuantizedModel> quantized;  // null for a checkpoint
    std::shared_ptr<const Calibration> calibration;   // NAME.calibration.json beside the checkpoint, or the
                                                      // quantized model's own; null when there is none
    std::string note;  // one sentence when something was passed over; may be empty

    const ModelInfo& info() const { return quantized ? quantized->info : model->info; }
    const std::shared_ptr<const Graph>& graph() const { return quantized ? quantized->graph : model->graph; }
};

// Where a quantized model's weights are while it is open. Mapped, they take no memory beside what a backend
// packs of them, and a file that is shortened meanwhile ends the program (app/lost_file.h); in memory, they
// take the file's size, and nothing that happens to it matters.
enum class KeepWeights { mapped, in_memory };

// A checkpoint, a folder with one called model.safetensors, or a quantized model. A quantized model's float
// source is opened too when the file it was made from is still where it was and has the same SHA-256. Throws
// Error.
OpenedModel open_model(const std::filesystem::path& file, KeepWeights keep = KeepWeights::mapped);

// Where a checkpoint's ranges are kept: model.safetensors -> model.calibration.json.
std::filesystem::path calibration_path(const std::filesystem::path& model);
// Throws Error for a file that is missing, broken, or that lacks a site of `graph`.
Calibration read_calibration(const std::filesystem::path& file, const Graph& graph);

// The folder with the bundled model, samples and fonts: $IVIT_ASSETS, beside the program (../assets,
// ../share/ivit/assets), or in the source tree it was built from. Throws Error when there is none.
std::filesystem::path assets();
std::filesystem::path bundled_model();  // the one *.safetensors in assets()

}  // namespace ivit
