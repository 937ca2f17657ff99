// SPDX-License-Identifier: GPL-3.0-or-later
// ivit selftest: does this machine compute what the specification says?
#include "engine/selftest.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/cli/command.h"
#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/version.h"

namespace ivit::cli {

namespace {

Json selftest_json(const std::vector<SelftestResult>& results, const std::string& golden, bool passed) {
    Json doc = {{"format", "ivit-selftest"},
                {"version", 1},
                {"program", program_name()},
                {"golden", golden},
                {"machine", cpu_name() + ", " + to_string(best_isa())}};
    for (const auto& r : results) {
        Json j = {{"backend", r.backend},
                  {"checks", r.checks},
                  {"passed", r.skipped.empty() && r.mismatch.empty()}};
        if (!r.skipped.empty()) j["skipped"] = r.skipped;
        if (!r.mismatch.empty()) j["mismatch"] = r.mismatch;
        doc["results"].push_back(j);
    }
    doc["passed"] = passed;
    return doc;
}

void print_selftest(const std::vector<SelftestResult>& results, const std::string& golden) {
    fmt::print("{}, {}; expectations: {}\n", cpu_name(), to_string(best_isa()), golden);
    for (const auto& r : results) {
        if (!r.skipped.empty())
            fmt::print("  {:<10} skipped: {}\n", r.backend, r.skipped);
        else if (!r.mismatch.empty())
            fmt::print("  {:<10} {}  {}\n", r.backend, ink(Ink::bad, "FAILED"), r.mismatch);
        else
            fmt::print("  {:<10} {}  {} values\n", r.backend, ink(Ink::good, "passed"), r.checks);
    }
}

}  // namespace

void add_selftest(CLI::App& program, Run& run) {
    auto* c = program.add_subcommand("selftest", "check the arithmetic of every backend on this machine");
    auto file = std::make_shared<std::string>();
    auto json = std::make_shared<bool>(false);
    c->add_option("--golden", *file,
                  "expectations in the form of golden_ops.json; the built-in ones without it");
    c->add_flag("--json", *json, "one JSON document on standard output");
    c->callback([=, &run] {
        run = [=] {
            const std::string golden = file->empty() ? "built-in" : *file;
            const nlohmann::json expected =
                file->empty() ? built_in_golden() : nlohmann::json(read_json(*file, "the golden file"));
            const auto results = selftest(expected);
            const bool passed =
                std::all_of(results.begin(), results.end(), [](const auto& r) { return r.mismatch.empty(); });
            if (*json)
                print_json(selftest_json(results, golden, passed));
            else
                print_selftest(results, golden);
            return passed ? 0 : 1;
        };
    });
}

}  // namespace ivit::cli
