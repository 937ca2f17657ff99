// SPDX-License-Identifier: GPL-3.0-or-later
// What `ivit report`, `replay` and `diff` share.
#pragma once
#include <string>
#include <vector>

#include "app/cli/command.h"
#include "engine/report/report.h"

namespace ivit::cli {

// Both networks on every picture that can be read. Throws Error when there is none.
std::vector<ReportInput> compare_all(Setup& s, Pictures& pictures);

// What each single change would bring (engine/report/causes.h), with a progress bar.
Json causes_of(Setup& s, const std::vector<ReportInput>& inputs);

// For people or, with `json`, as the one document. `kind`: "diff", or "replay" where `b` is the run that just
// was. Yields the exit status: 0 where nothing differs, else 1.
int print_differences(const std::vector<Difference>& differences, bool json, const std::string& kind,
                      const Json& a, const Json& b);

}  // namespace ivit::cli
