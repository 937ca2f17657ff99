// SPDX-License-Identifier: GPL-3.0-or-later
// Tables for people, from the very JSON that --json prints, so that the numbers are the same.
#pragma once
#include <string>

#include "engine/describe.h"

namespace ivit::cli {

std::string predictions_table(const Json& predictions);  // {"integer": [...], "float": [...] (optional)}
// Every node as in a report (node_table), worst cumulative SQNR first, both scopes in one row.
std::string layers_table(const Json& layers);
std::string evaluation_table(const Json& evaluation);  // accuracy, agreement, worst pictures

}  // namespace ivit::cli
