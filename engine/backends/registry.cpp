// SPDX-License-Identifier: Apache-2.0
// The list of backends: one line each, best first for "auto".
#include "engine/backend.h"
#include "engine/backends/cpu/network.h"
#include "engine/backends/cuda/network.h"
#include "engine/backends/cuda_float/network.h"
#include "engine/backends/fallback.h"
#include "engine/backends/reference/network.h"
#include "engine/error.h"

namespace ivit {
namespace {

std::string always() { return {}; }

}  // namespace

const std::vector<BackendEntry>& backends() {
    static const std::vector<BackendEntry> list = {
        {"cuda", cuda::unavailable, [](int) { return cuda::make_backend(); }},
        {"cpu", always, [](int threads) { return cpu::make_backend(threads); }},
        {"reference", always, [](int) { return reference::make_backend(); }},
    };
    return list;
}

const std::vector<OpponentEntry>& float_opponents() {
    using cuda_float::Precision;
    const auto entry = [](const char* name, const char* what, Precision p) {
        return OpponentEntry{name, what, "cuda", [p] { return cuda_float::unavailable(p); },
                             [p](auto model) { return cuda_float::make_network(std::move(model), p); }};
    };
    static const std::vector<OpponentEntry> list = {
        entry("cuda-fp32", "FP32 on the GPU", Precision::fp32),
        entry("cuda-tf32", "TF32 on the GPU", Precision::tf32),
        entry("cuda-fp16", "FP16 on the GPU", Precision::fp16),
    };
    return list;
}

std::unique_ptr<Backend> make_backend(const std::string& name, int threads, std::string* why) {
    if (why) why->clear();
    std::string known, refused;
    for (const auto& entry : backends()) {
        known += (known.empty() ? "auto, " : ", ") + entry.name;
        if (name != "auto" && name != entry.name) continue;
        std::string reason = entry.unavailable();
        if (reason.empty()) {
            // A backend may still fail to start (a GPU that is there but lost); auto then goes on to the
            // next.
            try {
                auto backend = entry.make(threads);
                if (why) *why = refused;
                // A GPU may be lost later too.
                if (name == "auto" && entry.name == "cuda")
                    return with_fallback(std::move(backend),
                                         [threads] { return make_backend("cpu", threads); });
                return backend;
            } catch (const Error& e) {
                if (name != "auto") throw;
                reason = e.what();
            }
        }
        if (name != "auto") throw Error("the " + name + " backend cannot run here: " + reason, "--backend");
        if (refused.empty()) refused = entry.name + ": " + reason;
    }
    throw Error("there is no backend called '" + name + "'", "--backend", "known: " + known);
}

}  // namespace ivit
