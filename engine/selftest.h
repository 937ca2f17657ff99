// SPDX-License-Identifier: Apache-2.0
// The arithmetic of every backend on this machine, held against expectations made elsewhere.
#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ivit {

struct SelftestResult {
    std::string backend;  // "quantizer" for the dyadic numbers, which all backends share
    std::string skipped;  // why the backend cannot run here; else empty
    int64_t checks = 0;   // values compared
    // The first one, named: "shiftmax case 3, row 1, element 17: got 160, expected 161".
    std::string mismatch;
};

// golden: in the form of golden_ops.json (every section optional). Each backend computes the rows through its
// own kernels (requant through its linear and patch_embed, Shiftmax, ShiftGELU and I-LayerNorm through their
// nodes), and then a small random network whose logits and taps must equal the reference backend's. Throws
// Error when the document has another form.
std::vector<SelftestResult> selftest(const nlohmann::json& golden);
nlohmann::json built_in_golden();

}  // namespace ivit
