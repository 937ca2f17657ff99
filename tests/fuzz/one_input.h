// SPDX-License-Identifier: Apache-2.0
// One input of the fuzzer, which the ordinary tests run over the corpus too.
#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>

#include "engine/checkpoint.h"
#include "engine/error.h"

namespace ivit::test {

// input: two bytes n (little-endian), n bytes of config.json (none when n is 0), then a safetensors file.
// True when it loads. Any end but a sound Model or an Error of one line is a defect, and leaves by another
// exception.
inline bool one_input(std::span<const std::byte> input) {
    if (input.size() < 2) return false;
    const size_t n = static_cast<size_t>(input[0]) | static_cast<size_t>(input[1]) << 8;
    if (n > input.size() - 2) return false;
    const auto* text = reinterpret_cast<const char*>(input.data()) + 2;
    const nlohmann::json config =
        n ? nlohmann::json::parse(text, text + n, nullptr, false) : nlohmann::json();
    if (config.is_discarded()) return false;
    try {
        const auto model = load_model(Safetensors::parse(input.subspan(2 + n), "fuzz"), config, config);
        int64_t parameters = 0;
        for (const auto& [name, tensor] : model->weights) {
            if (static_cast<int64_t>(tensor->data.size()) != elements(tensor->shape))
                throw std::logic_error(name + " does not fill its shape");
            for (const float x : tensor->data)
                if (!std::isfinite(x)) throw std::logic_error(name + " is not finite");
            parameters += elements(tensor->shape);
        }
        if (parameters != model->info.parameters) throw std::logic_error("parameters are miscounted");
        for (const Node& node : model->graph->nodes)
            if (!node.weight.empty()) model->weight(node.weight), model->weight(node.bias);
        if (model->info.labels.size() != static_cast<size_t>(model->graph->classes))
            throw std::logic_error("labels are miscounted");
        return true;
    } catch (const Error& e) {
        const std::string sentence = e.what();
        if (sentence.find('\n') != std::string::npos || sentence.size() > 1000)
            throw std::logic_error(sentence);
        return false;
    }
}

}  // namespace ivit::test
