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
@media screen and (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--dim:#9aa4af;--line:#333a42;--card:#1d2126;--float:#56b4e9;--int:#e69f00;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:16px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .4em;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1.4em 0 .3em}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 16px;margin:.6em 0}dt{color:var(--dim)}dd{margin:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:3px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child,.l{text-align:left}td.w{white-space:normal;min-width:9em}td.l{white-space:normal;min-width:6em}th{color:var(--dim);font-weight:600}.sort th{cursor:pointer}th[aria-sort]::after{content:" \2193"}th[aria-sort=ascending]::after{content:" \2191"}
.row{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}.card{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px}
.card svg,.thumb svg{display:block;width:100%;height:auto}.plot svg{min-width:640px}.grow{flex:1 1 300px;min-width:0}.hist{flex:1 1 280px;max-width:340px}.map{flex:1 1 180px;max-width:240px}.thumb{width:144px}
.bars{table-layout:fixed}.bars td{white-space:normal}.bars td:nth-child(2){width:40%}.bars td:nth-child(3){width:5.5em;white-space:nowrap}.bar{height:8px;border-radius:2px;background:var(--float)}.bar.q{background:var(--int)}
pre{background:var(--card);border:1px solid var(--line);padding:8px;white-space:pre-wrap}a{color:inherit}.dim{color:var(--dim)}.bad{color:var(--bad);font-weight:600}svg text{fill:var(--dim);font-size:11px;font-family:inherit}.px{image-rendering:pixelated}.grey{filter:grayscale(1)}
@media(max-width:600px){.hist,.map{max-width:none}dl{grid-template-columns:minmax(0,1fr)}dt{margin-top:6px}th,td{padding:3px 6px}}
@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:11px}.card,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}.plot svg{min-width:0}th,td{padding:1px 4px;font-size:9px}.hist{flex:0 1 31%}.grow{flex:1 1 180px}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";

// Sorts by the clicked column, numbers as numbers, what is absent last; opens everything for the printer.
const char* const script = R"js(
document.querySelectorAll('table.sort').forEach(t=>{const h=[...t.tHead.rows[0].cells];h.forEach((c,i)=>{const go=()=>{
const down=c.getAttribute('aria-sort')==='ascending';h.forEach(x=>x.removeAttribute('aria-sort'));c.setAttribute('aria-sort',down?'descending':'ascending');
const key=r=>{const v=(r.cells[i].dataset.v??r.cells[i].textContent).trim();return v===''||v==='-'||v==='nan'?null:isNaN(Number(v))?v:Number(v)};
[...t.tBodies[0].rows].map(r=>[key(r),r]).sort(([x],[y])=>{if(x===null||y===null)return(x===null)-(y===null);
const s=typeof x==='number'&&typeof y==='number'?x-y:String(x).localeCompare(String(y),undefined,{numeric:true});return down?-s:s})
.forEach(([,r])=>t.tBodies[0].append(r))};c.tabIndex=0;c.onclick=go;c.onkeydown=e=>{if(e.key==='Enter'||e.key===' '){e.preventDefault();go()}}})});
addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(d=>d.open=true));
)js";

std::string sortable(const TextTable& t) {
    std::string s = "<div class='scroll'><table class='sort'><thead><tr>";
    for (const auto& h : t.head) s += "<th>" + esc(h) + "</th>";
    s += "</tr></thead><tbody>";
    for (const auto& row : t.rows) {
        s += "<tr>";
        for (size_t i = 0; i < row.size(); ++i) s += (i ? "<td>" : "<td class='w'>") + esc(row[i]) + "</td>";
        s += "</tr>\n";
    }
    return s + "</tbody></table></div>";
}

std::string folded(const std::string& summary, const TextTable& t) {
    return t.rows.empty() ? std::string()
                          : "<details><summary>" + esc(summary) + "</summary>" + sortable(t) + "</details>";
}

std::string definitions(const std::vector<std::pair<std::string, std::string>>& rows) {
    std::string s = "<dl>";
    for (const auto& [key, value] : rows) s += "<dt>" + esc(key) + "</dt><dd>" + esc(value) + "</dd>";
    return s + "</dl>";
}

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
    std::string s = fmt::format(
        "<div class='scroll plot'><svg viewBox='0 0 {} {}' role='img' aria-label='SQNR along depth'>", W, H);
    for (double db = 0; db <= most; db += most > 60 ? 20 : 10)
        s += fmt::format(
            "<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='var(--line)'/><text x='{}' y='{:.1f}' "
            "text-anchor='end'>{:.0f}</text>",
            left, W - 8, y(db), y(db), left - 6, y(db) + 3, db);
    s += fmt::format("<text x='4' y='{}' transform='rotate(-90 10 {})' text-anchor='middle'>SQNR dB</text>",
                     H / 2, H / 2);
    for (const auto& [place, block] : block_marks(rows))
        s += fmt::format(
            "<line x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}' stroke='var(--line)' "
            "stroke-dasharray='1 3'/><text x='{0:.1f}' y='{3}'>{4}</text>",
            x(place), top, H - bottom, H - 8, esc(block));
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
    for (size_t i = 0; i < rows.size(); ++i) {
        if (!std::isfinite(rows[i].cumulative_db)) continue;
        s += fmt::format(
            "<circle cx='{:.1f}' cy='{:.1f}' r='5' fill='transparent'><title>{}: cumulative {} dB, isolated "
            "{} dB</title></circle>",
            x(i), y(rows[i].cumulative_db), esc(rows[i].name), number(rows[i].cumulative_db),
            number(rows[i].isolated_db));
    }
    return s +
           "</svg></div><div class='dim'>Nodes in execution order; the numbers below are blocks. <span "
           "style='color:var(--int)'>&#9473; cumulative</span> (integer network against float network), "
           "<span style='color:var(--float)'>&#9480; isolated</span> (the node alone, on the float network's "
           "inputs)</div>";
}

// Both networks' values; log counts, clamp limits as dashed lines.
std::string histogram_svg(const Json& h) {
    const auto f = h["float"].get<std::vector<double>>(), q = h["integer"].get<std::vector<double>>();
    const double low = real(h["low"]), high = real(h["high"]), W = 320, H = 110;
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

// One attention row over the patches of the picture `id`. `most` is shared by the maps beside each other.
// kind: 0 Shiftmax, 1 softmax, 2 their difference.
std::string map_svg(const std::string& id, const Json& a, int kind, double most) {
    const int grid = a["grid"];
    std::string s = fmt::format(
        "<svg viewBox='0 0 {} {}' role='img' shape-rendering='crispEdges'><use href='#{}' class='grey' "
        "opacity='{}'/>",
        grid, grid, id, kind == 2 ? 0.5 : 1.0);
    for (size_t i = 0; i < a["shiftmax"].size(); ++i) {
        const double p = real(a["shiftmax"][i]), q = real(a["softmax"][i]);
        const double v = kind == 0 ? p : kind == 1 ? q : p - q;
        const MapColour c = map_colour(most > 0 ? v / most : 0, kind == 2);
        s += fmt::format(
            "<rect x='{}' y='{}' width='1' height='1' fill='rgb({},{},{})' "
            "fill-opacity='{:.2f}'><title>{}</title></rect>",
            static_cast<int>(i) % grid, static_cast<int>(i) / grid, std::lround(255 * c.r),
            std::lround(255 * c.g), std::lround(255 * c.b), c.alpha, number(v));
    }
    return s + "</svg>";
}

std::string attention_html(const std::string& id, const Json& a) {
    const auto [most, worst] = attention_range(a);
    std::string s = "<h3>" + esc(attention_title(a)) + "</h3><div class='row'>";
    const char* names[] = {"Shiftmax", "softmax of the same logits", "difference"};
    for (int kind = 0; kind < 3; ++kind)
        s += "<div class='card map'>" + map_svg(id, a, kind, kind == 2 ? worst : most) + "<div>" +
             names[kind] + "</div></div>";
    return s + "</div><p class='dim'>" + esc(attention_sentence(a, most, worst)) + "</p>";
}

// Drawn once, and used again beneath the maps.
std::string thumbnail_svg(const std::string& id, const Json& image) {
    return fmt::format(
        "<div class='thumb'><svg viewBox='0 0 {0} {0}' role='img' aria-label='the picture as the networks "
        "take "
        "it'><image id='{1}' class='px' width='{0}' height='{0}' href='{2}'/></svg></div>",
        image["attention"]["grid"].get<int>(), id, esc(image["thumbnail"]));
}

std::string predictions_html(const Json& p) {
    std::string s;
    for (const char* kind : {"float", "integer"}) {
        s += fmt::format("<div class='card grow'><b>{}</b><table class='bars'>", kind);
        for (const auto& e : p[kind])
            s += fmt::format(
                "<tr><td>{}</td><td><div class='bar{}' style='width:{:.1f}%'></div></td><td>{} %</td></tr>",
                esc(e["label"]), std::string(kind) == "integer" ? " q" : "", 100 * real(e["probability"]),
                number(100 * real(e["probability"])));
        s += "</table></div>";
    }
    return s;
}

std::string layers_html(const Json& image) {
    std::string s =
        "<div class='scroll'><table class='sort'><thead><tr><th>node</th><th>place</th><th class='l'>op</th>"
        "<th>bits</th><th aria-sort='ascending'>cumulative dB</th><th>isolated dB</th><th>cosine</th>"
        "<th>MSE</th><th>max error</th><th>at limit %</th><th>range used %</th></tr></thead><tbody>";
    const auto cell = [](double v, int digits = 3) {
        return fmt::format("<td data-v='{}'>{}</td>", v, number(v, digits));
    };
    for (const auto& r : worst_first(layer_rows(image)))
        s += fmt::format("<tr><td>{}</td><td>{}</td><td class='l'>{}</td><td>{}</td>", esc(r.name), r.place,
                         esc(r.op), r.bits) +
             cell(r.cumulative_db) + cell(r.isolated_db) + cell(r.cosine, 6) + cell(r.mse) +
             cell(r.max_abs_error) + cell(100 * r.saturation) + cell(100 * r.range_used) + "</tr>\n";
    return s + "</tbody></table></div>";
}

std::string evaluation_html(const Json& e) {
    std::string s =
        "<h2>Evaluation</h2><p>" + esc(evaluation_sentence(e)) + "</p>" + sortable(evaluation_table(e));
    for (size_t k = 0; k < e["configurations"].size(); ++k) {
        const std::string name = e["configurations"][k]["quant"];
        s += folded(name + ", by class", class_table(e, k)) +
             folded(name + ", greatest disagreement", worst_table(e, k, 20));
    }
    return s;
}

// Several pictures: what came of each, with a link to it.
std::string overview_html(const Json& images) {
    if (images.size() < 2) return {};
    std::string s =
        "<h2>Pictures</h2><div class='scroll'><table class='sort'><thead><tr><th>picture</th><th "
        "class='l'>float</th><th class='l'>integer</th><th>agree</th><th>logits SQNR "
        "dB</th><th>KL</th></tr></thead><tbody>";
    for (size_t i = 0; i < images.size(); ++i) {
        const Json &p = images[i]["predictions"], &l = images[i]["logits"];
        s += fmt::format(
            "<tr><td class='w'><a href='#p{}h'>{}</a></td><td class='l'>{}</td><td "
            "class='l'>{}</td><td{}</td><td>{}</td><td>{}</td></tr>\n",
            i, esc(images[i]["file"]), esc(p["float"][0]["label"]), esc(p["integer"][0]["label"]),
            l["agree"].get<bool>() ? ">yes" : " class='bad'>no", number(real(l["sqnr_db"])),
            number(real(l["kl"])));
    }
    return s + "</tbody></table></div>";
}

std::string image_html(const std::string& id, const Json& image) {
    std::string s = "<h2 id='" + id + "h'>" + esc(image["file"]) + "</h2><p" +
                    (image["logits"]["agree"].get<bool>() ? ">" : " class='bad'>") + esc(verdict(image)) +
                    "</p><p class='dim'>SHA-256 " + esc(image["sha256"]) + "</p>";
    s += "<div class='row'>" + thumbnail_svg(id, image) + predictions_html(image["predictions"]) + "</div>";
    s += "<h3>SQNR along depth</h3><div class='card'>" + sqnr_plot(layer_rows(image)) + "</div>";
    s += "<h3>The ten worst nodes</h3><p class='dim'>Values of the <span "
         "style='color:var(--float)'>float</span> (filled) and the <span "
         "style='color:var(--int)'>integer</span> network (outlined), logarithmic counts; dashed lines are "
         "the clamp limits, where they lie within the values.</p><div class='row'>";
    for (const auto& w : image["worst"])
        s += "<div class='card hist'><b>" + esc(w["name"]) + "</b> <span class='dim'>" +
             number(real(w["sqnr_db"])) + " dB</span>" + histogram_svg(w["histogram"]) + "<div class='dim'>" +
             esc(clamp_sentence(w["histogram"])) + "</div></div>";
    return s + "</div>" + attention_html(id, image["attention"]) +
           "<h3>Every node, worst first</h3><p class='dim'>" + esc(health(image)) +
           " Click a column's head to sort by it; place is the order of execution.</p>" + layers_html(image);
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
         "its float network.</p>" +
         definitions(report_facts(report)) + "<h2>Effective configuration</h2>" +
         definitions(config_rows(report));
    if (report.contains("latency")) {
        const Json& l = report["latency"];
        s += "<h2>Latency</h2><p>" + esc(latency_sentence(l)) + "</p>" +
             folded("Step by step (each timed on its own: they add up to more than the whole)",
                    latency_table(l));
    }
    if (report.contains("evaluation")) s += evaluation_html(report["evaluation"]);
    const Json& images = report["images"];
    s += overview_html(images);
    for (size_t i = 0; i < images.size(); ++i) s += image_html("p" + std::to_string(i), images[i]);
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
