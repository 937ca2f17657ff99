// SPDX-License-Identifier: Apache-2.0
// One report, made for real: two pictures through a small random network, names that mean harm among them.
#pragma once
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/evaluate.h"
#include "engine/report/causes.h"
#include "engine/report/report.h"
#include "tests/small_model.h"

namespace ivit::test {

inline const std::string hostile = "<script>alert(1)</script>&\"'|`.png";

struct Made {
    std::shared_ptr<Model> model;
    Effective effective;
    std::vector<ReportInput> inputs;
    std::unique_ptr<IntegerNetwork> integers;

    explicit Made(const std::string& spec = "W4A8") {
        model = std::make_shared<Model>(*test::small_model());
        model->info.labels[0] = "<img src=x onerror=alert(2)>";
        model->info.sha256 = std::string(64, 'a');
        const auto ranges = calibrate(
            *model, 4, [](int64_t i) { return test::picture(16, static_cast<uint32_t>(i)); },
            RangeMethod::mse, 1);
        const auto backend = make_backend("reference", 1);
        const auto q = quantize(model, ranges, QuantConfig::from_spec(spec));
        integers = backend->load(q);
        const auto floats = make_float_network(model, 1);
        effective = ivit::effective(*q, backend->info(), "no GPU here");
        for (uint32_t i = 0; i < 2; ++i) {
            ReportInput in;
            in.file = i ? hostile : "latin\xe9.png";
            in.sha256 = std::string(64, 'b');
            in.pixels = test::picture(16, i + 9);
            in.comparison = compare(*floats, *integers, in.pixels);
            inputs.push_back(std::move(in));
        }
    }
    Json report(const std::string& head = {}) const {
        ReportOptions o;
        o.head = head;
        BenchResult latency;
        latency.floats = {2, 2.2, 1.9, 20};
        latency.integers = {0.5, 0.6, 0.4, 20};
        latency.speedup = 4;
        latency.processor_share = 0.99;
        latency.layers = {{0, 2, 0.1, 0.2, 5}};
        o.latency = latency;
        o.evaluation = evaluation();
        const auto backend = make_backend("reference", 1);
        o.causes = causes_json(find_causes(*backend, inputs));
        o.commands = reproduce_commands(effective, {inputs[0].file, hostile}, {"--runs", "3"});
        return build_report(effective, inputs, o);
    }
    Json evaluation() const {
        Json doc = document("evaluate", effective);
        doc["dataset"] = {{"folder", "pictures"}, {"layout", "class folders"}, {"pictures", 1}};
        doc["configurations"] =
            Json::array({{{"quant", "W4A8"}, {"preset", "refined"}, {"config", effective.config.to_json()}}});
        Evaluation e(doc, model->info.labels);
        PictureRecord r;
        r.index = 0;
        r.file = hostile;
        r.label = 0;
        r.top = {0, 1};
        r.margin = 0.5;
        r.signal = 1;
        r.configurations = {{{1, 0}, 0.25, 0.125, 0.01}};
        e.add(r);
        return e.document();
    }
};

inline const Made& made() {
    static const Made m;
    return m;
}

}  // namespace ivit::test
