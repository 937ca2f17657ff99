// SPDX-License-Identifier: Apache-2.0
// The report as one HTML file: no request to anywhere, light and dark, readable on a phone, printable, tables
// that sort.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/report/report.h"
#include "engine/report/report_parts.h"

namespace ivit {

namespace {

std::string esc(const std::string& s) {
    std::string out;
    for (const char c : s) switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    return out;
}

const char* const style = R"css(
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5b6470;--line:#d5dae0;--card:#f5f7f9;--float:#0072b2;--int:#d55e00;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--dim:#9aa4af;--line:#333a42;--card:#1d2126;--float:#56b4e9;--int:#e69f00;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:16px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .4em;border-bottom:1px solid var(--line);overflow-wrap:anywhere}h3{font-size:1rem;margin:1.4em 0 .3em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:3px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child,.l{text-align:left}th{cursor:pointer;color:var(--dim);font-weight:600}th[aria-sort]::after{content:" \2193"}th[aria-sort=ascending]::after{content:" \2191"}
.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px}
.card svg{display:block;width:100%;height:auto}.grow{flex:1 1 300px;min-width:0}.thumb{width:144px;image-rendering:pixelated;border-radius:4px}
.bar{height:8px;border-radius:2px;background:var(--float)}.bar.q{background:var(--int)}pre{background:var(--card);border:1px solid var(--line);padding:8px;overflow-x:auto}
.dim{color:var(--dim)}.bad{color:var(--bad);font-weight:600}svg text{fill:var(--dim);font-size:10px;font-family:inherit}
@media(max-width:600px){dl{grid-template-columns:1fr}dt{margin-top:6px}th,td{padding:3px 6px}}
@media print{body{max-width:none;font-size:11px}.card,figure,tr{break-inside:avoid}h2,h3{break-after:avoid}}
)css";

// Sorts by the clicked column, numbers as numbers.
const char* const script = R"js(
document.querySelectorAll('table.sort').forEach(t=>{const h=[...t.tHead.rows[0].cells];h.forEach((c,i)=>{const go=()=>{
const down=c.getAttribute('aria-sort')!=='descending';h.forEach(x=>x.removeAttribute('aria-sort'));c.setAttribute('aria-sort',down?'descending':'ascending');
const key=r=>{const v=r.cells[i].dataset.v??r.cells[i].textContent;const n=parseFloat(v);return isNaN(n)?v:n};
[...t.tBodies[0].rows].sort((a,b)=>{const x=key(a),y=key(b);const s=typeof x==='number'&&typeof y==='number'?x-y:String(x).localeCompare(String(y));return down?-s:s})
.forEach(r=>t.tBodies[0].append(r))};c.tabIndex=0;c.onclick=go;c.onkeydown=e=>{if(e.key==='Enter')go()}})});
)js";

// SQNR along depth, both scopes.
std::string sqnr_plot(const std::vector<LayerRow>& rows) {
    const double W = 1000, H = 240, left = 44, bottom = 22, top = 8;
    double most = 10;
    for (const auto& r : rows)
        for (const double v : {r.cumulative_db, r.isolated_db})
            if (std::isfinite(v) && v < 149) most = std::max(most, v);
    most = std::ceil(most / 10) * 10;
    const auto x = [&](size_t i) {
        return left + (W - left - 8) * static_cast<double>(i) /
                          static_cast<double>(std::max<size_t>(1, rows.size() - 1));
    };
    const auto y = [&](double db) {
        return top + (H - top - bottom) * (1 - std::clamp(db, 0.0, most) / most);
    };
    std::string s = fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='SQNR along depth'>", W, H);
    for (double db = 0; db <= most; db += most > 60 ? 20 : 10)
        s += fmt::format(
            "<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='var(--line)'/><text x='{}' y='{:.1f}' "
            "text-anchor='end'>{:.0f}</text>",
            left, W - 8, y(db), y(db), left - 6, y(db) + 3, db);
    s += fmt::format("<text x='4' y='{}' transform='rotate(-90 10 {})' text-anchor='middle'>SQNR dB</text>",
                     H / 2, H / 2);
    const auto line = [&](const char* colour, const char* dash, auto value) {
        s += fmt::format(
            "<polyline fill='none' stroke='var({})' stroke-width='1.6' stroke-dasharray='{}' points='",
            colour, dash);
        for (size_t i = 0; i < rows.size(); ++i)
            if (std::isfinite(value(rows[i]))) s += fmt::format("{:.1f},{:.1f} ", x(i), y(value(rows[i])));
        s += "'/>";
    };
    line("--int", "", [](const LayerRow& r) { return r.cumulative_db; });
    line("--float", "4 3", [](const LayerRow& r) { return r.isolated_db; });
    for (size_t i = 0; i < rows.size(); ++i)
        s += fmt::format(
            "<circle cx='{:.1f}' cy='{:.1f}' r='5' fill='transparent'><title>{}: cumulative {} dB, isolated "
            "{} dB</title></circle>",
            x(i), y(rows[i].cumulative_db), esc(rows[i].name), number(rows[i].cumulative_db),
            number(rows[i].isolated_db));
    return s +
           fmt::format(
               "<text x='{}' y='{}'>first node</text><text x='{}' y='{}' text-anchor='end'>last node: "
               "{}</text></svg>",
               left, H - 6, W - 8, H - 6, rows.empty() ? "" : esc(rows.back().name)) +
           "<p class='dim'><span style='color:var(--int)'>&#9473; cumulative</span> (integer network against "
           "float network), "
           "<span style='color:var(--float)'>&#9480; isolated</span> (the node alone, on the float network's "
           "inputs)</p>";
}

// Both networks' values; log counts, clamp limits as dashed lines.
std::string histogram_svg(const Json& h) {
    const auto f = h["float"].get<std::vector<double>>(), q = h["integer"].get<std::vector<double>>();
    const double low = h["low"], high = h["high"], W = 320, H = 110;
    double most = 1;
    for (size_t i = 0; i < f.size(); ++i) most = std::max({most, f[i], q[i]});
    const auto height = [&](double n) { return n > 0 ? (H - 20) * std::log1p(n) / std::log1p(most) : 0; };
    std::string s = fmt::format("<svg viewBox='0 0 {} {}' role='img' aria-label='histogram'>", W, H);
    const double w = W / static_cast<double>(f.size());
    for (size_t i = 0; i < f.size(); ++i) {
        s += fmt::format(
            "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='var(--float)' opacity='.45'/>",
            w * static_cast<double>(i), H - 14 - height(f[i]), w, height(f[i]));
        s += fmt::format(
            "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='none' stroke='var(--int)'/>",
            w * static_cast<double>(i), H - 14 - height(q[i]), w, height(q[i]));
    }
    if (h.contains("clamp"))
        for (const auto& c : h["clamp"]) {
            const double at = (c.get<double>() - low) / (high - low) * W;
            if (at >= 0 && at <= W)
                s += fmt::format(
                    "<line x1='{:.1f}' x2='{:.1f}' y1='0' y2='{}' stroke='var(--bad)' stroke-dasharray='3 "
                    "2'/>",
                    at, at, H - 14);
        }
    return s +
           fmt::format("<text x='0' y='{}'>{}</text><text x='{}' y='{}' text-anchor='end'>{}</text></svg>",
                       H - 2, number(low), W, H - 2, number(high));
}

// One attention row over the patches of the picture; `most` is shared by the maps beside each other.
std::string map_svg(const std::vector<double>& v, int grid, double most, bool diverging) {
    std::string s = fmt::format("<svg viewBox='0 0 {} {}' shape-rendering='crispEdges'>", grid, grid);
    for (size_t i = 0; i < v.size(); ++i) {
        const double t = most > 0 ? std::clamp(v[i] / most, -1.0, 1.0) : 0;
        // Sequential: black through blue-green to yellow (cividis-like). Diverging: blue, white, orange.
        int r, g, b;
        if (diverging) {
            const double a = std::fabs(t);
            r = static_cast<int>(255 - a * (t < 0 ? 255 - 0 : 255 - 213));
            g = static_cast<int>(255 - a * (t < 0 ? 255 - 114 : 255 - 94));
            b = static_cast<int>(255 - a * (t < 0 ? 255 - 178 : 255 - 0));
        } else {
            r = static_cast<int>(253 * t);
            g = static_cast<int>(34 + (231 - 34) * t);
            b = static_cast<int>(77 + 40 * t * (1 - t) * 2 - 40 * t);
        }
        s += fmt::format(
            "<rect x='{}' y='{}' width='1' height='1' fill='rgb({},{},{})'><title>{}</title></rect>",
            static_cast<int>(i) % grid, static_cast<int>(i) / grid, r, g, b, number(v[i]));
    }
    return s + "</svg>";
}

std::string attention_html(const Json& a) {
    const auto p = a["shiftmax"].get<std::vector<double>>(), t = a["softmax"].get<std::vector<double>>();
    double most = 0, worst = 0;
    std::vector<double> d;
    for (size_t i = 0; i < p.size(); ++i) {
        most = std::max({most, p[i], t[i]});
        d.push_back(p[i] - t[i]);
        worst = std::max(worst, std::fabs(d.back()));
    }
    const int grid = a["grid"];
    std::string s =
        fmt::format("<h3>Shiftmax against softmax: {}, head {}, row of the {}</h3><div class='row'>",
                    esc(a["node"]), a["head"].get<int>(), esc(a["query"]));
    s += "<div class='card' style='width:200px'>" + map_svg(p, grid, most, false) +
         "<div>Shiftmax</div></div>";
    s += "<div class='card' style='width:200px'>" + map_svg(t, grid, most, false) +
         "<div>softmax of the same logits</div></div>";
    s += "<div class='card' style='width:200px'>" + map_svg(d, grid, worst, true) +
         "<div>difference</div></div></div>";
    return s + fmt::format(
                   "<p class='dim'>Colour from 0 to {} for the first two, &plusmn;{} for the difference. Row "
                   "sum {}, KL of the head {} nats.</p>",
                   number(most), number(worst), number(a["row_sum"], 5), number(a["kl"]));
}

std::string predictions_html(const Json& p) {
    std::string s;
    for (const char* kind : {"float", "integer"}) {
        s += fmt::format("<div class='card grow'><b>{}</b><table>", kind);
        for (const auto& e : p[kind])
            s += fmt::format(
                "<tr><td>{}</td><td style='width:40%'><div class='bar{}' "
                "style='width:{:.1f}%'></div></td><td>{} %</td></tr>",
                esc(e["label"]), std::string(kind) == "integer" ? " q" : "",
                100 * e["probability"].get<double>(), number(100 * e["probability"].get<double>()));
        s += "</table></div>";
    }
    return s;
}

std::string layers_html(const Json& image) {
    std::string s =
        "<div class='scroll'><table class='sort'><thead><tr><th>node</th><th "
        "class='l'>op</th><th>bits</th><th>cumulative dB</th><th>isolated dB</th><th>cosine</th>"
        "<th>MSE</th><th>max error</th><th>at limit %</th><th>range used %</th></tr></thead><tbody>";
    const auto cell = [](double v, int digits = 3) {
        return fmt::format("<td data-v='{}'>{}</td>", v, number(v, digits));
    };
    for (const auto& r : layer_rows(image))
        s += fmt::format("<tr><td>{}</td><td class='l'>{}</td><td>{}</td>", esc(r.name), esc(r.op), r.bits) +
             cell(r.cumulative_db) + cell(r.isolated_db) + cell(r.cosine, 6) + cell(r.mse) +
             cell(r.max_abs_error) + cell(100 * r.saturation) + cell(100 * r.range_used) + "</tr>\n";
    return s + "</tbody></table></div>";
}

}  // namespace

std::string report_html(const Json& report) {
    std::string s =
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        "content='width=device-width,initial-scale=1'><title>";
    s += esc("I-ViT report: " + report["model"]["name"].get<std::string>() + ", " +
             report["quant"].get<std::string>());
    s += std::string("</title><style>") + style +
         "</style></head><body><h1>I-ViT report</h1><p class='dim'>An integer-only Vision Transformer beside "
         "its float network.</p><dl>";
    for (const auto& [key, value] : report_facts(report))
        s += "<dt>" + esc(key) + "</dt><dd>" + esc(value) + "</dd>";
    s += "</dl>";
    if (report.contains("latency")) {
        const Json& l = report["latency"];
        s += "<h2>Latency</h2><p>" + esc(latency_sentence(l)) + "</p>";
        if (l.contains("layers")) {
            s += "<details><summary>Step by step</summary><div class='scroll'><table "
                 "class='sort'><thead><tr><th>nodes</th><th>float ms</th><th>integer "
                 "ms</th></tr></thead><tbody>";
            for (const auto& row : l["layers"])
                s += fmt::format("<tr><td>{}{}</td><td>{}</td><td>{}</td></tr>", esc(row["name"]),
                                 row["name"] == row["last"] ? "" : " &hellip; " + esc(row["last"]),
                                 number(row["float_ms"]), number(row["integer_ms"]));
            s += "</tbody></table></div></details>";
        }
    }
    if (report.contains("evaluation")) {
        s += "<h2>Evaluation</h2><div class='scroll'><table "
             "class='sort'><thead><tr><th>configuration</th><th>top-1 %</th><th>top-5 %</th><th>agreement "
             "%</th><th>mean KL</th></tr></thead><tbody>";
        for (const auto& row : evaluation_rows(report["evaluation"])) {
            s += "<tr>";
            for (const auto& c : row) s += "<td>" + esc(c) + "</td>";
            s += "</tr>";
        }
        s += "</tbody></table></div>";
    }
    for (const auto& image : report["images"]) {
        s += "<h2>" + esc(image["file"]) + "</h2><p" +
             (image["logits"]["agree"].get<bool>() ? ">" : " class='bad'>") + esc(verdict(image)) + "</p>";
        s += "<div class='row'><img class='thumb' alt='the picture as the networks take it' src='" +
             esc(image["thumbnail"]) + "'>" + predictions_html(image["predictions"]) + "</div>";
        s += "<h3>SQNR along depth</h3><div class='card'>" + sqnr_plot(layer_rows(image)) + "</div>";
        s += "<h3>The ten worst nodes</h3><p class='dim'>Values of the <span "
             "style='color:var(--float)'>float</span> and the <span style='color:var(--int)'>integer</span> "
             "network, "
             "logarithmic counts; the dashed lines are the clamp limits.</p><div class='row'>";
        for (const auto& w : image["worst"])
            s += "<div class='card' style='flex:1 1 280px;max-width:340px'><b>" + esc(w["name"]) +
                 "</b> <span class='dim'>" + number(w["sqnr_db"]) + " dB</span>" +
                 histogram_svg(w["histogram"]) + "</div>";
        s += "</div>" + attention_html(image["attention"]) + "<h3>Every node</h3>" + layers_html(image);
    }
    if (!report["reproduce"].empty()) {
        s += "<h2>Reproduce</h2><pre>";
        for (const auto& c : report["reproduce"]) s += esc(c) + "\n";
        s += "</pre>";
    }
    return s +
           "<p class='dim'>SQNR = 20 log10(|fp| / |fp - q|). The numbers are those of <code>ivit "
           "compare</code>; the JSON form of this report can be replayed with "
           "<code>ivit replay</code>.</p><script>" +
           std::string(script) + "</script></body></html>\n";
}

}  // namespace ivit
