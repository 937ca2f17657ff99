// SPDX-License-Identifier: Apache-2.0
// The drawings of the HTML report, as SVG in its colours (CSS variables).
#pragma once
#include <string>
#include <vector>

#include "engine/report/report_parts.h"

namespace ivit {

std::string esc(const std::string& s);  // text in HTML, inside and outside of attributes

// SQNR along depth, both scopes, the worst node named.
std::string sqnr_plot(const std::vector<LayerRow>& rows);
// Both networks' values; log counts, clamp limits as dashed lines.
std::string histogram_svg(const Json& h);
// The picture as the networks take it. Drawn once, as `id`, and used again beneath the maps.
std::string thumbnail_svg(const std::string& id, const Json& image);
// One attention row over the patches of the picture `id`. `most` is shared by the maps beside each other.
// kind: 0 Shiftmax, 1 softmax, 2 their difference.
std::string map_svg(const std::string& id, const Json& attention, int kind, double most);

}  // namespace ivit
