// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/shown_report.h"

#include "engine/bench.h"
#include "engine/report/causes.h"
#include "engine/safetensors.h"

ivit::ReportOptions report_options(const ivit::Graph& graph, int node, int head,
                                   const LatencySamples& latency) {
    ivit::ReportOptions options;
    if (node >= 0 && graph.nodes[static_cast<size_t>(node)].op == ivit::Op::softmax) {
        // The head may have been chosen in a model that has more of them.
        options.head = graph.nodes[static_cast<size_t>(node)].name + ":" +
                       std::to_string(std::min(head, graph.heads - 1));
    }
    if (!latency.integer_ms.empty() && !latency.float_ms.empty()) {
        ivit::BenchResult measured;
        measured.floats = ivit::latency(latency.float_ms);
        measured.integers = ivit::latency(latency.integer_ms);
        measured.speedup =
            measured.integers.median > 0 ? measured.floats.median / measured.integers.median : 0;
        measured.processor_share = latency.processor_share();
        options.latency = measured;
        options.batch = latency.batch;
    }
    return options;
}

ivit::Json report_of(const ivit::Result& result, const std::filesystem::path& picture,
                     ivit::ReportOptions options, std::stop_token stop) {
    ivit::ReportInput input;
    input.file = picture.empty() ? result.request->picture : picture.string();
    input.sha256 = picture.empty() ? ivit::sha256(std::as_bytes(std::span(result.request->pixels)))
                                   : ivit::sha256_file(picture);
    input.pixels = result.request->pixels;
    input.comparison = result.comparison;
    const ivit::Effective e = ivit::effective(*result.comparison.model, result.backend, result.gpu_absent);
    // Random weights have no file to name.
    const std::vector<std::string> more = e.model.sha256.empty()
                                              ? std::vector<std::string>{"--arch", e.model.name}
                                              : std::vector<std::string>{"--model", e.model.source};
    options.commands = ivit::reproduce_commands(e, {input.file}, more);
    std::vector<ivit::ReportInput> inputs;
    inputs.push_back(std::move(input));
    if (!options.causes && inputs[0].comparison.model->source) {
        const auto backend = ivit::make_backend(e.backend.name, e.backend.threads);
        options.causes = ivit::causes_json(ivit::find_causes(*backend, inputs, stop));
    }
    return ivit::build_report(e, inputs, options);
}
